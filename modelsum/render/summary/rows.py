"""Which layers are displayed at a depth, and what each of their rows stands for.

A row that is not displayed is added to the nearest displayed row that it happened in. So whatever the
depth, the params of the rows add up to the model's params, their MACs to the model's MACs and what they
saved for backward to what the model saved: a row with other rows beneath it shows only what those do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsum.summary import Layer

if TYPE_CHECKING:
    from modelsum.memory_values import ModuleMemory


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
        )
        if above is not None:
            rows[above].has_rows_below = True
    return list(rows.values())


def displayed(
    layers: Sequence[Layer], depth: int | None, memory: Mapping[str, ModuleMemory] | None = None
) -> list[Row]:
    """The rows that people read: `folded`, less the root and the containers that have nothing to show."""
    return [row for row in folded(layers, depth, memory) if not _is_empty_heading(row)]


def _is_empty_heading(row: Row) -> bool:
    if row.layer.parent is not None and not (row.layer.container or row.layer.group):
        return False
    return row.has_rows_below and not (
        row.params or row.macs or row.saved_bytes or row.failure or row.buffers
    )
