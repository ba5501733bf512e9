"""Which layers are displayed, and what each of their rows stands for.

A row that is not displayed is added to the nearest displayed row that it happened in, and equal blocks that
follow each other are one row with what they cost together. So whatever is displayed, the params of the rows
add up to the model's params, their MACs to the model's MACs and what they saved for backward to what the
model saved: a row with other rows beneath it shows only what those do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from modelsum.memory_values import ModuleMemory
from modelsum.repeats import Place, Run, equal_blocks, placed
from modelsum.summary import Layer

#: So many rows, with what is said below them, are about a screen.
SCREEN = 24


@dataclass(slots=True)
class Row:
    """One displayed layer.

    Attributes:
        layer: the call, or the module that was never called.
        index: its place among all layers of the summary.
        parent: the index of the nearest displayed layer that it happened in; None where there is none.
        params: elements of its own parameters and of those of the rows folded into it, each counted once.
        trainable_params: of those, with requires_grad.
        buffers: elements of its own buffers and of those of the rows folded into it.
        macs: its own multiply-accumulates and those of the rows folded into it.
        saved_bytes: what it and the rows folded into it saved for backward, all calls of a module together.
        peak_bytes: most live bytes while the layer or its derivative ran, in all its calls; None where it
            did nothing, or the peak is on the row of its first call.
        has_rows_below: other displayed rows happened in this one.
        failure: the layer whose forward failed: this one, or one folded into it; None elsewhere.
        path: of the layer; of equal blocks "layers.[1-31]", and so in the rows below them.
        times: how many equal layers it stands for, the first of which is `layer`.
    """

    layer: Layer
    index: int
    parent: int | None
    params: int
    trainable_params: int
    buffers: int
    macs: int
    saved_bytes: int = 0
    peak_bytes: int | None = None
    has_rows_below: bool = False
    failure: Layer | None = None
    path: str = ""
    times: int = 1


def folded(
    layers: Sequence[Layer], depth: int | None, memory: Mapping[str, ModuleMemory] | None = None
) -> list[Row]:
    """A row for every layer down to `depth` (None: all), the root and containers included.

    `memory` is what each module takes, by path.
    """
    rows: dict[int, Row] = {}
    home: list[int] = []  # for every layer the index of the row that stands for it
    unused = dict(memory or {})
    for index, layer in enumerate(layers):
        module = unused.pop(layer.path, None)
        saved = module.own_saved_bytes if module else 0
        above = None if layer.parent is None else home[layer.parent]
        if above is not None and depth is not None and layer.depth > depth:
            home.append(above)
            rows[above].params += layer.counted_params
            rows[above].trainable_params += layer.counted_trainable_params
            rows[above].buffers += layer.own_buffers
            rows[above].macs += layer.own_macs
            rows[above].saved_bytes += saved
            if layer.failed:
                rows[above].failure = layer
            continue
        home.append(index)
        rows[index] = Row(
            layer,
            index,
            above,
            layer.counted_params,
            layer.counted_trainable_params,
            layer.own_buffers,
            layer.own_macs,
            saved,
            module.peak_bytes if module else None,
            failure=layer if layer.failed else None,
            path=layer.path,
        )
        if above is not None:
            rows[above].has_rows_below = True
    return list(rows.values())


class Shown(NamedTuple):
    """The rows that people read.

    Attributes:
        rows: in the order of the model, or the costliest first.
        depth: down to which level they go; None where that is the deepest.
        every: how many rows there are where nothing is folded.
    """

    rows: list[Row]
    depth: int | None
    every: int


def displayed(
    layers: Sequence[Layer],
    depth: int | None,
    memory: Mapping[str, ModuleMemory] | None = None,
    *,
    every: bool = False,
) -> Shown:
    """The rows that people read, less the root and the containers that have nothing to show.

    Args:
        depth: the deepest level; None for as many as a screen has room for, 1 at least.
        every: equal blocks have a row each, and without a depth all levels are shown.
    """
    whole = list(_with_something(folded(layers, None, memory)))
    if every or depth is not None:
        return Shown(folded_at(layers, depth, memory, every=every), depth, len(whole))
    deepest = max((row.layer.depth for row in whole), default=0)
    shown, level = folded_at(layers, 1, memory), 1
    while level < deepest:
        further = folded_at(layers, level + 1, memory)
        if len(further) > SCREEN:
            return Shown(shown, level, len(whole))
        shown, level = further, level + 1
    return Shown(shown, None, len(whole))


def folded_at(
    layers: Sequence[Layer],
    depth: int | None,
    memory: Mapping[str, ModuleMemory] | None = None,
    *,
    every: bool = False,
) -> list[Row]:
    """The rows down to that level, None for all levels; equal blocks as one unless every shall be there."""
    rows = folded(layers, depth, memory)
    return list(_with_something(rows if every else alike_as_one(rows)))


def _with_something(rows: Sequence[Row]) -> Iterator[Row]:
    return (row for row in rows if not _is_empty_heading(row))


def _is_empty_heading(row: Row) -> bool:
    if row.layer.parent is not None and not (row.layer.container or row.layer.group):
        return False
    return row.has_rows_below and not (
        row.params or row.macs or row.saved_bytes or row.failure or row.buffers
    )


# ---- equal blocks


def alike_as_one(rows: Sequence[Row]) -> list[Row]:
    """The rows, where equal blocks that follow each other are one, with all that is in them.

    Blocks are equal if nothing tells them apart in the table but their number and their peak; of the rows of
    further calls of a module in a loop, those that are equal are one too.
    """
    return [_together([rows[member] for member in run.members], run.path) for run in blocks_of(rows)]


def blocks_of(rows: Sequence[Row]) -> Iterator[Run]:
    """The runs of equal rows, in the order of the model."""
    numbers = {row.index: number for number, row in enumerate(rows)}
    return equal_blocks([_place(row, number, rows, numbers) for number, row in enumerate(rows)])


def _place(row: Row, number: int, rows: Sequence[Row], numbers: Mapping[int, int]) -> Place:
    layer = row.layer
    parent = None if row.parent is None else numbers.get(row.parent)
    name, is_inside = placed(layer.path, None if parent is None else rows[parent].layer.path)
    state = (layer.class_name, layer.group, layer.call > 0, layer.exit_order is None)
    tied = layer.own_params > layer.counted_params
    figures = (row.params, row.trainable_params, row.buffers, row.macs, row.saved_bytes)
    own = (state, tied, figures, row.peak_bytes is None, repr(layer.output_shapes))
    # Where the forward failed is a row of its own.
    return Place(parent, name, is_inside, number if row.failure else own, layer.reused)


def _together(members: Sequence[Row], path: str) -> Row:
    first, times = members[0], len(members)
    peaks = [row.peak_bytes for row in members if row.peak_bytes is not None]
    return replace(
        first,
        path=path,
        times=times,
        params=first.params * times,
        trainable_params=first.trainable_params * times,
        buffers=first.buffers * times,
        macs=first.macs * times,
        saved_bytes=first.saved_bytes * times,
        peak_bytes=max(peaks, default=None),
    )
