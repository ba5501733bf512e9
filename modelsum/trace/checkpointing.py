"""Activation checkpointing of some modules of a model, as torch.utils.checkpoint does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modelsum.errors import UsageError, did_you_mean


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
    for module in found:
        module.forward = _recomputing(module.forward)
    try:
        yield len(found)
    finally:
        for module in found:
            del module.forward


def _outermost(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    paths = dict(model.named_modules())
    for pattern in patterns:
        if not any(path and fnmatchcase(path, pattern) for path in paths):
            hint = did_you_mean(pattern, paths) or "Write paths as `modelsum show` prints them, like 'layer1.*'."
            raise UsageError(f"checkpoint {pattern!r} matches no module", hint)
    matching = {p for p in paths if p and any(fnmatchcase(p, pattern) for pattern in patterns)}
    return [paths[p] for p in paths if p in matching and not any(p.startswith(f"{q}.") for q in matching)]


def _recomputing(forward: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    # Without its wrapper, which imports torch._dynamo at the first call: 1.1 s.
    run = getattr(checkpoint, "__wrapped__", checkpoint)

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        return run(forward, *args, use_reentrant=False, **kwargs)

    return recomputing
