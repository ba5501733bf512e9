"""What is said about a model's memory: plain frozen values, the JSON block `memory`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from modelsum.plain import plain


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest number of live bytes over some time.

    Attributes:
        bytes: the sum of the parts.
        parts: bytes by category (`modelsum.memory.log.CATEGORIES`) at that moment.
        phase: "forward", "backward" or "optimizer step".
        module: path of the module that ran, or whose derivative ran; "" is the root.
    """

    bytes: int
    parts: Mapping[str, int]
    phase: str
    module: str


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of the timeline: after so many allocations and releases of the step, what was live.

    Attributes:
        event: how many there were before it.
        phase: "forward", "backward" or "optimizer step".
        module: path of the module that ran, or whose derivative ran; "" is the root.
        parts: live bytes by category.
        op: that ran, "aten.convolution"; "" where it was none.
    """

    DERIVED: ClassVar = ("live_bytes",)

    event: int
    phase: str
    module: str
    parts: Mapping[str, int]
    op: str = ""

    @property
    def live_bytes(self) -> int:
        """All bytes that were live."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class ModuleMemory:
    """What a module and the modules in it take.

    Attributes:
        saved_bytes: bytes saved for backward by this module and those in it.
        own_saved_bytes: of those, by the module itself.
        peak_bytes: most live bytes, of everything, while it or its derivative ran in a training step, or
            in the forward pass where nothing is trained.
    """

    saved_bytes: int
    own_saved_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a rank sends to others and receives from them in a training step, by one kind of collective.

    Attributes:
        calls: how often.
        sent_bytes, received_bytes: by a ring, as NCCL's are for large messages.
    """

    calls: int
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class _Memory:
    """The memory of a model, predicted from shapes or measured on a device.

    Attributes:
        kind: "predicted" or "measured".
        target: "cpu" or "cuda".
        saved_for_backward_bytes: unique storages that autograd keeps at the end of a training forward,
            parameters, buffers and inputs left out; None where nothing can be trained.
        inference: the peak of a forward pass in evaluation mode without gradients.
        training: the peak of a training step in steady state, or None where nothing can be trained.
        first_step: the peak of the first step, in which the optimizer makes its state.
        phase_peak_bytes: the peak of each phase of the training step in steady state.
        phase_macs: multiply-accumulates of each phase of a training step, all its passes together; what is
            recomputed in the backward pass is in that.
        uncounted_ops: ops of the step that do arithmetic and have no rule, with how often a pass runs them.
        allocated_bytes: most bytes in the blocks of the CUDA caching allocator; None for the CPU.
        reserved_bytes: what that allocator takes from the device for them; None for the CPU.
        host_bytes: most bytes of the step's tensors that the host holds; None where nothing is offloaded.
        process_bytes: least and most that the process takes on the device, or None.
        modules: by path, every module that did something.
        timeline: live bytes over the training step in steady state, or over the forward pass.
        assumptions: what was taken for granted, by name: optimizer, attention, loss, ...
        notices: what could not be predicted, and why.
        unmeasured: ops whose kernels allocate memory of their own that no rule is known for, and how often
            they ran. Where there are some, all peaks are lower bounds.
    """

    kind: str
    target: str
    saved_for_backward_bytes: int | None
    inference: Peak
    training: Peak | None
    first_step: Peak | None
    phase_peak_bytes: Mapping[str, int] = field(default_factory=dict)
    phase_macs: Mapping[str, int] = field(default_factory=dict)
    uncounted_ops: Mapping[str, int] = field(default_factory=dict)
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    process_bytes: tuple[int, int] | None = None
    host_bytes: int | None = None
    modules: Mapping[str, ModuleMemory] = field(default_factory=dict)
    timeline: tuple[Point, ...] = ()
    assumptions: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    unmeasured: Mapping[str, int] = field(default_factory=dict)

    @property
    def bound(self) -> str:
        """ "lower" where the peaks are at least so much, "exact" where they are what a step takes."""
        return "lower" if self.unmeasured else "exact"

    @property
    def without_training(self) -> str:
        """Why there are no figures of a training step; "" where there are."""
        return "; ".join(self.notices) if self.training is None else ""

    @property
    def inference_peak_bytes(self) -> int:
        """Most live bytes of a forward pass in evaluation mode without gradients."""
        return self.inference.bytes

    @property
    def training_peak_bytes(self) -> int | None:
        """Most live bytes of a training step in steady state."""
        return self.training.bytes if self.training else None

    @property
    def first_step_peak_bytes(self) -> int | None:
        """Most live bytes of the first training step."""
        return self.first_step.bytes if self.first_step else None

    @property
    def backward_macs(self) -> int | None:
        """Multiply-accumulates of the backward passes of a step; None where nothing can be trained."""
        return self.phase_macs.get("backward", 0) if self.training else None

    @property
    def training_macs(self) -> int | None:
        """Multiply-accumulates of a whole training step; None where nothing can be trained."""
        return sum(self.phase_macs.values()) if self.training else None

    @property
    def peak(self) -> Peak:
        """The peak of the training step, or of inference where nothing can be trained."""
        return self.training or self.inference

    def to_dict(self) -> dict[str, Any]:
        """The fields in the JSON; the modules are in its layers."""
        return {
            "kind": self.kind,
            "target": self.target,
            "saved_for_backward_bytes": self.saved_for_backward_bytes,
            "inference_peak_bytes": self.inference_peak_bytes,
            "training_peak_bytes": self.training_peak_bytes,
            "first_step_peak_bytes": self.first_step_peak_bytes,
            "at_peak": dict(self.peak.parts),
            "peak_phase": self.peak.phase,
            "peak_module": self.peak.module,
            "at_inference_peak": dict(self.inference.parts),
            "inference_peak_module": self.inference.module,
            "inference": plain(self.inference),
            "training": plain(self.training),
            "first_step": plain(self.first_step),
            "phase_peak_bytes": dict(self.phase_peak_bytes),
            "phase_macs": dict(self.phase_macs),
            "uncounted_ops": dict(self.uncounted_ops),
            "allocated_bytes": self.allocated_bytes,
            "reserved_bytes": self.reserved_bytes,
            "process_bytes": list(self.process_bytes) if self.process_bytes else None,
            "host_bytes": self.host_bytes,
            "timeline": plain(self.timeline),
            "assumptions": dict(self.assumptions),
            "notices": list(self.notices),
            "bound": self.bound,
            "unmeasured": dict(self.unmeasured),
        }


@dataclass(frozen=True, slots=True)
class Rank(_Memory):
    """The memory of one rank of several that share a training step, or of some that are alike.

    Attributes:
        ranks: their numbers; of those that are not quite alike, the first takes the most.
        place: where the first of them is, by the mesh's dimensions.
        shards: bytes of weights, gradients and optimizer state that each holds after a step, by category.
        communication: by collective, in a step in steady state.
    """

    ranks: tuple[int, ...] = ()
    place: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, int] = field(default_factory=dict)
    communication: Mapping[str, Traffic] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `memory.ranks` in the JSON: whose it is, the fields of `memory`, and the traffic."""
        return {
            "ranks": list(self.ranks),
            "place": dict(self.place),
            "shards": dict(self.shards),
            **super(Rank, self).to_dict(),
            "communication": plain(self.communication),
        }


@dataclass(frozen=True, slots=True)
class Memory(_Memory):
    """The memory of a model; of the rank that takes the most where several share it.

    Attributes:
        ranks: every distinct rank, the one that takes the most first; none without a mesh.
    """

    ranks: tuple[Rank, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The block `memory` of the JSON, schema version 1; the modules are in its layers."""
        return {**super(Memory, self).to_dict(), "ranks": plain(self.ranks)}


def peaks_of(memory: Mapping[str, Any]) -> dict[str, Any]:
    """The peaks in the JSON of a memory, where it is of a version that had only figures of them."""
    parts, phase, module = memory.get("at_peak"), memory.get("peak_phase"), memory.get("peak_module")

    def peak(name: str, **known: Any) -> dict[str, Any] | None:
        size = memory.get(f"{name}_peak_bytes")
        return (
            None
            if size is None
            else {"bytes": size, "parts": parts, "phase": phase, "module": module} | known
        )

    inference = {"parts": memory.get("at_inference_peak"), "phase": "forward"}
    inference["module"] = memory.get("inference_peak_module")
    return {
        "inference": peak("inference", **inference),
        "training": peak("training"),
        "first_step": peak("first_step", parts={}, phase="", module=""),
    }
