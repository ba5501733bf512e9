"""The values that everything passes on: what a model costs, as plain frozen data without torch.

A `Summary` is made by `modelsum.trace`, compared by `modelsum.baselines` and shown by
`modelsum.render`; none of them changes one. `Summary.to_dict` is the JSON of schema version 1, and
`Summary.from_dict` reads it: reports, kept answers and the files of `diff` are read by these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeAlias

from modelsum.memory_values import Memory, ModuleMemory, peaks_of
from modelsum.plain import LENIENT, plain_fields, read
from modelsum.printing import Printed

SCHEMA_VERSION = 1

#: By which rules figures are counted. A number goes up when a rule changes what is counted for a model that
#: was counted before; figures of different numbers are not comparable.
CONVENTION: Mapping[str, int] = {"macs": 1, "memory": 4, "torchsummary": 1}

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
        arguments: the constructor arguments that it was built with, beside its defaults, as JSON has them.
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
        macs: multiply-accumulates of convolution, matmul and attention for the whole input batch; None where
            no call was made, for want of an input.
        input_bytes: bytes of the input tensors.
        module_calls: executions of modules, the root included.
        backward_macs: multiply-accumulates of the backward passes of a training step, as autograd does them:
            what depends on nothing that is trained is left out, what a checkpoint recomputes is in it; None
            where no step was predicted.
        tokens: of the input, where it has ids of tokens: the first [batch, length] of int64.
        active_params: parameters that a token meets, where experts share them out: without those of the
            experts that it is not sent to.
        training_macs: those of the whole step: forward in training mode, backward, and the optimizer.
    """

    DERIVED: ClassVar = ("frozen_params", "flops")

    params: int
    trainable_params: int
    param_bytes: int
    buffers: int
    buffer_bytes: int
    packed_params: int
    macs: int | None
    input_bytes: int
    module_calls: int
    backward_macs: int | None = None
    training_macs: int | None = None
    tokens: int | None = None
    active_params: int | None = None

    @property
    def frozen_params(self) -> int:
        """Elements of the parameters without requires_grad."""
        return self.params - self.trainable_params

    @property
    def flops(self) -> int | None:
        """Floating-point operations, 2 a multiply-accumulate."""
        return None if self.macs is None else 2 * self.macs


@dataclass(frozen=True, slots=True)
class TorchsummaryTotals:
    """The totals in torchsummary's convention (sksq96/pytorch-summary 1.5.1), in bytes.

    A convention for comparing with stored tables, not a prediction of memory: every element has 4 bytes,
    and forward/backward is twice the outputs of all rows. A row is a call of a module that is not the
    root, an nn.Sequential or an nn.ModuleList.
    """

    DERIVED: ClassVar = ("total_bytes",)

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
        own_buffers: elements of the buffers that this module registers itself.
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
    own_buffers: int = 0


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
        input: the sample that the stored table is of, "3x600x600", where this is another one.
    """

    DERIVED: ClassVar = ("differences",)

    status: str
    source: str | None = None
    figures: tuple[Difference, ...] = ()
    input: str | None = None

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
        executed: the forward ran to its end. It did not begin where not `called`.
        layers: in the order in which calls began, modules that were never called at their place.
        macs_by_op: multiply-accumulates by op, the largest first; they add up to the total.
        uncounted_ops: ops that do arithmetic and have no rule, with how often they ran.
        memory: what inference and a training step take; None where it was not asked for, or is not known:
            then a notice says why.
        text: what is written, in words, where a generation was asked for.
        generation: its figures by name (`modelsum.generation_values.FIGURES`); none where it was not.
        notices: what the reader should know about how the figures were reached.
        convention: the rules that they are counted by (`CONVENTION`).
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
    text: str = ""
    generation: Mapping[str, int] = field(default_factory=dict)
    baseline: Baseline = Baseline("none")
    notices: tuple[str, ...] = ()
    convention: Mapping[str, int] = field(default_factory=lambda: dict(CONVENTION))
    made_with: Mapping[str, str] = field(default_factory=dict)

    def with_memory(self, memory: Memory | None, reasons: tuple[str, ...]) -> Summary:
        """The same with its memory, and with the MACs of the training step; or the reasons why not."""
        totals = self.totals
        if memory is not None:
            totals = replace(totals, backward_macs=memory.backward_macs, training_macs=memory.training_macs)
        return replace(self, memory=memory, totals=totals, notices=self.notices + reasons)

    @property
    def called(self) -> bool:
        """Whether a call was made at all: without an input there are modules, params and buffers alone."""
        return self.totals.macs is not None

    def __repr__(self) -> str:
        name = self.model.spec or self.model.class_name
        macs = "no input" if self.totals.macs is None else f"{self.totals.macs:,} MACs"
        return f"<Summary of {name}: {self.totals.params:,} params, {macs}>"

    def to_frame(self, library: str | None = None) -> Any:
        """The layers as a table of pandas, or of polars: a row a call, the columns of the CSV.

        Args:
            library: "pandas" or "polars"; None for the first of them that is installed.

        Raises UsageError where it is not installed.
        """
        return self._frame(library)

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON values, schema version 1."""
        value = plain_fields(self)
        modules = dict(self.memory.modules) if self.memory else {}
        for layer, row in zip(self.layers, value["layers"], strict=True):
            module = modules.pop(layer.path, None)  # of all calls together, on the first one
            row |= {name: getattr(module, name, None) for name in _OF_MODULES}
        value["lists"] = [
            path
            for place, layer in enumerate(self.layers)
            for name in _TREES
            for path in _lists(getattr(layer, name), (place, name))
        ]
        return {"schema_version": SCHEMA_VERSION, "kind": "summary", **value}

    @classmethod
    def from_dict(cls, value: Any, how: str = LENIENT) -> Summary:
        """The summary that `to_dict` made these JSON values of, also an earlier version's.

        `how` is of `modelsum.plain.read`. Raises `modelsum.plain.NotReadable` where it is none.
        """
        rows = value.get("layers") if isinstance(value, dict) else None
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            lists = set(read(_Lists, value).lists)
            value = value | {"layers": [_fields(row, lists, place) for place, row in enumerate(rows)]}
            memory = value.get("memory")
            if isinstance(memory, dict):
                saving = (row for row in rows if row.get("saved_bytes") is not None)
                modules = {str(row.get("path")): {"own_saved_bytes": 0} | row for row in saving}
                value["memory"] = {"modules": modules, **peaks_of(memory), **memory}
        return read(cls, value, how)


# ---- the JSON of layers, where it is not that of their fields

_OF_MODULES = tuple(field.name for field in fields(ModuleMemory))
_Path: TypeAlias = tuple[str | int, ...]
_TREES = ("input_shapes", "output_shapes")


@dataclass(frozen=True, slots=True)
class _Lists:
    lists: tuple[tuple[str | int, ...], ...] = ()


def _fields(row: dict[str, Any], lists: Collection[_Path], place: int) -> dict[str, Any]:
    """The fields of a layer: in JSON, sizes in trees and tuples of attributes are lists."""
    attributes = row.get("attributes", {})
    if isinstance(attributes, dict):
        attributes = {name: _tuples(each) for name, each in attributes.items()}
    trees = {name: _tree(row[name], lists, (place, name)) for name in _TREES if name in row}
    row = row | trees | {"attributes": attributes}
    if "counted_trainable_params" not in row:  # as before there was the key
        own, counted = row.get("own_trainable_params"), row.get("counted_params")
        if isinstance(own, int) and isinstance(counted, int):
            row["counted_trainable_params"] = min(own, counted)
    return row


def _lists(tree: ShapeTree, path: _Path) -> Iterator[_Path]:
    """The places of lists in a tree that JSON shows as it does the sizes of a tensor."""
    if isinstance(tree, list) and _may_be_sizes(tree):
        yield path
    elif isinstance(tree, (list, dict)):
        for key, each in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _lists(each, (*path, key))


def _tree(value: Any, lists: Collection[_Path], path: _Path) -> Any:
    """The tree that JSON shows so, but for those lists."""
    if isinstance(value, dict):
        return {key: _tree(each, lists, (*path, key)) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    if _may_be_sizes(value) and path not in lists:
        return tuple(value)
    return [_tree(each, lists, (*path, place)) for place, each in enumerate(value)]


def _may_be_sizes(value: list[Any]) -> bool:
    return all(type(each) is int or each == "*" for each in value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
