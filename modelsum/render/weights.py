"""The tensors of a weights file, in every format that has a place for them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from modelsum.errors import UsageError
from modelsum.render.summary.cells import shape
from modelsum.units import binary_bytes, count
from modelsum.weights import StoredTensor, Weights

_HEADER = ("Tensor", "Shape", "Dtype", "Elements", "Bytes")
_LEFT = 3  # so many columns are words, the others figures


def render_weights(weights: Weights, format: str, width: int | None) -> str:
    """The weights as text, json, csv or markdown; text is fitted to `width` columns, None leaves it whole.

    Raises UsageError for the formats that show a forward pass.
    """
    if format == "json":
        return json.dumps(weights.to_dict(), indent=2) + "\n"
    if format == "csv":
        return _csv(weights)
    if format in ("text", "markdown"):
        lines = _text(weights, width) if format == "text" else _markdown(weights)
        return "\n".join(lines) + "\n"
    raise UsageError(
        f"format {format!r} shows a forward pass, which a weights file does not have",
        "Valid are text, json, csv and markdown.",
    )


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


def _text(weights: Weights, width: int | None) -> Iterator[str]:
    rows = [_HEADER, *map(_row, weights.tensors)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    total = sum(widths) + 2 * (len(widths) - 1)
    if width is not None and total > width:
        widths[0] = max(widths[0] - (total - width), 12)
        total = sum(widths) + 2 * (len(widths) - 1)
    for number, row in enumerate(rows):
        cells = [
            _cut_left(cell, w).ljust(w) if i < _LEFT else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        if number == 0:
            yield "-" * total
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "=" * total
    yield "=" * total
    labels = max(len(label) for label, _ in _totals(weights)) + 1
    for label, value in _totals(weights):
        yield f"{label + ':':<{labels}}  {value}"


def _cut_left(text: str, width: int) -> str:
    return text if len(text) <= width else "\u2026" + text[len(text) - width + 1 :]


def _markdown(weights: Weights) -> Iterator[str]:
    yield f"| {' | '.join(_HEADER)} |"
    yield "|---|---|---|---:|---:|"
    for tensor in weights.tensors:
        yield f"| {' | '.join(_row(tensor))} |"
    yield ""
    for label, value in _totals(weights):
        yield f"- {label}: {value}"


def _csv(weights: Weights) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("kind", "name", "shape", "dtype", "elements", "bytes", "buffer", "tied_to"))
    for t in weights.tensors:
        writer.writerow(
            (
                "tensor",
                t.name,
                json.dumps(t.shape),
                t.dtype,
                t.elements,
                t.nbytes,
                str(t.is_buffer).lower(),
                t.tied_to or "",
            )
        )
    writer.writerow(("total", "", "", "", weights.params, weights.param_bytes, "", ""))
    return out.getvalue()
