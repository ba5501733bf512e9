"""The tensors of a weights file, a function a format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelsum.render import RenderOptions
from modelsum.render.document import Block, Listed, Table
from modelsum.render.layout import GAP, aligned, cut_left
from modelsum.render.summary.cells import shape
from modelsum.units import binary_bytes, count
from modelsum.weights import StoredTensor, Weights

_HEADER = ("Tensor", "Shape", "Dtype", "Elements", "Bytes")
_LEFT = 3  # so many columns are words, the others figures


def _row(tensor: StoredTensor) -> tuple[str, ...]:
    elements = f"tied to {tensor.tied_to}" if tensor.tied_to else count(tensor.elements)
    return (
        f"{tensor.name} (buffer)" if tensor.is_buffer else tensor.name,
        shape(tensor.shape),
        tensor.dtype,
        elements,
        "0" if tensor.tied_to else count(tensor.nbytes),
    )


def _totals(weights: Weights) -> Iterator[tuple[str, str]]:
    yield "Tensors", count(len(weights.tensors))
    yield "Total params", f"{count(weights.params)}  ({binary_bytes(weights.param_bytes)})"
    if weights.buffers:
        yield "Buffers", f"{count(weights.buffers)}  ({binary_bytes(weights.buffer_bytes)}, not in params)"
    yield "By dtype", ", ".join(f"{dtype} {count(n)}" for dtype, n in weights.by_dtype.items())
    yield "File", weights.spec
    for key, value in weights.metadata.items():
        yield f"Metadata {key}", value
    yield "Not known", "MACs and activations: a weights file has no forward"
    for notice in weights.notices:
        yield "Notice", notice


def text(weights: Weights, options: RenderOptions) -> Iterator[str]:
    """A line a tensor, and the totals; on a terminal names lose their beginning where they must."""
    width = options.width
    rows = [_HEADER, *map(_row, weights.tensors)]
    names, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    if width is not None:
        names = max(min(names, width - sum(len(GAP) + size for size in others)), 12)
    header, *lines = aligned([(cut_left(name, names), *cells) for name, *cells in rows], _LEFT)
    total = names + sum(len(GAP) + size for size in others)
    yield from ("-" * total, header, "=" * total, *lines, "=" * total)
    labels = max(len(label) for label, _ in _totals(weights)) + 1
    for label, value in _totals(weights):
        yield f"{f'{label}:':<{labels}}  {value}"


def document(weights: Weights, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Table(_HEADER, "lllrr", [*map(_row, weights.tensors)])
    yield Listed.of(_totals(weights))


def csv(weights: Weights, options: RenderOptions) -> Iterator[tuple[Any, ...]]:
    """A row a tensor, and one for the total."""
    yield ("kind", "name", "shape", "dtype", "elements", "bytes", "buffer", "tied_to")
    for t in weights.tensors:
        figures = (t.elements, t.nbytes, t.is_buffer, t.tied_to)
        yield ("tensor", t.name, json.dumps(t.shape), t.dtype, *figures)
    yield ("total", None, None, None, weights.params, weights.param_bytes, None, None)
