"""Activation checkpointing of some modules of a model, as torch.utils.checkpoint does it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from modelsum.errors import UsageError, did_you_mean
from modelsum.memory.fitting.blocks import outermost
from modelsum.trace.torch_private import DEAR_OPS, plain_checkpoint, replaced


@contextmanager
def checkpointed(model: nn.Module, patterns: Sequence[str], policy: str = "full") -> Iterator[int]:
    """Recompute the activations of matching modules in the backward pass; yields how many modules match.

    Args:
        model: its modules' forward is replaced for a while.
        patterns: of module paths, as fnmatch takes them: "layer*.*". A module inside a matching one is
            left alone, since it is recomputed with it.
        policy: "full", or "ops" to keep the results of attention and of every second matmul.

    Raises UsageError for a pattern that matches no module.
    """
    found = _outermost(model, patterns)
    with ExitStack() as changed:
        for module in found:
            changed.enter_context(replaced(module, "forward", _recomputing(module.forward, policy)))
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


def _recomputing(forward: Callable[..., Any], policy: str) -> Callable[..., Any]:
    run = plain_checkpoint()
    how: dict[str, Any] = {}
    if policy == "ops":
        how["context_fn"] = _keeping_ops
        if "respect_saved_tensors_hooks" in inspect.signature(run).parameters:  # since 2.14
            how["respect_saved_tensors_hooks"] = True

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        return run(forward, *args, use_reentrant=False, **how, **kwargs)

    return recomputing


def _keeping_ops() -> Any:
    """Keep what is dear to compute again: attention, every second matmul, reductions among ranks.

    This is the selective checkpointing of torchtitan (docs and parallelize files, policy "op").
    """
    matmuls = {True: 0, False: 0}

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        keep = op in DEAR_OPS
        if op is _MATMUL:
            matmuls[context.is_recompute] += 1
            keep = matmuls[context.is_recompute] % 2 == 1
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


_MATMUL = torch.ops.aten.mm.default
