"""What fits into some memory: plain frozen values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modelsum.memory_values import Memory, Peak
from modelsum.plain import plain_fields
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION, Input, Model

TRAINING, INFERENCE = "training", "inference"


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that there is.

    Attributes:
        bytes: so many.
        words: what the user gave: "24GiB", or the name of a card.
        notice: how that was taken, where people may mean either of two.
    """

    bytes: int
    words: str
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """What one batch needs.

    Attributes:
        batch: its size.
        bytes: what has to fit. For CUDA the whole process, at most; for the CPU the peak of live tensors.
        least_bytes: for CUDA the whole process, at least; for the CPU the same again.
        peak: of live tensors, and what it is made of.
    """

    batch: int
    bytes: int
    least_bytes: int
    peak: Peak

    def to_dict(self) -> dict[str, Any]:
        """The JSON of one need."""
        return {
            "batch": self.batch,
            "bytes": self.bytes,
            "least_bytes": self.least_bytes,
            "peak_bytes": self.peak.bytes,
            "at_peak": dict(self.peak.parts),
            "peak_phase": self.peak.phase,
            "peak_module": self.peak.module,
        }


def need_of(memory: Memory, batch: int, task: str) -> Need:
    """What has to fit of a predicted memory; the peak of the task alone where nothing tells of a process.

    Raises ValueError where it has no training step, and that is the task.
    """
    if task == INFERENCE:
        peak = memory.inference
    elif memory.training is None or memory.first_step is None:
        raise ValueError("there is no training step")
    else:
        peak = max(memory.training, memory.first_step, key=lambda p: p.bytes)
    least, most = memory.process_bytes or (peak.bytes, peak.bytes)
    return Need(batch, most, least, peak)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to fit more, and what it brings; computed as everything else is.

    Attributes:
        words: options of the command line.
        cost: what it costs, in a few words.
        need: at the batch of `Fit.reference`.
        batch: the largest that fits then, or None.
        passes: batches of one optimizer step.
        same_result: the step computes what it did before.
        combined: several ways at once.
    """

    DERIVED: ClassVar = ("samples",)

    words: str
    cost: str
    need: Need
    batch: int | None
    passes: int = 1
    same_result: bool = False
    combined: bool = False

    @property
    def samples(self) -> int | None:
        """Samples of one optimizer step with the largest batch."""
        return None if self.batch is None else self.batch * self.passes


@dataclass(frozen=True, slots=True)
class Fit(Printed):
    """The largest batch that fits.

    Attributes:
        model: which model.
        inputs: of its call with the smallest batch.
        dtype: of the parameters.
        task: "training" or "inference".
        target: "cuda" or "cpu".
        room: the memory that there is.
        batch: the largest that fits; None where not even the smallest one does.
        least_batch: the smallest that was considered: 1, or the smallest that the model takes, or where that
            cannot be trained the next one.
        most_batch: the largest that the model takes, where that is known.
        bounded: the search ended at its upper bound, and more may fit.
        optimistic_batch: the largest where the process takes the least of its range; None where none does.
        below: what `batch` needs.
        above: what the next batch would need, or the smallest one where that does not fit.
        asked: what the batch that was asked about needs, if there was one.
        fixed_bytes: parameters and buffers alone.
        ways: to fit more, those that bring most first.
        assumptions: what was taken for granted, by name.
        predictions: how many predictions it took.
        curve: what the batches need that were looked at as things are, the smallest first.
        notices: what the reader should know.
        made_with: versions.
    """

    model: Model
    inputs: tuple[Input, ...]
    dtype: str
    task: str
    target: str
    room: Room
    batch: int | None
    least_batch: int
    bounded: bool
    optimistic_batch: int | None
    below: Need | None
    above: Need | None
    asked: Need | None
    fixed_bytes: int
    ways: tuple[Way, ...] = ()
    assumptions: Mapping[str, str] = field(default_factory=dict)
    predictions: int = 0
    curve: tuple[Need, ...] = ()
    most_batch: int | None = None
    notices: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether the batch that was asked about fits, or else any."""
        return self.asked.bytes <= self.room.bytes if self.asked else self.batch is not None

    @property
    def reference(self) -> int:
        """The batch at which ways are compared: the one asked about, else the largest, else the smallest."""
        return self.asked.batch if self.asked else self.batch or self.least_batch

    @property
    def at_reference(self) -> Need:
        """What that batch needs as things are."""
        need = self.asked or self.below or self.above
        assert need is not None
        return need

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values, schema version 1."""
        room = {"room_bytes": self.room.bytes, "room": self.room.words, "fits": self.fits}
        return {"schema_version": SCHEMA_VERSION, "kind": "fit", **plain_fields(self), **room}
