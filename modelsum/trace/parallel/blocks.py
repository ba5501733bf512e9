"""The equal blocks of a model: those that a few stand for when a rank is gone through.

They have to be alike in what they are (modules, settings, sizes, what the options say of them) and in what
the model does with them: a forward pass of the whole model runs the same ops on the same sizes in each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.memory.options import MemoryOptions
from modelsum.repeats import runs
from modelsum.trace.call import Call
from modelsum.trace.modes import set_mode
from modelsum.trace.step.unrolled import WORTHWHILE
from modelsum.trace.torch_private import DispatchMode, has_hooks, hooked, submodules_of
from modelsum.trace.values.known_values import carried

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, str, bytes, type(None), torch.dtype, torch.Size)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The equal blocks of a pipeline stage, or of a whole model.

    Attributes:
        model: that has them all.
        parent: path of the module that they are in.
        names: of all, in order; of all stages.
        stage, stages: which it is, of how many.
        own: names of those of this stage.
    """

    model: nn.Module
    parent: str
    names: tuple[str, ...]
    stage: int
    stages: int
    own: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of those of this stage, in order."""
        return self._paths(self.own)

    @contextmanager
    def kept(self, count: int) -> Iterator[tuple[str, ...]]:
        """Have the model no more than so many a stage inside; yields the paths of those of this one."""
        children = submodules_of(self.model.get_submodule(self.parent))
        before = dict(children)
        gone = {*self.names[count * self.stages :]}
        try:
            for name in gone:
                del children[name]
            yield self._paths(self.names[count * self.stage : count * (self.stage + 1)])
        finally:
            children.clear()
            children.update(before)

    def _paths(self, names: Sequence[str]) -> tuple[str, ...]:
        prefix = f"{self.parent}." if self.parent else ""
        return tuple(prefix + name for name in names)


def equal_blocks(call: Call, options: MemoryOptions) -> tuple[str, tuple[str, ...]] | None:
    """The module with the most equal blocks, and their names; None where few are, or they run otherwise."""
    patterns = (*options.wrap, *options.checkpoint, *options.freeze)
    best: tuple[str, tuple[str, ...]] = ("", ())
    for path, module in call.model.named_modules():
        children = [(name, child) for name, child in submodules_of(module).items() if child is not None]
        if len(children) < max(WORTHWHILE, len(best[1]) + 1):
            continue
        prefix = f"{path}." if path else ""
        for run in runs(children, lambda each: each[0], lambda each: type(each[1]).__qualname__):
            if len(run) >= max(WORTHWHILE, len(best[1]) + 1) and _are_alike(run, prefix, patterns):
                best = path, tuple(name for name, _ in run)
    return best if best[1] and _run_alike(call, *best) else None


# ---- what they are


def _are_alike(run: Sequence[tuple[str, nn.Module]], prefix: str, patterns: Sequence[str]) -> bool:
    """Whether nothing tells the blocks apart but their place among them, which they may know."""
    first: list[tuple[Hashable, Any]] | None = None
    for place, (name, block) in enumerate(run):
        facts = [*_facts(block, prefix + name, patterns)]
        if first is None:
            first = facts
            continue
        if len(facts) != len(first):
            return False
        for (kind, value), (other, at_first) in zip(facts, first, strict=True):
            moved = type(value) is int and type(at_first) is int and value - at_first == place
            if kind != other or not (moved or _is_same(value, at_first)):
                return False
    return True


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and _is_plain(one) and bool(one == other)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _facts(block: nn.Module, path: str, patterns: Sequence[str]) -> Iterator[tuple[Hashable, Any]]:
    for inside, module in block.named_modules():
        whole = f"{path}.{inside}" if inside else path
        yield (inside, "class"), type(module)
        yield (inside, "patterns"), tuple(fnmatchcase(whole, pattern) for pattern in patterns)
        yield (inside, "hooks"), has_hooks(module)
        yield (inside, "training"), module.training
        for held in (module.named_parameters, module.named_buffers):
            for name, tensor in held(recurse=False):
                what = (
                    tuple(tensor.shape),
                    tensor.stride(),
                    tensor.dtype,
                    tensor.requires_grad,
                    type(tensor).__name__,
                )
                yield (inside, name), repr(what)
                if isinstance(tensor, nn.Parameter):
                    patterned = tuple(fnmatchcase(f"{whole}.{name}", pattern) for pattern in patterns)
                    yield (inside, name, "patterns"), patterned
        for name, value in vars(module).items():
            if name not in _OF_EVERY_MODULE and not isinstance(value, Tensor):
                yield (inside, name, "setting"), value


# ---- what they do


class _Ops(DispatchMode):
    """Takes note of what is done in each block, and from the end of one to the beginning of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[list[Hashable]] = [[]]

    def next(self, *_: Any) -> None:
        self.done.append([])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.done[-1].append((func, *map(_size, args), *((k, _size(v)) for k, v in (kwargs or {}).items())))
        return func(*args, **(kwargs or {}))


def _size(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_size, value))
    return value if isinstance(value, _PLAIN) else str(value)


def _run_alike(call: Call, parent: str, names: Sequence[str]) -> bool:
    """Whether the forward of the whole model does the same in each, and between any two."""
    holder = call.model.get_submodule(parent)
    blocks = [holder.get_submodule(name) for name in names]
    ops = _Ops()
    modes = {module: module.training for module in call.model.modules()}
    set_mode(call.model, train=True)
    try:
        with (
            torch.no_grad(),
            carried(),
            hooked([("", each) for each in blocks], lambda _: ops.next, ops.next),
            ops,
        ):
            call.renewed()()
    except Exception:
        return False  # who goes through the whole model says why
    finally:
        for module, mode in modes.items():
            module.training = mode
    if len(ops.done) != 2 * len(blocks) + 1:
        return False
    inside, between = ops.done[1::2], ops.done[2:-1:2]
    return all(each == inside[0] for each in inside) and all(each == between[0] for each in between)
