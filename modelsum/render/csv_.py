"""A table for spreadsheets and scripts: a CSV row a layer, and rows of other kinds after them.

The first column says what kind a row is:

    layer      one call of a module, or a module that was never called (`call` 0); the root is the first
    total      the model as a whole
    uncounted  an op that is not in the MACs: its name in `text`, how often it ran in `count`
    notice     what the reader should know, in `text`

The columns are those of a layer in the JSON, shapes as JSON text. `index` is the layer's place among all
layers and `parent` the index of the displayed layer that it happened in. `counted_params` and `own_macs`
of the layers add up to the total at every depth: with a depth, they contain the rows that are left out.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from modelsum.render import facts
from modelsum.render.rows import Row, folded
from modelsum.summary import Summary

if TYPE_CHECKING:
    from modelsum.render import RenderOptions

COLUMNS = (
    "kind",
    "path",
    "class",
    "call",
    "depth",
    "index",
    "parent",
    "exit_order",
    "container",
    "failed",
    "reused",
    "params",
    "own_params",
    "counted_params",
    "trainable_params",
    "own_trainable_params",
    "macs",
    "own_macs",
    "output_elements",
    "output_bytes",
    "input_shapes",
    "output_shapes",
    "text",
    "count",
)


def render(summary: Summary, options: RenderOptions) -> str:
    """The summary as CSV with a header row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_layer(row) for row in folded(summary.layers, options.depth))
    writer.writerow(_total(summary))
    for op, times in summary.uncounted_ops.items():
        writer.writerow({"kind": "uncounted", "text": op, "count": times})
    for notice in summary.notices if summary.executed else (facts.UNFINISHED, *summary.notices):
        writer.writerow({"kind": "notice", "text": notice})
    return out.getvalue()


def _layer(row: Row) -> dict[str, Any]:
    layer = row.layer
    return {
        "kind": "layer",
        "path": layer.path,
        "class": layer.class_name,
        "call": layer.call,
        "depth": layer.depth,
        "index": row.index,
        "parent": _or_empty(row.parent),
        "exit_order": _or_empty(layer.exit_order),
        "container": _bool(layer.container),
        "failed": _bool(layer.failed),
        "reused": _bool(layer.reused),
        "params": layer.params,
        "own_params": layer.own_params,
        "counted_params": row.params,
        "trainable_params": layer.trainable_params,
        "own_trainable_params": layer.own_trainable_params,
        "macs": layer.macs,
        "own_macs": row.macs,
        "output_elements": layer.output_elements,
        "output_bytes": layer.output_bytes,
        "input_shapes": json.dumps(layer.input_shapes),
        "output_shapes": json.dumps(layer.output_shapes),
    }


def _total(summary: Summary) -> dict[str, Any]:
    total = summary.totals
    return {
        "kind": "total",
        "class": summary.model.class_name,
        "params": total.params,
        "counted_params": total.params,
        "trainable_params": total.trainable_params,
        "macs": total.macs,
        "own_macs": total.macs,
    }


def _or_empty(value: int | None) -> int | str:
    return "" if value is None else value


def _bool(value: bool) -> str:
    return "true" if value else "false"  # as in the JSON
