"""What a real run showed, with the prediction beside it: plain frozen values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from modelsum.memory_values import Memory
from modelsum.plain import plain, plain_fields
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION, Input, Model


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a forward pass or a training step takes.

    Attributes:
        median_seconds: of one run, by torch.utils.benchmark.
        iqr_seconds: the interquartile range, how far runs spread; None after a single block of runs.
        runs: so many were timed, after those that warmed up.
        samples: in the batch; None where the input has no batch that is known.
    """

    DERIVED: ClassVar = ("samples_per_second",)

    median_seconds: float
    iqr_seconds: float | None
    runs: int
    samples: int | None

    @property
    def samples_per_second(self) -> float | None:
        """The throughput."""
        return self.samples / self.median_seconds if self.samples else None


@dataclass(frozen=True, slots=True)
class RealRun:
    """What was read off a real run on a device.

    Attributes:
        inference_peak_bytes: most live bytes of a forward pass in evaluation mode without gradients.
        first_step_peak_bytes: of the first training step; None where nothing could be trained.
        training_peak_bytes: of the second training step, in which the optimizer has its state.
        phase_peak_bytes: of each phase of that step.
        allocated_bytes: most bytes in the blocks of the CUDA caching allocator in training; None for the CPU.
        reserved_bytes: the most that this allocator took from the device for them; None for the CPU.
        process_bytes: what the process took on the device; None for the CPU, and where nothing tells.
        forward: the time of an inference; None where time was not asked for.
        training_step: the time of a training step.
        notices: what could not be measured, and why.
    """

    inference_peak_bytes: int
    first_step_peak_bytes: int | None = None
    training_peak_bytes: int | None = None
    phase_peak_bytes: Mapping[str, int] = field(default_factory=dict)
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    process_bytes: int | None = None
    forward: Latency | None = None
    training_step: Latency | None = None
    notices: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """A figure of the real run in bytes, what was predicted (process: least and most), and its error.

    `figure` is the name in the JSON; `phase` that of a phase of the training step, or "".
    """

    figure: str
    phase: str
    measured: int | None
    predicted: int | tuple[int, int] | None

    @property
    def error_percent(self) -> float | None:
        """How far the prediction is above (+) or below (-) the real figure; 0 inside a predicted range."""
        if self.measured is None or self.predicted is None:
            return None
        least, most = self.predicted if isinstance(self.predicted, tuple) else (self.predicted,) * 2
        nearest = min(max(self.measured, least), most)
        return 100 * (nearest / self.measured - 1) if self.measured else None


_PEAKS = ("inference_peak_bytes", "first_step_peak_bytes", "training_peak_bytes")
_ON_CUDA = ("allocated_bytes", "reserved_bytes", "process_bytes")


@dataclass(frozen=True, slots=True)
class Measurement(Printed):
    """What a model took on a real device. Compare `measured` with `predicted`.

    Attributes:
        model: which model.
        inputs: of the call.
        batch: that was put in front of the shapes; None where they are literal.
        dtype: of the parameters.
        device: "cpu" or "cuda:N".
        device_name: the processor or card.
        threads: that torch computed with on the CPU.
        step: the training step, by name: optimizer, loss, ...
        measured: the real run.
        predicted: the prediction for this device; None where there is none: a notice says why.
        notices: what the reader should know.
        made_with: versions.
    """

    model: Model
    inputs: tuple[Input, ...]
    batch: int | None
    dtype: str
    device: str
    device_name: str
    threads: int
    step: Mapping[str, str]
    measured: RealRun
    predicted: Memory | None
    notices: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)

    def comparisons(self) -> Iterator[Comparison]:
        """Every figure of memory, measured and predicted, in the order of display."""
        on_cuda = self.device != "cpu"
        for figure in (*_PEAKS, *(_ON_CUDA if on_cuda else ())):
            yield Comparison(
                figure, "", getattr(self.measured, figure), getattr(self.predicted, figure, None)
            )
            if figure == "training_peak_bytes":
                predicted = self.predicted.phase_peak_bytes if self.predicted else {}
                for phase, nbytes in self.measured.phase_peak_bytes.items():
                    yield Comparison("phase_peak_bytes", phase, nbytes, predicted.get(phase))

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON values, schema version 1."""
        measured: dict[str, Any] = {}
        predicted: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for figure in self.comparisons():
            for block, value in (
                (measured, figure.measured),
                (predicted, figure.predicted),
                (errors, figure.error_percent),
            ):
                if figure.phase:
                    block.setdefault(figure.figure, {})[figure.phase] = value
                else:
                    block[figure.figure] = value
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "measurement",
            **plain_fields(self),
            "measured": measured,
            "predicted": predicted,
            "error_percent": errors,
            "latency": {name: plain(getattr(self.measured, name)) for name in ("forward", "training_step")},
            "notices": [*self.notices, *self.measured.notices],
        }
