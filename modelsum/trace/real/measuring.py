"""A real run on a real device: inference and training steps, their memory read off and their time taken.

The steps are those whose memory `modelsum.trace.step.training` predicts. Inference runs once before it
counts, since kernels set themselves up and lazy layers take shape at their first call; training steps count
from the very first on.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from modelsum.errors import ModelError
from modelsum.memory.measurement import Latency, RealRun
from modelsum.memory.options import MemoryOptions
from modelsum.raised import told
from modelsum.trace.call import Call
from modelsum.trace.freezing import frozen
from modelsum.trace.isolation import deep_enough, isolated
from modelsum.trace.modes import set_mode
from modelsum.trace.real.meters import Mark, Meter, on
from modelsum.trace.real.out_of_memory import is_out_of_memory, out_of_memory
from modelsum.trace.real.real_step import NothingToTrainError, RealStep, precision
from modelsum.trace.step.checkpointing import checkpointed
from modelsum.trace.step.held import held_by

_FIRST, _STEADY = "the first training step", "a training step"
_INFERENCE = "inference"

# As modelsum.trace.step.attention has it: the kernel that is asked for, else the next one that can.
_ATTENTION = {
    "math": [SDPBackend.MATH],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
}


def run_for_real(
    call: Call,
    *,
    options: MemoryOptions,
    device: torch.device,
    meter: Meter,
    min_time: float | None,
    samples: int | None,
) -> RealRun:
    """Make the call without gradients, and in training steps.

    Args:
        call: on the device, its model the caller's own, with its parameters: its mode is changed, gradients
            are left behind, running statistics move on.
        options: the training step.
        device: "cpu" or "cuda:N".
        meter: of this device, made before the model was put there.
        min_time: seconds for which a forward pass and a training step are timed at least, each; None
            takes no time.
        samples: in the batch.

    Raises:
        UsageError: a pattern of the options matches nothing, or the optimizer is not installed.
        ModelError: the forward failed in evaluation mode, or the device ran out of memory. Where only
            training fails, the result has no figures for it and says why.
    """
    with (
        isolated(),
        collecting_garbage(),
        deep_enough(call.model),
        on(device, expandable_segments=options.expandable_segments),
        _attention(options.attention),
    ):
        run = _Run(call, options=options, device=device, meter=meter)
        timed = _Stopwatch(min_time, samples)
        inference, forward = run.inference(timed)
        with frozen(call.model, options.freeze), checkpointed(call.model, options.checkpoint):
            training, step = run.training(timed)
    phases = _phases(training, _STEADY)
    return RealRun(
        inference_peak_bytes=inference,
        first_step_peak_bytes=max(_phases(training, _FIRST).values(), default=None),
        training_peak_bytes=max(phases.values(), default=None),
        phase_peak_bytes=phases,
        allocated_bytes=max(training.values(), default=inference) if device.type == "cuda" else None,
        reserved_bytes=run.reserved_bytes,
        process_bytes=run.process_bytes,
        forward=forward,
        training_step=step,
        notices=tuple(run.notices),
    )


def _phases(peaks: Mapping[str, int], step: str) -> dict[str, int]:
    """The peaks of one step, by phase."""
    return {name.removeprefix(f"{step}: "): b for name, b in peaks.items() if name.startswith(f"{step}: ")}


class _Run:
    """A model on its device, and the steps that it takes there.

    Attributes:
        reserved_bytes: by the allocator in the last steps, or None.
        process_bytes: of the process after them, or None.
        notices: what could not be measured, and why.
    """

    def __init__(
        self,
        call: Call,
        *,
        options: MemoryOptions,
        device: torch.device,
        meter: Meter,
    ) -> None:
        self._call = call
        self._options, self._device, self._meter = options, device, meter
        self.reserved_bytes: int | None = None
        self.process_bytes: int | None = None
        self.notices: list[str] = []

    def inference(self, timed: _Stopwatch) -> tuple[int, Latency | None]:
        """The peak of a forward pass and its time. Raises ModelError."""
        set_mode(self._call.model, train=False)
        autocast = precision(self._options, self._device)

        def forward() -> None:
            call = self._call.renewed()
            with autocast():
                call()

        def marked(mark: Mark) -> None:
            with mark(_INFERENCE):
                forward()

        try:
            with torch.no_grad():
                forward()
                return self._peaks(marked)[_INFERENCE], timed(forward)
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(self._device, _INFERENCE) from error
            raise ModelError(f"the forward failed on {self._device}: {told(error)}") from error

    def training(self, timed: _Stopwatch) -> tuple[Mapping[str, int], Latency | None]:
        """The peaks of the phases of two steps, and the time of a step; neither where nothing is trained.

        Raises ModelError where memory runs out.
        """
        set_mode(self._call.model, train=True)
        self._meter.start_over()
        step = RealStep(self._call, options=self._options, device=self._device)
        doing = _FIRST

        def two_steps(mark: Mark) -> None:
            nonlocal doing
            step(lambda phase: mark(f"{_FIRST}: {phase}"))
            doing = _STEADY
            step(lambda phase: mark(f"{_STEADY}: {phase}"))

        try:
            peaks = self._peaks(two_steps, step.there())
            time = timed(step)
        except NothingToTrainError:
            self.notices.append(
                "nothing can be trained: no output depends on a parameter that takes gradients"
            )
            return {}, None
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(self._device, f"{doing} ({step.phase})") from error
            self.notices.append(f"the training step could not be run: {told(error)}")
            return {}, None
        if step.skipped:
            self.notices.append(
                f"the gradient scaler left out {step.skipped} optimizer steps: gradients were not finite"
            )
        return peaks, time

    def _peaks(self, action: Callable[[Mark], None], more: Iterable[Tensor] = ()) -> Mapping[str, int]:
        gc.collect()
        peaks = self._meter.peaks((*self._there(), *more), action)
        self.reserved_bytes = self._meter.reserved_bytes()
        self.process_bytes, reason = self._meter.process_bytes()
        if reason is not None and not self.notices:
            self.notices.append(f"the memory of the process is not known: {reason}")
        return peaks

    def _there(self) -> Iterator[Tensor]:
        yield from held_by(self._call.model)
        yield from self._call.inputs()


class _Stopwatch:
    """Takes the time of something that runs again and again; called with None for a time, it takes none."""

    def __init__(self, min_time: float | None, samples: int | None) -> None:
        self._min_time, self._samples = min_time, samples

    def __call__(self, action: Callable[[], object]) -> Latency | None:
        """The time of one run."""
        if self._min_time is None:
            return None
        timer = _timer_class()("action()", globals={"action": action}, num_threads=torch.get_num_threads())
        taken = timer.blocked_autorange(min_run_time=self._min_time)
        blocks = len(taken.raw_times)
        return Latency(
            median_seconds=taken.median,
            iqr_seconds=taken.iqr if blocks > 1 else None,
            runs=blocks * taken.number_per_run,
            samples=self._samples,
        )


def _timer_class() -> Any:
    """torch.utils.benchmark.Timer; what that imports warns of a CUDA toolkit without a device."""
    log = logging.getLogger("torch.utils.cpp_extension")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        from torch.utils.benchmark import Timer
    finally:
        log.setLevel(level)
    return Timer


@contextmanager
def collecting_garbage() -> Iterator[None]:
    """With Python's garbage collection on, as in anybody's training script; the command line turns it off."""
    enabled = gc.isenabled()
    gc.enable()
    try:
        yield
    finally:
        if not enabled:
            gc.disable()


def _attention(kernel: str) -> AbstractContextManager[None]:
    return sdpa_kernel(_ATTENTION[kernel]) if kernel in _ATTENTION else nullcontext()
