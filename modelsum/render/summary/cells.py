"""The cells of a displayed row as people read them, the same in every format."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from modelsum.render.summary.rows import Row
from modelsum.summary import Input, Model, ShapeTree, Summary
from modelsum.units import binary_unit, count


class Column(NamedTuple):
    """A column of figures: its title, the cell of a row, and what that and its neighbours are of."""

    title: str
    cell: Callable[[Row], str]
    group: str = ""

    @property
    def whole_title(self) -> str:
        """The title where nothing stands above it: "Saved (training step, MiB)"."""
        return f"{self.title} ({self.group[0].lower()}{self.group[1:]})" if self.group else self.title


def columns(summary: Summary) -> list[Column]:
    """The figures of each row; what it saves for backward and its peak where the memory is known."""
    if not summary.called:
        frozen = [Column("Trainable", trainable)] if summary.totals.frozen_params else []
        return [Column("Params", params), *frozen, Column("Buffers", buffers)]
    always = [Column("Params", params), Column("MACs", macs)]
    memory = summary.memory
    if memory is None:
        return always
    # One unit for the column; what single layers save would be 0.00 GiB beside a peak of a few GiB.
    peak_bytes = memory.peak.bytes
    size, unit = binary_unit(peak_bytes >> 7 if peak_bytes >= 1 << 30 else peak_bytes)

    def saved(row: Row) -> str:
        return "-" if not row.saved_bytes and _is_elsewhere(row) else f"{row.saved_bytes / size:,.2f}"

    def peak(row: Row) -> str:
        return "-" if row.peak_bytes is None else f"{row.peak_bytes / size:,.2f}"

    if memory.training is None:
        return [*always, Column("Peak", peak, f"Inference, {unit}")]
    group = f"Training, {unit}"
    return [*always, Column("Saved", saved, group), Column("Peak", peak, group)]


def name(row: Row) -> tuple[str, str]:
    """Path and kind of a row: "layers.[1-31]", "31 x LlamaDecoderLayer". The root has no path."""
    kind = row.layer.class_name
    return row.path, f"{count(row.times)} x {kind}" if row.times > 1 else kind


def shape(tree: ShapeTree) -> str:
    """A shape tree on one line: a tensor [1, 64], several ([1, 64], [1, 8]), a dict {out: [1, 64]}."""
    if isinstance(tree, tuple):
        return f"[{', '.join(map(str, tree))}]"
    if isinstance(tree, list):
        return f"({', '.join(map(shape, tree))})"
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{key}: {shape(value)}' for key, value in tree.items())}}}"
    return str(tree)


def model_name(model: Model) -> str:
    """What a model is called: the user's words for it, else its class."""
    return model.spec or model.class_name


def model_and_class(model: Model) -> str:
    """What it is called, and its class where that is something else."""
    return f"{model.spec} (class {model.class_name})" if model.spec else model.class_name


def given(value: Input) -> str:
    """An input on one line: "mask: [1, 16] int64"."""
    return f"{f'{value.name}: ' if value.name else ''}{shape(value.shape)} {value.dtype}"


def tensor_count(tree: ShapeTree) -> int:
    """How many tensors a shape tree has."""
    if isinstance(tree, (list, dict)):
        return sum(map(tensor_count, tree.values() if isinstance(tree, dict) else tree))
    return int(isinstance(tree, tuple))


def _input_shape(tree: ShapeTree) -> str:
    """The shapes of a call's arguments on one line; a single argument without parentheses."""
    return shape(tree[0] if isinstance(tree, list) and len(tree) == 1 else tree)


def output(row: Row) -> str:
    """What came out of the row's layer, or why nothing did."""
    if row.failure:
        place = "" if row.failure is row.layer else f" in {row.failure.path}"
        return f"failed{place}; input {_input_shape(row.failure.input_shapes)}"
    if row.layer.group:
        return "-"
    if row.layer.call == 0:
        return "not executed"
    if row.layer.exit_order is None:
        return "not finished"
    return shape(row.layer.output_shapes)


def params(row: Row) -> str:
    """The row's params; "-" where all are in rows below, a word where all are in rows above."""
    layer = row.layer
    if layer.reused and layer.params:
        return f"{count(row.params)} (reused)" if row.params else "(reused)"
    if layer.own_params > layer.counted_params:
        return f"{count(row.params)} (shared)" if row.params else "(shared)"
    return _figure(row, row.params)


def trainable(row: Row) -> str:
    """The row's params that are trained; "-" where all are in rows below."""
    return _figure(row, row.trainable_params)


def buffers(row: Row) -> str:
    """Elements of the row's buffers; "-" where all are in rows below."""
    return _figure(row, row.buffers)


def macs(row: Row) -> str:
    """The row's MACs; "-" where all are in rows below."""
    return _figure(row, row.macs)


def _figure(row: Row, figure: int) -> str:
    return "-" if row.has_rows_below and not figure else count(figure)


def _is_elsewhere(row: Row) -> bool:
    """Whether what the row saves for backward is in other rows: those below, or that of its first call."""
    return row.has_rows_below or row.layer.reused
