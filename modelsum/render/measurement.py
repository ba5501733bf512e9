"""A measurement in every format: what a real run took, what was predicted, and how far apart they are."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelsum.errors import UsageError
from modelsum.render.summary.cells import shape
from modelsum.units import binary_bytes, count

if TYPE_CHECKING:
    from modelsum.memory.measurement import Comparison, Latency, Measurement

FORMATS = ("text", "json", "csv", "markdown")

_LABELS = {
    "inference_peak_bytes": "Inference peak",
    "first_step_peak_bytes": "First training step's peak",
    "training_peak_bytes": "Training peak",
    "allocated_bytes": "Allocated in blocks",
    "reserved_bytes": "Reserved by the allocator",
    "process_bytes": "Process total",
}
_MEMORY = ("Memory", "Measured", "Predicted", "Error")
_LATENCY = ("Latency", "Median", "IQR", "Throughput", "Runs")
_NONE = "-"
_COLUMNS = (
    *("kind", "figure", "phase", "measured_bytes", "predicted_bytes", "predicted_most_bytes"),
    *("error_percent", "median_seconds", "iqr_seconds", "samples_per_second", "runs", "text"),
)


def render_measurement(measurement: Measurement, format: str, width: int | None) -> str:
    """The measurement as text, json, csv or markdown; text is fitted to `width` columns, None: left whole.

    Raises UsageError for the formats that show a table of layers.
    """
    if format == "json":
        return json.dumps(measurement.to_dict(), indent=2) + "\n"
    if format == "csv":
        return _csv(measurement)
    if format in FORMATS:
        lines = _markdown(measurement) if format == "markdown" else _text(measurement, width)
        return "\n".join(lines) + "\n"
    raise UsageError(
        f"format {format!r} shows layers, which a measurement does not", f"Valid are {', '.join(FORMATS)}."
    )


# ---- the cells


def _memory(measurement: Measurement) -> list[tuple[str, ...]]:
    return [_comparison(figure) for figure in measurement.comparisons()]


def _comparison(figure: Comparison) -> tuple[str, ...]:
    label = f"  {figure.phase}" if figure.phase else _LABELS[figure.figure]
    measured = _NONE if figure.measured is None else binary_bytes(figure.measured)
    if isinstance(figure.predicted, tuple):
        predicted = " to ".join(map(binary_bytes, figure.predicted))
    else:
        predicted = _NONE if figure.predicted is None else binary_bytes(figure.predicted)
    error = figure.error_percent
    return label, measured, predicted, _NONE if error is None else _percent(error)


def _percent(error: float) -> str:
    text = f"{error:+.2f} %"
    return "0.00 %" if text in ("+0.00 %", "-0.00 %") else text


def _latencies(measurement: Measurement) -> list[tuple[str, ...]]:
    run = measurement.measured
    times = (("Forward pass", run.forward), ("Training step", run.training_step))
    return [_latency(label, time) for label, time in times if time is not None]


def _latency(label: str, time: Latency) -> tuple[str, ...]:
    spread = _NONE if time.iqr_seconds is None else _duration(time.iqr_seconds)
    rate = time.samples_per_second
    per_second = _NONE if rate is None else f"{_three_digits(rate)} samples/s"
    return label, _duration(time.median_seconds), spread, per_second, count(time.runs)


def _duration(seconds: float) -> str:
    """A time in three digits: 0.0352 -> '35.2 ms'."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _facts(measurement: Measurement) -> Iterator[tuple[str, str]]:
    """Of which model, on what input, where and how it was measured."""
    model, device = measurement.model, measurement.device
    name = model.spec or model.class_name
    yield "Model", f"{name} (class {model.class_name})" if model.spec else name
    for given in measurement.inputs:
        yield "Input", f"{f'{given.name}: ' if given.name else ''}{shape(given.shape)} {given.dtype}"
    yield "Dtype", measurement.dtype
    yield "Step", "; ".join(f"{name}: {value}" for name, value in measurement.step.items())
    threads = "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"
    yield "Device", f"{device} ({measurement.device_name}{f', {threads}' if device == 'cpu' else ''})"
    yield "With", ", ".join(f"{name} {version}" for name, version in measurement.made_with.items())


def _notices(measurement: Measurement) -> Sequence[str]:
    return tuple(dict.fromkeys((*measurement.notices, *measurement.measured.notices)))


# ---- text


def _text(measurement: Measurement, width: int | None) -> Iterator[str]:
    tables = [_aligned([_MEMORY, *_memory(measurement)])]
    if times := _latencies(measurement):
        tables.append(_aligned([_LATENCY, *times]))
    rule = max(len(line) for table in tables for line in table)
    yield "-" * rule
    for header, *rows in tables:
        yield header
        yield "=" * rule
        yield from rows
        yield "-" * rule
    for label, value in _facts(measurement):
        yield from _wrapped(f"{label + ':':9}{value}", width, 9)
    if notices := _notices(measurement):
        yield "-" * rule
        for notice in notices:
            yield from _wrapped(f"Notice: {notice}", width, 8)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _wrapped(text: str, width: int | None, indent: int) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width, 2 * indent), subsequent_indent=" " * indent, break_on_hyphens=False)


# ---- markdown


def _markdown(measurement: Measurement) -> Iterator[str]:
    name = measurement.model.spec or measurement.model.class_name
    yield f"## {_escaped(name)} on {measurement.device}"
    for header, rows in ((_MEMORY, _memory(measurement)), (_LATENCY, _latencies(measurement))):
        if rows:
            yield ""
            yield f"| {' | '.join(header)} |"
            yield f"| :--- |{' ---: |' * (len(header) - 1)}"
            yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)
    yield ""
    yield from (f"- {label}: {_escaped(value)}" for label, value in _facts(measurement))
    for notice in _notices(measurement):
        yield ""
        yield f"> **Notice:** {_escaped(notice)}"


def _cell(text: str) -> str:
    return f"&nbsp;&nbsp;{text.lstrip()}" if text.startswith("  ") else text


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")


# ---- csv


def _csv(measurement: Measurement) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for figure in measurement.comparisons():
        least, most = figure.predicted if isinstance(figure.predicted, tuple) else (figure.predicted, None)
        writer.writerow(
            {"kind": "memory", "figure": figure.figure.removesuffix("_bytes"), "phase": figure.phase}
            | {"measured_bytes": figure.measured, "predicted_bytes": least, "predicted_most_bytes": most}
            | {"error_percent": figure.error_percent}
        )
    run = measurement.measured
    for name, time in (("forward", run.forward), ("training_step", run.training_step)):
        if time is not None:
            writer.writerow(
                {"kind": "latency", "figure": name, "median_seconds": time.median_seconds, "runs": time.runs}
                | {"iqr_seconds": time.iqr_seconds, "samples_per_second": time.samples_per_second}
            )
    for notice in _notices(measurement):
        writer.writerow({"kind": "notice", "text": notice})
    return out.getvalue()
