"""A table for spreadsheets and scripts: a CSV row a layer, and rows of other kinds after them.

The first column says what kind a row is:

    layer      one call of a module, or a module that was never called (`call` 0); the root is the first
    total      the model as a whole
    memory     a figure of the predicted memory: its JSON key in `text`, bytes in `count`
    uncounted  an op that is not in the MACs: its name in `text`, how often it ran in `count`
    notice     what the reader should know, in `text`

The columns are those of a layer in the JSON, shapes as JSON text. `index` is the layer's place among all
layers and `parent` the index of the displayed layer that it happened in. `counted_params`, `own_macs` and
`own_saved_bytes` of the layers add up to the total at every depth: with a depth, they contain the rows that
are left out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelsum.render.summary import facts
from modelsum.render.summary.rows import Row, folded
from modelsum.summary import Summary

if TYPE_CHECKING:
    from modelsum.memory_values import Memory, ModuleMemory
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
    "saved_bytes",
    "own_saved_bytes",
    "peak_bytes",
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
    modules = summary.memory.modules if summary.memory else {}
    for row in folded(summary.layers, options.depth, modules):
        module = modules.get(row.layer.path) if row.peak_bytes is not None else None
        writer.writerow(_layer(row, module))
    writer.writerow(_total(summary))
    if summary.memory:
        for name, size in _memory(summary.memory):
            writer.writerow({"kind": "memory", "text": name, "count": size})
    for op, times in summary.uncounted_ops.items():
        writer.writerow({"kind": "uncounted", "text": op, "count": times})
    for notice in filter(None, (facts.unfinished(summary), *summary.notices)):
        writer.writerow({"kind": "notice", "text": notice})
    return out.getvalue()


def _memory(memory: Memory) -> Iterator[tuple[str, int]]:
    """Every figure of the block `memory` of the JSON that is known, parts as "at_peak.weights"."""
    for name, value in memory.to_dict().items():
        if isinstance(value, int):
            yield name, value
        elif name in ("at_peak", "at_inference_peak", "phase_peak_bytes"):
            yield from ((f"{name}.{part}", size) for part, size in value.items())
        elif name == "process_bytes" and value:
            yield from zip(("process_bytes.least", "process_bytes.most"), value, strict=True)


def _layer(row: Row, module: ModuleMemory | None) -> dict[str, Any]:
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
        "saved_bytes": _or_empty(module.saved_bytes if module else None),
        "own_saved_bytes": "" if module is None and not row.saved_bytes else row.saved_bytes,
        "peak_bytes": _or_empty(row.peak_bytes),
        "input_shapes": json.dumps(layer.input_shapes),
        "output_shapes": json.dumps(layer.output_shapes),
    }


def _total(summary: Summary) -> dict[str, Any]:
    total, memory = summary.totals, summary.memory
    saved = _or_empty(memory.saved_for_backward_bytes if memory else None)
    return {
        "kind": "total",
        "class": summary.model.class_name,
        "params": total.params,
        "counted_params": total.params,
        "trainable_params": total.trainable_params,
        "macs": _or_empty(total.macs),
        "own_macs": _or_empty(total.macs),
        "saved_bytes": saved,
        "own_saved_bytes": saved,
        "peak_bytes": _or_empty(memory.peak.bytes if memory else None),
    }


def _or_empty(value: int | None) -> int | str:
    return "" if value is None else value


def _bool(value: bool) -> str:
    return "true" if value else "false"  # as in the JSON
