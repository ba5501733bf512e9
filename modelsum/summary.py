"""The values that everything passes on: what a model costs, as plain frozen data without torch.

A `Summary` is made by `modelsum.trace`, compared by `modelsum.baselines` and shown by
`modelsum.render`; none of them changes one. `Summary.to_dict` is the JSON of schema version 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from modelsum.printing import Printed

if TYPE_CHECKING:
    from modelsum.memory import Memory

SCHEMA_VERSION = 1

#: By which rules figures are counted. A number goes up when a rule changes what is counted for a model that
#: was counted before; figures of different numbers are not comparable.
CONVENTION: Mapping[str, int] = {"macs": 1, "memory": 1, "torchsummary": 1}

#: What is said of a value that went into or came out of a module. A tensor is its shape, a tuple of
#: sizes; a list or tuple of values is a list; a dict (or an object with fields) is a dict; None, numbers
#: and strings stand for themselves; anything else is the name of its class in angle brackets.
ShapeTree: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Model:
    """Which model was summarised.

    Attributes:
        spec: the MODEL string, or None for a module object handed in from Python.
        source: the provider that knew the name ("documented", "torchvision", ...) or "object".
        class_name: the class of the root module.
        arguments: the constructor arguments that it was built with, beside its defaults.
    """

    spec: str | None
    source: str
    class_name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """One input tensor: its keyword or place in a nested input (None: the only or a positional one)."""

    name: str | None
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a model. Elements, multiply-accumulates and bytes; every tensor once.

    Attributes:
        params: elements of the unique parameter tensors, shared and tied ones once.
        trainable_params: of those, with requires_grad; frozen_params are the rest.
        param_bytes: bytes of the unique parameter tensors.
        buffers: elements of the unique registered buffers; never in params.
        buffer_bytes: bytes of the unique registered buffers.
        packed_params: elements of weights that a quantised module keeps outside nn.Parameter.
        macs: multiply-accumulates of convolution, matmul and attention for the whole input batch.
        input_bytes: bytes of the input tensors.
        module_calls: executions of modules, the root included.
    """

    params: int
    trainable_params: int
    param_bytes: int
    buffers: int
    buffer_bytes: int
    packed_params: int
    macs: int
    input_bytes: int
    module_calls: int

    @property
    def frozen_params(self) -> int:
        """Elements of the parameters without requires_grad."""
        return self.params - self.trainable_params

    @property
    def flops(self) -> int:
        """Floating-point operations, 2 a multiply-accumulate."""
        return 2 * self.macs


@dataclass(frozen=True, slots=True)
class TorchsummaryTotals:
    """The totals in torchsummary's convention (sksq96/pytorch-summary 1.5.1), in bytes.

    A convention for comparing with stored tables, not a prediction of memory: every element has 4 bytes,
    and forward/backward is twice the outputs of all rows. A row is a call of a module that is not the
    root, an nn.Sequential or an nn.ModuleList.
    """

    rows: int
    input_bytes: int
    forward_backward_bytes: int
    params_bytes: int

    @property
    def total_bytes(self) -> int:
        """What torchsummary prints as the estimated total size."""
        return self.input_bytes + self.forward_backward_bytes + self.params_bytes


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a module, or one module that was never called (`call` 0).

    Attributes:
        path: the module's name from the root ("layer1.0.conv1"); "" is the root.
        class_name: the module's class.
        call: 1 for the first call of this module object, 2 for the second, ...; 0 if never called.
        depth: number of names in the path.
        parent: index of the row whose call this one happened in; None for the root.
        exit_order: place in the order in which calls returned, from 0; None if never called or failed.
        container: an nn.Sequential or nn.ModuleList (or a subclass), which torchsummary gives no row.
        group: never called itself, but modules in it were: an nn.ModuleList, say.
        failed: its forward raised; calls around it have no output either, but only this one is marked.
        input_shapes: shapes of what went in: a list for positional arguments, a dict for keywords,
            {"args": [...], "kwargs": {...}} for both.
        output_shapes: shapes of what came out.
        params: elements of the unique parameters of this module and its submodules.
        own_params: of those, registered by this module itself.
        counted_params: of own_params, those that no earlier row has: over all rows they add up to the total.
        trainable_params: elements of `params` with requires_grad.
        own_trainable_params: elements of `own_params` with requires_grad.
        macs: multiply-accumulates during this call, submodules included.
        own_macs: of those, not inside a submodule's call.
        output_elements: elements of all tensors in the output.
        output_bytes: bytes of all tensors in the output.
        reused: this module object ran before in the same pass; its parameters are counted there.
        counted_trainable_params: elements of `counted_params` with requires_grad; they add up as those do.
        attributes: how the module is configured: its public attributes that are numbers, strings, bools or
            None, or tuples of these, by name.
    """

    path: str
    class_name: str
    call: int
    depth: int
    parent: int | None
    exit_order: int | None
    container: bool
    group: bool
    failed: bool
    input_shapes: ShapeTree
    output_shapes: ShapeTree
    params: int
    own_params: int
    counted_params: int
    trainable_params: int
    own_trainable_params: int
    macs: int
    own_macs: int
    output_elements: int
    output_bytes: int
    reused: bool
    counted_trainable_params: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a stored table beside today's."""

    figure: str
    documented: float
    now: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """How a summary stands to the stored table for its model and input.

    Attributes:
        status: "match", "changed", or "none" where no stored table is for this model and input.
        source: the stored table's name, or None.
        figures: every figure of the table, documented beside now.
    """

    status: str
    source: str | None = None
    figures: tuple[Difference, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The figures that differ."""
        return tuple(f for f in self.figures if f.documented != f.now)


@dataclass(frozen=True, slots=True, repr=False)
class Summary(Printed):
    """What a model costs, and where the figures come from.

    Attributes:
        mode: "eval" or "train".
        device: where the hooked forward ran: "meta", "cpu" or "cuda:N".
        dtype: the common dtype of the parameters, or of the inputs where there are none.
        batch: the batch size that was added to the inputs, or None where the shapes were taken literally.
        executed: the forward ran to its end.
        layers: in the order in which calls began, modules that were never called at their place.
        macs_by_op: multiply-accumulates by op, the largest first; they add up to the total.
        uncounted_ops: ops that do arithmetic and have no rule, with how often they ran.
        memory: what inference and a training step take; None where it was not asked for, or is not known:
            then a notice says why.
        notices: what the reader should know about how the figures were reached.
    """

    model: Model
    inputs: tuple[Input, ...]
    mode: str
    device: str
    dtype: str
    batch: int | None
    executed: bool
    totals: Totals
    torchsummary: TorchsummaryTotals
    layers: tuple[Layer, ...]
    macs_by_op: Mapping[str, int] = field(default_factory=dict)
    uncounted_ops: Mapping[str, int] = field(default_factory=dict)
    memory: Memory | None = None
    baseline: Baseline = Baseline("none")
    notices: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        name = self.model.spec or self.model.class_name
        return f"<Summary of {name}: {self.totals.params:,} params, {self.totals.macs:,} MACs>"

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON values, schema version 1."""
        totals = asdict(self.totals)
        totals |= {"frozen_params": self.totals.frozen_params, "flops": self.totals.flops}
        convention = asdict(self.torchsummary) | {"total_bytes": self.torchsummary.total_bytes}
        layers = [asdict(layer) for layer in self.layers]
        modules = dict(self.memory.modules) if self.memory else {}
        for layer in layers:
            layer["class"] = layer.pop("class_name")
            # Of all calls together, on the first one.
            module = modules.pop(layer["path"], None)
            layer["saved_bytes"] = module.saved_bytes if module else None
            layer["own_saved_bytes"] = module.own_saved_bytes if module else None
            layer["peak_bytes"] = module.peak_bytes if module else None
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "summary",
            "model": {
                "spec": self.model.spec,
                "source": self.model.source,
                "class": self.model.class_name,
                "arguments": plain(self.model.arguments),
            },
            "inputs": [asdict(i) for i in self.inputs],
            "mode": self.mode,
            "device": self.device,
            "dtype": self.dtype,
            "batch": self.batch,
            "executed": self.executed,
            "totals": totals,
            "torchsummary": convention,
            "memory": self.memory.to_dict() if self.memory else None,
            "macs_by_op": dict(self.macs_by_op),
            "uncounted_ops": dict(self.uncounted_ops),
            "layers": layers,
            "baseline": {
                "status": self.baseline.status,
                "source": self.baseline.source,
                "figures": [asdict(f) for f in self.baseline.figures],
                "differences": [asdict(f) for f in self.baseline.differences],
            },
            "notices": list(self.notices),
            "convention": dict(CONVENTION),
            "made_with": dict(self.made_with),
        }


def plain(value: Any) -> Any:
    """A Python value as JSON has it; what JSON does not have is the name of its class in angle brackets."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"<{type(value).__name__}>"
