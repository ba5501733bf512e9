"""Calls of torch's own layers that are like an earlier one, answered without making them.

Networks repeat themselves: of the hundred convolutions of one, most have a twin. What a call without
gradients does on meta tensors of which nothing is known follows from the layer's class, its settings, the
shapes of what it holds and of its one argument. So the first such call is made and looked at, and those after
it, in whatever model, are answered from memory: the result is made, and who follows is told what was done.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from operator import is_, itemgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from modelsum.trace.metakernels import is_plain_meta
from modelsum.trace.metakernels.layout import FLOATS
from modelsum.trace.torch_private import (
    LAYER_FUNCTIONS,
    answered,
    below_dispatch,
    below_functions,
    buffers_of,
    call_of,
    hooked,
    hooks_of_all_modules,
    is_called_as_usual,
    parameters_of,
    surroundings,
    version_of,
)
from modelsum.trace.values.contents import forget, is_unknown

_META = torch.device("meta")

#: Size, strides and dtype of a tensor.
Made: TypeAlias = tuple[torch.Size, tuple[int, ...], torch.dtype]

#: Their forward computes one tensor of one tensor, by shapes alone.
_LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softmax),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Dropout, nn.Dropout2d, nn.Identity),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_FORWARDS: dict[type[nn.Module], Any] = {layer: layer.forward for layer in _LAYERS}
#: They change what they hold while they are trained.
LEARNING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: Layers that are remembered at most, and arguments of one; then all are forgotten.
_MOST_LAYERS, _MOST_ARGUMENTS = 4096, 64


class Follower(Protocol):
    """Who follows the calls of modules, and what they do."""

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call begins."""

    def leave(self, module: nn.Module, output: Any) -> None:
        """A call ends, perhaps by an exception; its output is None then."""

    def begin(self) -> Any:
        """A mark of this moment."""

    def done_since(self, mark: Any, output: Tensor | None) -> Any:
        """What was done since the mark, where it can be done again for another such call; else None.

        `output` is the tensor that was made, None where there is none.
        """

    def repeat(self, done: Any, path: str, module: nn.Module, output: Tensor) -> None:
        """A call that begins and ends has done this, with this output."""


#: Of the path of a layer, the layer, and a dict that is kept for all that are like it: what answers a call,
#: or returns None where it has to be made.
Trained: TypeAlias = Callable[[str, nn.Module, dict[Hashable, Any]], Callable[[Tensor], Tensor | None]]


class _Answer(NamedTuple):
    """What a call returns, and what it did.

    Attributes:
        made: size, strides and dtype of its result; None where that is its argument.
        writes: it writes to its argument.
        done: as the follower has it.
    """

    made: Made | None
    writes: bool
    done: Any


#: By what else decides, by settings, by argument.
_memory: dict[Hashable, dict[Hashable, dict[Hashable, Any]]] = {}


@contextmanager
def followed(
    modules: Collection[tuple[str, nn.Module]],
    follower: Follower,
    context: Hashable | None,
    trained: Trained | None = None,
) -> Iterator[None]:
    """Have a follower told of the calls of modules inside; no hook and no memory is left on them afterwards.

    Args:
        modules: by path.
        follower: is told.
        context: what the follower's account depends on besides; None where it is not to be repeated.
        trained: what answers calls while autograd looks on.
    """
    around, is_training = surroundings(), torch.is_grad_enabled()
    functions = tuple(name.outside for name in LAYER_FUNCTIONS)
    others: list[tuple[str, nn.Module]] = []
    calls: list[tuple[nn.Module, Callable[..., Any]]] = []
    plainly_called = not hooks_of_all_modules()
    # No mode but the follower's, and the one function mode that it brings.
    is_alone = context is not None and around[:2] == (1, 1) and plainly_called
    if sum(map(len, _memory.values())) > _MOST_LAYERS:
        _memory.clear()
    by_settings = _memory.setdefault((context, functions, is_training), {})
    is_answered = is_alone and (trained is not None or not is_training)
    with below_functions():
        for path, module in modules:
            if not (plainly_called and is_called_as_usual(module)):
                others.append((path, module))
                continue
            settings = _settings(module, is_training) if is_answered else None
            if settings is None:
                calls.append((module, partial(_called, module, path, follower)))
                continue
            known = by_settings.get(settings)
            if known is None:
                known = by_settings[settings] = {}
            answers = None if trained is None or not is_training else trained(path, module, known)
            known = None if is_training else known
            calls.append((module, _answering(path, module, follower, known, answers, around)))

    def entering(path: str) -> Callable[..., None]:
        return lambda module, args, kwargs: follower.enter(path, module, args, kwargs)

    def leaving(module: nn.Module, args: Any, output: Any) -> None:
        follower.leave(module, output)

    with answered(calls), hooked(others, entering, leaving):
        yield


def _settings(module: nn.Module, is_training: bool) -> Hashable | None:
    """What decides what a layer does; None where more does: it is not torch's own, or learns from calls."""
    kind, held = type(module), vars(module)
    if _FORWARDS.get(kind) is not kind.forward:
        return None
    if module.training and kind in LEARNING and not (is_training and held["momentum"] is not None):
        return None
    names, values_of = _settings_of(tuple(held))
    try:
        # Of the same bytes are only equal values of the same types.
        settings: list[Any] = [kind, names, marshal.dumps(values_of(held), _EXACTLY)]
    except ValueError:
        return None
    for tensor in (*parameters_of(module).values(), *buffers_of(module).values()):
        if tensor is None:
            settings.append(None)
        elif is_plain_meta(tensor):
            settings += tensor.shape, tensor.stride(), tensor.dtype, is_training and tensor.requires_grad
        else:
            return None
    return tuple(settings)


_EXACTLY = 2  # marshal's version: later ones tell, too, which parts are one object


@cache
def _settings_of(names: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Those of a layer's attributes that not every module has, and what gets them."""
    own = tuple(name for name in names if name not in _OF_EVERY_MODULE)
    return own, itemgetter(*own, own[0])


_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}


def _called(module: nn.Module, path: str, follower: Follower, *args: Any, **kwargs: Any) -> Any:
    """What a module returns; the follower is told."""
    follower.enter(path, module, args, kwargs)
    try:
        output = call_of(module)(*args, **kwargs)
    except BaseException:
        follower.leave(module, None)
        raise
    follower.leave(module, output)
    return output


def _answering(
    path: str,
    module: nn.Module,
    follower: Follower,
    known: dict[Hashable, _Answer] | None,
    trained: Callable[[Tensor], Tensor | None] | None,
    around: Hashable,
) -> Callable[..., Any]:
    """What is called in place of the module; `known` are answers, None where `trained` has them."""

    # Their values are never known, nor are those of what is made with them.
    parameters, buffers, held = parameters_of(module), buffers_of(module), vars(module)
    of_parameters = any(parameter is not None for parameter in parameters.values())
    own = (*parameters.values(), *buffers.values())

    whole = partial(_called, module, path, follower)

    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or type(args[0]) is not Tensor or surroundings() != around:
            return whole(*args, **kwargs)
        (x,) = args
        with below_functions():  # such a layer names no function that a mode of ours has to see
            if "forward" in held or not (is_plain(x) and (of_parameters or is_unknown(x))):
                return whole(x)
            there = (*parameters.values(), *buffers.values())
            if len(there) != len(own) or not all(map(is_, there, own)):  # torch.func.functional_call
                return whole(x)
            if torch.is_grad_enabled():
                output = None if trained is None else trained(x)
                return whole(x) if output is None else output
            if known is None:
                return whole(x)
            key = (x.shape, x.stride(), x.dtype)
            answer = known.get(key)
            if answer is None:
                return _looked_at(x, whole, follower, known)
            made, writes, done = answer
            output = x if made is None else new(*made)
            if writes:
                forget(x)
            follower.repeat(done, path, module, output)
            return output

    return call


def _looked_at(
    x: Tensor, whole: Callable[[Tensor], Any], follower: Follower, known: dict[Hashable, _Answer]
) -> Any:
    """What the `whole` call returns; `known` has its answer then, where there is one."""
    if x.is_inference():  # which has no version
        return whole(x)
    key = (x.shape, x.stride(), x.dtype)
    version, mark = version_of(x), follower.begin()
    output = whole(x)
    if type(output) is not Tensor or not (is_plain(output) and is_unknown(output)):
        return output
    writes = version_of(x) != version
    made = None if output is x else made_of(output)
    if output is not x and (made is None or writes):
        return output
    done = follower.done_since(mark, None if made is None else output)
    if done is not None:
        if len(known) >= _MOST_ARGUMENTS:
            known.clear()
        known[key] = _Answer(made, writes, done)
    return output


def is_plain(x: Tensor) -> bool:
    """Whether shape, strides and dtype are all there is to a tensor, as far as a layer is concerned."""
    is_dense = x.is_meta and x.layout is torch.strided and not x.is_nested
    return is_dense and x.dtype in FLOATS and not x.is_neg()


def made_of(output: Tensor) -> Made | None:
    """Size, strides and dtype of a tensor; None where one that is made of these has another storage."""
    made = output.shape, output.stride(), output.dtype
    twin = new(*made)
    if output.storage_offset() or output.untyped_storage().nbytes() != twin.untyped_storage().nbytes():
        return None
    return made


def new(size: Any, strides: Any, dtype: torch.dtype) -> Tensor:
    """A tensor on meta; no mode sees it made."""
    with below_dispatch():
        return seen(size, strides, dtype=dtype)


#: (size, strides, dtype=) -> a tensor on meta, shown to the modes that there are.
seen = partial(torch.empty_strided, device=_META)
