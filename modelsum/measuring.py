"""`measure`: any model and any input -> a Measurement of a real run, with the prediction beside it."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum import api, spec
from modelsum.errors import ModelError, UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.memory.measurement import Measurement
from modelsum.preparing import available, prepare, with_own_optimizer
from modelsum.request import Request, request_of
from modelsum.sources import resolve
from modelsum.spec import ModelSpec
from modelsum.summary import Summary
from modelsum.units import binary_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn

MIN_TIME = 1.0
"""Seconds for which a forward pass and a training step are timed at least, each."""

_DEVICES = "Valid are cpu, and cuda or cuda:N where there is a CUDA device."


def measure(
    model: nn.Module | str,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    batch: int | None = 1,
    model_args: Mapping[str, Any] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    sequence_length: int | None = None,
    latency: bool = True,
    min_time: float = MIN_TIME,
    **step: Any,
) -> Measurement:
    """Run a model for real, and say what it took and how far the prediction is from it.

    Inference and training steps run on the device; the weights of a named model are random. A module that
    is handed in is left as it was found: a copy of it is trained, which takes its own memory.

        >>> measured = measure("resnet50", input_size=(3, 64, 64), batch=8, device="cpu", optimizer="adam")
        >>> print(measured)  # doctest: +SKIP

    Args:
        model, *inputs, kwargs, input_size, batch, model_args, dtype, sequence_length: as in
            `modelsum.summarize`.
        device: "cpu" or "cuda:N"; None for CUDA where there is a device, else the CPU.
        latency: take the time of a forward pass and of a training step too.
        min_time: seconds for which each of them is timed at least.
        **step: the training step, as in `modelsum.summarize`.

    Raises:
        UsageError: the words are wrong: an unknown name, option, device or input.
        ModelError: the model could not be built, its forward failed, or the device ran out of memory.
    """
    request = request_of(
        model,
        inputs,
        kwargs=kwargs,
        input_size=input_size,
        batch=batch,
        model_args=model_args,
        dtype=dtype,
        sequence_length=sequence_length,
        **step,
    )
    return run(request, device=device, min_time=min_time if latency else None)


def check_device(device: str | None) -> None:
    """Say of a device, before torch is imported, that nothing can be measured there. Raises UsageError."""
    if device is not None and spec.check_device(device) in ("auto", "meta"):
        raise UsageError(f"device {device!r}: a real run has to be somewhere", _DEVICES)


def run(
    request: Request,
    *,
    device: str | None,
    min_time: float | None = MIN_TIME,
    progress: api.Progress = lambda doing: None,
) -> Measurement:
    """Measure what the request asks for, on a device; its own device and target do not matter.

    `min_time` None takes no time; `progress` is told what goes on. Raises as `measure` does.
    """
    check_device(device)
    if isinstance(request.model, ModelSpec):
        resolve(request.model)  # a mistyped name is answered before torch is imported
    place = _device(device)
    options = with_own_optimizer(request.memory or MemoryOptions())
    asked, summary = _predicted(dataclasses.replace(request, memory=options, mode="eval"), place, progress)
    if place.type == "cpu" and summary.memory is not None:
        _check_room(summary.memory)
    progress(f"{request.name}: really running on {place}")
    return _measured(asked, options, place, min_time, summary)


def _device(name: str | None) -> torch.device:
    import torch

    best = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return available(name or best)
    except UsageError as error:
        raise UsageError(error.message, _DEVICES if best == "cpu" else error.hint) from None


def _predicted(request: Request, device: torch.device, progress: api.Progress) -> tuple[Request, Summary]:
    """The summary with the prediction for a device; without it where the model runs on that device alone."""
    try:
        return api.answered(dataclasses.replace(request, device="auto", target=device.type), progress)
    except ModelError as error:
        if device.type == "cpu":
            raise
        notice = f"memory is not predicted: {error.message.splitlines()[0]}"
    there = dataclasses.replace(request, device=str(device), memory=None)
    return api.answered(dataclasses.replace(there, notices=(*request.notices, notice)))


def _check_room(predicted: Memory) -> None:
    """Raise ModelError where more is predicted than there is: the system would end the process."""
    need, room = max(predicted.inference_peak_bytes, predicted.training_peak_bytes or 0), _memory_here()
    if need > room:
        raise ModelError(
            f"it would take {binary_bytes(need)}, as predicted, of the {binary_bytes(room)} of memory here",
            "Try a smaller --batch; `modelsum fit MODEL --memory SIZE` says which one fits.",
        )


def _memory_here() -> int:
    """Bytes of memory that this process may use: of the machine, or of its control group (a container)."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # there are no control groups, or no limit ("max")
        return machine


def _measured(
    request: Request,
    options: MemoryOptions,
    device: torch.device,
    min_time: float | None,
    summary: Summary,
) -> Measurement:
    import torch

    from modelsum.trace.copying import own_parameters
    from modelsum.trace.real.measuring import run_for_real
    from modelsum.trace.real.meters import meter_for
    from modelsum.trace.real.out_of_memory import is_out_of_memory, out_of_memory

    meter = meter_for(device)
    try:
        ready = prepare(request, device)
        if not isinstance(request.model, ModelSpec):
            own_parameters(ready.loaded.model)
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(device, "the building of the model") from error
        raise
    measured = run_for_real(
        ready.call,
        options=options,
        device=device,
        meter=meter,
        min_time=min_time,
        samples=_samples(summary),
    )
    versions = {"cuda": str(torch.version.cuda)} if device.type == "cuda" else {}
    return Measurement(
        model=summary.model,
        inputs=summary.inputs,
        batch=summary.batch,
        dtype=summary.dtype,
        device=str(device),
        device_name=_name_of(device),
        threads=torch.get_num_threads(),
        step=_step(options, device.type),
        measured=measured,
        predicted=summary.memory,
        notices=(*summary.notices, *(summary.memory.notices if summary.memory else ())),
        made_with={**summary.made_with, **versions},
    )


def _samples(summary: Summary) -> int | None:
    """Samples in the batch: the batch size, or else the first dimension of the first input."""
    if summary.batch is not None:
        return summary.batch
    return next((shape[0] for shape in (i.shape for i in summary.inputs) if shape), None)


def _step(options: MemoryOptions, target: str) -> dict[str, str]:
    """The training step in words; the attention kernel where one was chosen."""
    chosen = {"attention": options.attention} if options.attention != "auto" else {}
    return {**options.words(target), **chosen}


def _name_of(device: torch.device) -> str:
    """The card, or the processor as far as the system tells."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
