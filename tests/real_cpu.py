"""A real training run on the CPU, and its memory by the profiler's records of the CPU allocator.

Every allocation of the allocator is a record: the bytes, negative where they are given back. Their
running total is the live memory, including what kernels allocate inside themselves.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

Precision = Callable[[], AbstractContextManager[Any]]

PHASES = ("forward", "backward", "optimizer step")
FIRST_STEP, STEADY_STEP = 0, 1


@dataclass(frozen=True)
class RealPeaks:
    """Most live bytes of a real run.

    Attributes:
        inference: of a forward pass in evaluation mode without gradients; 0 where there was none.
        first_step: of the first training step.
        training: of the second training step, in which the optimizer has its state.
        phases: of each phase of that.
    """

    inference: int
    first_step: int
    training: int
    phases: Mapping[str, int] = field(default_factory=dict)


def recorded(action: Callable[[], object]) -> list[tuple[int, int]]:
    """What the CPU allocator did meanwhile: (nanoseconds, bytes), in order."""
    events, _ = _profiled(action)
    return events


def _profiled(action: Callable[[], object]) -> tuple[list[tuple[int, int]], dict[str, tuple[int, int]]]:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    memory, marks = [], {}
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            memory.append((event.start_ns(), event.nbytes()))
        elif event.name().startswith("mark "):
            marks[event.name()[5:]] = (event.start_ns(), event.start_ns() + event.duration_ns())
    return sorted(memory, key=lambda e: e[0]), marks


def storage_bytes(*values: Any) -> int:
    """Bytes of the unique storages of tensors."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for v in values for t in v}
    return sum(storages.values())


def held_bytes(model: nn.Module, *others: Any) -> int:
    """Bytes that are there before a step: parameters, buffers, other tensors of modules, and others."""
    attributes = [v for module in model.modules() for v in vars(module).values() if isinstance(v, Tensor)]
    return storage_bytes(model.parameters(), model.buffers(), attributes, *others)


class _Kept:
    """A saved tensor; whoever is gone has dropped it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(model: nn.Module, x: Tensor) -> int:
    """Bytes that autograd keeps at the end of a real training forward, by its own saved-tensor hooks.

    Storages count once; those of parameters, buffers and the input do not.
    """
    left_out = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), x)}
    packed: list[weakref.ref[_Kept]] = []

    def pack(tensor: Tensor) -> _Kept:
        kept = _Kept(tensor.detach())  # a node that keeps its own result would keep itself alive
        packed.append(weakref.ref(kept))
        return kept

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        output = model(x)
    storages = [kept.tensor.untyped_storage() for ref in packed if (kept := ref()) is not None]
    sizes = {s._cdata: s.nbytes() for s in storages if s._cdata not in left_out}
    del output
    return sum(sizes.values())


def kernel_bytes(action: Callable[[], Any]) -> int:
    """Bytes that an op allocates at most beyond what it returns, once it has run before."""
    action()
    kept: list[Any] = []
    live = peak = 0
    for _, nbytes in recorded(lambda: kept.append(action())):
        live += nbytes
        peak = max(peak, live)
    return peak - live


def real_peaks(
    model: nn.Module,
    args: tuple[Any, ...],
    loss: Callable[[Any], Tensor],
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None,
    targets: tuple[Tensor, ...] = (),
    forward: Callable[..., Any] | None = None,
    accumulate: int = 1,
    precision: Precision = nullcontext,
    scaler: torch.amp.GradScaler | None = None,
) -> RealPeaks:
    """Run inference once and two training steps, and say how much memory they took.

    The arguments are those of `training_peaks`.
    """
    inference = inference_peak(model, args, precision)
    return replace(
        training_peaks(model, args, loss, optimizer, targets, forward, accumulate, precision, scaler),
        inference=inference,
    )


def inference_peak(model: nn.Module, args: tuple[Any, ...], precision: Precision = nullcontext) -> int:
    """Most live bytes of a forward pass in evaluation mode without gradients."""

    def inference() -> None:
        with torch.no_grad(), precision():
            model(*args)

    model.eval()
    inference()  # kernels may set themselves up at their first call
    return held_bytes(model, args) + _peak(recorded(inference))


def training_peaks(
    model: nn.Module,
    args: tuple[Any, ...],
    loss: Callable[[Any], Tensor],
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None,
    targets: tuple[Tensor, ...] = (),
    forward: Callable[..., Any] | None = None,
    accumulate: int = 1,
    precision: Precision = nullcontext,
    scaler: torch.amp.GradScaler | None = None,
) -> RealPeaks:
    """Run two training steps, and say how much memory they took.

    Args:
        loss: of the model's output.
        optimizer: makes one for the parameters; None for backward passes without steps.
        targets: tensors that the loss uses and that are there all along.
        forward: called in place of the model in training.
        precision: what the model and the loss are called in, like torch.autocast.
        scaler: scales the gradients.
    """
    there = held_bytes(model, args) + storage_bytes(targets)
    model.train()
    stepper = optimizer([p for p in model.parameters() if p.requires_grad]) if optimizer else None
    run = forward or model

    def steps() -> None:
        for step in (FIRST_STEP, STEADY_STEP):
            for parameter in model.parameters():
                parameter.grad = None
            for _ in range(accumulate):
                with record_function(f"mark {step} forward"):
                    with precision():
                        value = loss(run(*args))
                    if scaler:
                        value = scaler.scale(value)
                with record_function(f"mark {step} backward"):
                    value.backward()
            with record_function(f"mark {step} optimizer step"):
                if stepper and scaler:
                    scaler.step(stepper)
                    scaler.update()
                elif stepper:
                    stepper.step()

    events, marks = _profiled(steps)
    start = min(s for name, (s, _) in marks.items() if name.startswith(f"{STEADY_STEP}"))
    phases: dict[str, int] = dict.fromkeys(PHASES, 0)
    first = steady = live = there
    for when, nbytes in events:
        live += nbytes
        if when < start:
            first = max(first, live)
            continue
        steady = max(steady, live)
        for phase in PHASES:
            begin, end = marks[f"{STEADY_STEP} {phase}"]
            if begin <= when <= end:
                phases[phase] = max(phases[phase], live)
    return RealPeaks(0, first, steady, phases)


def _peak(events: list[tuple[int, int]]) -> int:
    live = peak = 0
    for _, nbytes in events:
        live += nbytes
        peak = max(peak, live)
    return peak
