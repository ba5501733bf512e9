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

import json
from collections.abc import Iterator
from typing import Any

from modelsum.memory_values import Memory, ModuleMemory, Rank
from modelsum.render import RenderOptions
from modelsum.render.layout import Cells
from modelsum.render.summary import facts
from modelsum.render.summary.rows import Row, folded
from modelsum.summary import Summary

COLUMNS = (
    *("kind", "path", "class", "call", "depth", "index", "parent", "exit_order", "container", "failed"),
    *("reused", "params", "own_params", "counted_params", "trainable_params", "own_trainable_params", "macs"),
    *("own_macs", "output_elements", "output_bytes", "saved_bytes", "own_saved_bytes", "peak_bytes"),
    *("input_shapes", "output_shapes", "text", "count"),
)
# Columns that are fields of a layer as they are.
_OF_LAYER = (
    *("path", "call", "depth", "exit_order", "container", "failed", "reused", "params", "own_params"),
    *("trainable_params", "own_trainable_params", "macs", "output_elements", "output_bytes"),
)


def layers(summary: Summary, depth: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows of layers, by column."""
    modules = summary.memory.modules if summary.memory else {}
    for row in folded(summary.layers, depth, modules):
        yield _layer(row, modules.get(row.layer.path) if row.peak_bytes is not None else None)


def render(summary: Summary, options: RenderOptions) -> Iterator[Cells]:
    """The summary as CSV with a header row."""
    yield COLUMNS
    yield from layers(summary, options.depth)
    yield _total(summary)
    for name, size in _memory(summary.memory) if summary.memory else ():
        yield {"kind": "memory", "text": name, "count": size}
    for op, times in summary.uncounted_ops.items():
        yield {"kind": "uncounted", "text": op, "count": times}
    for notice in filter(None, (facts.unfinished(summary), *summary.notices)):
        yield {"kind": "notice", "text": notice}


def _memory(memory: Memory) -> Iterator[tuple[str, int]]:
    """Every figure of the block `memory` of the JSON that is known, parts as "at_peak.weights".

    Those of a distinct rank are as "ranks.0.reserved_bytes", by the first that has them.
    """
    yield from _figures(memory)
    for rank in memory.ranks:
        yield from ((f"ranks.{rank.ranks[0]}.{name}", size) for name, size in _figures(rank))


def _figures(memory: Memory | Rank) -> Iterator[tuple[str, int]]:
    for name, value in memory.to_dict().items():
        if isinstance(value, int):
            yield name, value
        elif name in ("at_peak", "at_inference_peak", "phase_peak_bytes", "shards"):
            yield from ((f"{name}.{part}", size) for part, size in value.items())
        elif name == "process_bytes" and value:
            yield from zip(("process_bytes.least", "process_bytes.most"), value, strict=True)


def _layer(row: Row, module: ModuleMemory | None) -> dict[str, Any]:
    layer = row.layer
    return {
        **{name: getattr(layer, name) for name in _OF_LAYER},
        "kind": "layer",
        "class": layer.class_name,
        "index": row.index,
        "parent": row.parent,
        "counted_params": row.params,
        "own_macs": row.macs,
        "saved_bytes": module.saved_bytes if module else None,
        "own_saved_bytes": None if module is None and not row.saved_bytes else row.saved_bytes,
        "peak_bytes": row.peak_bytes,
        "input_shapes": json.dumps(layer.input_shapes),
        "output_shapes": json.dumps(layer.output_shapes),
    }


def _total(summary: Summary) -> dict[str, Any]:
    total, memory = summary.totals, summary.memory
    saved = memory.saved_for_backward_bytes if memory else None
    return {
        "kind": "total",
        "class": summary.model.class_name,
        "params": total.params,
        "counted_params": total.params,
        "trainable_params": total.trainable_params,
        "macs": total.macs,
        "own_macs": total.macs,
        "saved_bytes": saved,
        "own_saved_bytes": saved,
        "peak_bytes": memory.peak.bytes if memory else None,
    }
