"""How much memory is live on a device while a real program runs, by phase.

On the CPU torch keeps no statistics, but its profiler records what the allocator does: every allocation and
release with its bytes. Their running total, from the bytes of the tensors that are there, is the live
memory, what kernels allocate inside themselves included. On CUDA the caching allocator counts by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile, record_function

from modelsum.trace.real.nvml import ProcessMemory
from modelsum.trace.torch_private import allocator_settings, sparse_indices, sparse_values, storage_key

Mark = Callable[[str], AbstractContextManager[None]]
"""Makes a context: what runs in it is the phase of this name."""


class Meter(Protocol):
    """Reads the memory of one device."""

    def peaks(self, there: Iterable[Tensor], action: Callable[[Mark], None]) -> Mapping[str, int]:
        """Most live bytes in each phase that the action marks; of phases of one name the most in any.

        Args:
            there: the tensors that are live when the action begins.
            action: is called with what marks its phases.
        """
        ...

    def reserved_bytes(self) -> int | None:
        """The most that the allocator took from the device since the last call of `start_over`."""
        ...

    def process_bytes(self) -> tuple[int | None, str | None]:
        """What this process takes on the device now, or None and the reason why that is not known."""
        ...

    def start_over(self) -> None:
        """Give back to the device what nobody uses."""
        ...


def meter_for(device: torch.device) -> Meter:
    """The meter of a device, made before the model is: what is there already is not the model's."""
    return CudaMeter(device) if device.type == "cuda" else CpuMeter()


# ---- the CPU

_MARK = "modelsum: "


class CpuMeter:
    """By the profiler's records of the CPU allocator."""

    def peaks(self, there: Iterable[Tensor], action: Callable[[Mark], None]) -> Mapping[str, int]:
        """As `Meter.peaks`."""
        live = storage_bytes(there)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            action(lambda phase: record_function(_MARK + phase))
        return _peaks_of(*_records(profiler), live)

    def reserved_bytes(self) -> int | None:
        """The CPU allocator keeps nothing back: None."""
        return None

    def process_bytes(self) -> tuple[int | None, str | None]:
        """Not a figure of the model on the CPU, where Python and torch are in the same memory: None."""
        return None, None

    def start_over(self) -> None:
        """Nothing is kept back."""


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of tensors, each once; of a sparse tensor those of its parts."""
    storages: dict[int, int] = {}
    for tensor in tensors:
        for part in _strided(tensor):
            storage = part.untyped_storage()
            storages[storage_key(storage)] = storage.nbytes()
    return sum(storages.values())


def _strided(tensor: Tensor) -> tuple[Tensor, ...]:
    if tensor.layout is torch.sparse_coo:
        return sparse_indices(tensor), sparse_values(tensor)
    if tensor.layout is torch.sparse_csr:
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if isinstance(tensor, UninitializedTensorMixin):
        return ()
    return (tensor,)


_Record = tuple[int, int]  # nanoseconds; bytes, negative where they are given back
_Phase = tuple[int, int, str]  # begin and end in nanoseconds, name


def _records(profiler: profile) -> tuple[list[_Record], list[_Phase]]:
    """What the allocator did, and the phases that were marked, both in the order of time."""
    memory, phases = [], []
    results: Any = profiler.profiler and profiler.profiler.kineto_results
    for event in results.events():
        name, start = event.name(), event.start_ns()
        if name == "[memory]":
            memory.append((start, event.nbytes()))
        elif name.startswith(_MARK):
            phases.append((start, start + event.duration_ns(), name.removeprefix(_MARK)))
    return sorted(memory, key=lambda record: record[0]), sorted(phases)


def _peaks_of(records: list[_Record], phases: list[_Phase], live: int) -> Mapping[str, int]:
    """The most of the running total in each phase, from what is live at its begin on."""
    peaks: dict[str, int] = {}
    waiting = iter(records)
    record = next(waiting, None)
    for begin, end, name in phases:
        while record is not None and record[0] < begin:
            live += record[1]
            record = next(waiting, None)
        peak = live
        while record is not None and record[0] <= end:
            live += record[1]
            peak = max(peak, live)
            record = next(waiting, None)
        peaks[name] = max(peaks.get(name, 0), peak)
    return peaks


# ---- CUDA


class CudaMeter:
    """By the statistics of the caching allocator, from which what others hold is taken off."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = ProcessMemory(device)
        torch.cuda.empty_cache()
        self._others = torch.cuda.memory_allocated(device)
        self._others_reserved = torch.cuda.memory_reserved(device)
        self._reserved = 0

    def peaks(self, there: Iterable[Tensor], action: Callable[[Mark], None]) -> Mapping[str, int]:
        """As `Meter.peaks`; the bytes are those of the allocator's blocks."""
        peaks: dict[str, int] = {}

        @contextmanager
        def mark(phase: str) -> Iterator[None]:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            yield
            torch.cuda.synchronize(self._device)
            peak = torch.cuda.max_memory_allocated(self._device) - self._others
            peaks[phase] = max(peaks.get(phase, 0), peak)
            self._reserved = max(self._reserved, torch.cuda.max_memory_reserved(self._device))

        action(mark)
        return peaks

    def reserved_bytes(self) -> int | None:
        """As `Meter.reserved_bytes`."""
        return self._reserved - self._others_reserved

    def process_bytes(self) -> tuple[int | None, str | None]:
        """As `Meter.process_bytes`, by NVML."""
        return self._process.bytes_now()

    def start_over(self) -> None:
        """Empty the cache, so that what is reserved from now on is what is then needed."""
        torch.cuda.empty_cache()
        self._reserved = 0


@contextmanager
def on(device: torch.device, *, expandable_segments: bool) -> Iterator[None]:
    """Make a CUDA device the current one, with the allocator's setting of this name; for the CPU nothing."""
    if device.type != "cuda":
        yield
        return
    settings = allocator_settings()
    with contextlib.ExitStack() as back:
        back.enter_context(torch.cuda.device(device))
        if expandable_segments and settings is not None:
            settings("expandable_segments:True")
            back.callback(settings, "expandable_segments:False")
        yield
