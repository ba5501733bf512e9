"""Which arrangements of several GPUs a training step fits into: plain frozen values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modelsum.memory.fitting.fit import Need, Room
from modelsum.memory_values import Traffic
from modelsum.plain import plain_fields
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION, Input, Model


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One mesh and way to share a step on it, and what the rank that takes the most needs.

    Attributes:
        words: options of the command line.
        mesh: the processes, "dp=4,tp=2".
        samples: of a step of all ranks.
        need: of that rank; None where what every rank holds alone is more than its room.
        held_bytes: then that: its weights and gradients.
        bound: "lower" where the need is at least so much.
        fits: it does.
        communication: of the rank that sends the most, by collective, in a step.
    """

    DERIVED: ClassVar = ("sent_bytes", "sent_bytes_per_sample")

    words: str
    mesh: str
    samples: int
    need: Need | None
    held_bytes: int
    bound: str
    fits: bool
    communication: Mapping[str, Traffic] = field(default_factory=dict)

    @property
    def least_bytes(self) -> int:
        """What it needs, or at least needs where that is all that is known."""
        return self.need.bytes if self.need else self.held_bytes

    @property
    def sent_bytes(self) -> int:
        """What the rank that sends the most sends in a step."""
        return sum(each.sent_bytes for each in self.communication.values())

    @property
    def sent_bytes_per_sample(self) -> int:
        """The same of a sample: arrangements differ in the samples of a step."""
        return self.sent_bytes // self.samples


@dataclass(frozen=True, slots=True)
class Refusal:
    """Arrangements that a model cannot have, and why."""

    words: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Arrangements(Printed):
    """What was tried for so many GPUs.

    Attributes:
        model: which model.
        inputs: of its call with that batch.
        dtype: of the parameters.
        target: "cuda" or "cpu".
        gpus: how many.
        room: the memory of each.
        batch: of each data parallel rank, in a pipeline that of a microbatch.
        tried: those that fit first, the cheapest in communication before others.
        refused: those that cannot be.
        assumptions: what was taken for granted, by name.
        notices: what the reader should know.
        made_with: versions.
    """

    model: Model
    inputs: tuple[Input, ...]
    dtype: str
    target: str
    gpus: int
    room: Room
    batch: int
    tried: tuple[Arrangement, ...]
    refused: tuple[Refusal, ...] = ()
    assumptions: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether any does."""
        return any(each.fits for each in self.tried)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values, schema version 1."""
        room = {"room_bytes": self.room.bytes, "room": self.room.words, "fits": self.fits}
        return {"schema_version": SCHEMA_VERSION, "kind": "arrangements", **plain_fields(self), **room}
