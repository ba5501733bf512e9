"""The memory of a model that was just traced, wherever it ran, or the reason why it is not known."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import torch

from modelsum.errors import BuildError, UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.raised import told
from modelsum.summary import Summary
from modelsum.trace.call import Call
from modelsum.trace.isolation import deep_enough
from modelsum.trace.parallel.ranks import predict_ranks
from modelsum.trace.step.training import predict_memory, record_inference

META = torch.device("meta")


def memory_of(
    call: Call,
    *,
    summary: Summary,
    options: MemoryOptions,
    target: str,
    own: Callable[..., Any] | None = None,
) -> tuple[Memory | None, tuple[str, ...]]:
    """Predict the memory of a call; where that fails, None and a notice that says why.

    It is predicted on the meta device. A model that cannot run there runs on the CPU, where small enough.

    Args:
        call: the caller's own, on the device that the summary names; changed as `predict_memory` does.
        summary: of this call, whose forward ran to its end.
        options: the training step.
        target: the device to predict for.
        own: the user's function that `options.parallelize` names.

    Raises UsageError where a pattern of the options matches nothing.
    """

    def on(device: torch.device, train: bool = True) -> Memory:
        there = call if summary.device == device.type else call.on(device)
        return predicted(there, options=options, target=target, train=train, own=own)

    def training_on_meta() -> Memory:
        """What such a model infers depends on values; what it trains on has shapes that can be presumed."""
        inference, _ = record_inference(call, options=options, target=target)
        return predict_memory(call.on(META), options=options, target=target, inference=inference)

    with deep_enough(call.model):
        try:
            if summary.device == "cpu" and call.targets is not None and not options.is_shared:
                return training_on_meta(), ()
            return on(META), ()
        except UsageError:
            raise
        except Exception as error:
            if own is not None and isinstance(error, BuildError):
                raise
            reason = told(error)
        if summary.device != "cpu" or options.is_shared:
            return None, (f"memory is not known: {reason}",)
        # What has just run on the CPU can run there again; a training step takes several times as much.
        train = _training_fits_here(summary)
        try:
            memory = on(torch.device("cpu"), train)
        except UsageError:
            raise
        except Exception as error:
            return None, (f"memory is not known: {told(error)}",)
    if train:
        return memory, ()
    notice = (
        "the training step is not known: the meta device could not run it, and it is too large to try here"
    )
    return dataclasses.replace(memory, notices=(*memory.notices, notice)), ()


def predicted(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
    train: bool = True,
    own: Callable[..., Any] | None = None,
) -> Memory:
    """The memory of one process, or of all that share the step; raises as both do."""
    if options.is_shared:
        return predict_ranks(call, options=options, target=target, train=train, own=own)
    return predict_memory(call, options=options, target=target, train=train)


def _training_fits_here(summary: Summary) -> bool:
    """Whether a training step takes at most a quarter of this machine's memory, by a generous guess."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    outputs = sum(layer.output_bytes for layer in summary.layers)
    return 2 * summary.totals.param_bytes + 3 * outputs < memory / 4
