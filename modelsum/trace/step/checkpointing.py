"""Activation checkpointing of some modules of a model, as torch.utils.checkpoint does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modelsum.errors import UsageError, did_you_mean
from modelsum.memory.fitting.blocks import outermost
from modelsum.trace.torch_private import plain_checkpoint, replaced


@contextmanager
def checkpointed(model: nn.Module, patterns: Sequence[str]) -> Iterator[int]:
    """Recompute the activations of matching modules in the backward pass; yields how many modules match.

    Args:
        model: its modules' forward is replaced for a while.
        patterns: of module paths, as fnmatch takes them: "layer*.*". A module inside a matching one is
            left alone, since it is recomputed with it.

    Raises UsageError for a pattern that matches no module.
    """
    found = _outermost(model, patterns)
    with ExitStack() as changed:
        for module in found:
            changed.enter_context(replaced(module, "forward", _recomputing(module.forward)))
        yield len(found)


def _outermost(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    if not patterns:
        return []
    paths = dict(model.named_modules())
    for pattern in patterns:
        if not any(path and fnmatchcase(path, pattern) for path in paths):
            hint = did_you_mean(pattern, paths) or "Paths are as `modelsum show` prints them: 'layer1.*'."
            raise UsageError(f"checkpoint {pattern!r} matches no module", hint)
    return [paths[path] for path in outermost(paths, patterns)]


def _recomputing(forward: Callable[..., Any]) -> Callable[..., Any]:
    run = plain_checkpoint()

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        return run(forward, *args, use_reentrant=False, **kwargs)

    return recomputing
