"""A report: what one model costs in one case, as a file keeps it and two of them are compared.

A `Summary` without what differs from run to run and from machine to machine. Every figure of a row is what
that call adds of its own, so that the figures of all rows add up to the totals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelsum import generation_values
from modelsum.plain import plain
from modelsum.summary import CONVENTION, Input, Summary

SCHEMA_VERSION = 1
KIND = "report"

#: The totals that every report has.
TOTALS = (
    "params",
    "trainable_params",
    "packed_params",
    "param_bytes",
    "buffers",
    "buffer_bytes",
    "macs",
    "input_bytes",
    "module_calls",
    "torchsummary_rows",
    "forward_backward_bytes",
    "torchsummary_total_bytes",
)
#: The totals that it has where the memory is known; without training or off CUDA it has fewer.
MEMORY_TOTALS = (
    "training_macs",
    "saved_for_backward_bytes",
    "inference_peak_bytes",
    "training_peak_bytes",
    "first_step_peak_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "process_least_bytes",
    "process_most_bytes",
)
#: The totals that it has where a generation was followed.
GENERATION_TOTALS = generation_values.FIGURES
#: The totals that rows add up to; a row has each under the same name.
ROW_FIGURES = ("params", "trainable_params", "macs", "forward_backward_bytes", "saved_for_backward_bytes")


@dataclass(frozen=True, slots=True)
class Case:
    """What was counted. Figures of different cases are not those of the same thing.

    Attributes:
        model: the MODEL string, or the class of a module object.
        source: the provider that knew the name.
        arguments: constructor arguments, as JSON has them.
        inputs: with the batch in their shapes.
        batch: samples, or None where the shapes were taken literally.
        mode: "eval" or "train".
        dtype: the common dtype of the parameters.
        memory: target and assumptions of the memory figures, and the text of those of a generation; None
            where there are none.
    """

    model: str
    source: str
    arguments: Mapping[str, Any]
    inputs: tuple[Input, ...]
    batch: int | None
    mode: str
    dtype: str
    memory: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One call of a module, or a module that was never called.

    Attributes:
        path: the module's name from the root; "" is the root.
        class_name: the module's class.
        call: 1 for the first call of the module, 2 for the second, ...; 0 if it was never called.
        params: elements of its own parameters that no earlier row has.
        trainable_params: of those, with requires_grad.
        macs: multiply-accumulates of this call outside of its submodules' calls.
        forward_backward_bytes: what its output adds to torchsummary's size of that name.
        saved_for_backward_bytes: what it saves for backward itself, in all calls, on the row of the first;
            None where the memory is not known.
        output_shapes: what came out: a tensor is the list of its sizes (`modelsum.summary.ShapeTree`).
        attributes: how the module is configured, tuples as lists.
    """

    path: str
    class_name: str
    call: int
    params: int
    trainable_params: int
    macs: int
    forward_backward_bytes: int
    saved_for_backward_bytes: int | None
    output_shapes: Any
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What a model costs in a case.

    Attributes:
        totals: every name of `TOTALS`, and those of `MEMORY_TOTALS` and `GENERATION_TOTALS` that are known.
        rows: in the order in which calls began.
        uncounted_ops: ops that do arithmetic and have no rule, with how often they ran.
        convention: the rules that it was counted by (`modelsum.summary.CONVENTION`).
        versions: what it was made with; says nothing about the model, and is not compared.
    """

    case: Case
    totals: Mapping[str, int]
    rows: tuple[ReportRow, ...]
    uncounted_ops: Mapping[str, int] = field(default_factory=dict)
    convention: Mapping[str, int] = field(default_factory=lambda: dict(CONVENTION))
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, summary: Summary) -> Report:
        """The report of a summary. Raises ValueError where the forward did not finish."""
        if not summary.executed:
            raise ValueError("the forward did not finish: its figures are those of a part of the model")
        model = summary.model
        return cls(
            case=Case(
                model=model.spec or model.class_name,
                source=model.source,
                arguments=plain(model.arguments),
                inputs=summary.inputs,
                batch=summary.batch,
                mode=summary.mode,
                dtype=summary.dtype,
                memory=_memory(summary),
            ),
            totals=_totals(summary),
            rows=tuple(_rows(summary)),
            uncounted_ops=dict(summary.uncounted_ops),
            convention=dict(summary.convention),
            versions=dict(summary.made_with),
        )

    def figure(self, name: str) -> int | None:
        """A total by its name, with or without the unit: "macs", "training_peak"; None where not known."""
        if name == "flops":
            return 2 * self.totals["macs"]
        return self.totals.get(name, self.totals.get(f"{name}_bytes"))


def _memory(summary: Summary) -> dict[str, str] | None:
    """What the figures of memory are of, those of a generation too."""
    memory = summary.memory
    said = {"target": memory.target, **memory.assumptions} if memory else {}
    return ({**said, "text": summary.text} if summary.text else said) or None


def _totals(summary: Summary) -> dict[str, int]:
    sizes = {
        "torchsummary_rows": summary.torchsummary.rows,
        "forward_backward_bytes": summary.torchsummary.forward_backward_bytes,
        "torchsummary_total_bytes": summary.torchsummary.total_bytes,
    }
    totals = {name: sizes[name] if name in sizes else getattr(summary.totals, name) for name in TOTALS}
    totals |= summary.generation
    if summary.memory is None:
        return totals
    least, most = summary.memory.process_bytes or (None, None)
    process = {"process_least_bytes": least, "process_most_bytes": most}
    memory = {n: process[n] if n in process else getattr(summary.memory, n) for n in MEMORY_TOTALS}
    return totals | {name: figure for name, figure in memory.items() if figure is not None}


def _rows(summary: Summary) -> Iterator[ReportRow]:
    memory = summary.memory
    knows_saved = memory is not None and memory.saved_for_backward_bytes is not None
    saved = {path: m.own_saved_bytes for path, m in memory.modules.items()} if memory else {}
    for layer in summary.layers:
        has_row = layer.exit_order is not None and layer.parent is not None and not layer.container
        yield ReportRow(
            path=layer.path,
            class_name=layer.class_name,
            call=layer.call,
            params=layer.counted_params,
            trainable_params=layer.counted_trainable_params,
            macs=layer.own_macs,
            # That table's size: the output twice, 4 bytes an element.
            forward_backward_bytes=2 * 4 * layer.output_elements if has_row else 0,
            saved_for_backward_bytes=saved.pop(layer.path, 0) if knows_saved else None,
            output_shapes=plain(layer.output_shapes),
            attributes=plain(layer.attributes),
        )
