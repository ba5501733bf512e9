"""A measurement in every format: what a real run took, what was predicted, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsum.memory.measurement import Comparison, Latency, Measurement
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Heading, Listed, Notice, Table
from modelsum.render.layout import Cells, aligned, all_stated, wrapped
from modelsum.render.summary.cells import given, model_and_class, model_name
from modelsum.units import binary_bytes, count

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
    yield "Model", model_and_class(model)
    yield from (("Input", given(each)) for each in measurement.inputs)
    yield "Dtype", measurement.dtype
    yield "Step", "; ".join(f"{name}: {value}" for name, value in measurement.step.items())
    threads = "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"
    yield "Device", f"{device} ({measurement.device_name}{f', {threads}' if device == 'cpu' else ''})"
    yield "With", ", ".join(f"{name} {version}" for name, version in measurement.made_with.items())


def _notices(measurement: Measurement) -> Sequence[str]:
    return tuple(dict.fromkeys((*measurement.notices, *measurement.measured.notices)))


# ---- the formats


def text(measurement: Measurement, options: RenderOptions) -> Iterator[str]:
    """Both tables and the facts below them, on a terminal wrapped to its width."""
    width = options.width
    tables = [aligned([_MEMORY, *_memory(measurement)])]
    if times := _latencies(measurement):
        tables.append(aligned([_LATENCY, *times]))
    rule = max(len(line) for table in tables for line in table)
    yield "-" * rule
    for header, *rows in tables:
        yield header
        yield "=" * rule
        yield from rows
        yield "-" * rule
    yield from all_stated(_facts(measurement), width, 9)
    if notices := _notices(measurement):
        yield "-" * rule
        for notice in notices:
            yield from wrapped(f"Notice: {notice}", width, 8)


def document(measurement: Measurement, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Heading(f"{model_name(measurement.model)} on {measurement.device}")
    for header, rows in ((_MEMORY, _memory(measurement)), (_LATENCY, _latencies(measurement))):
        if rows:
            yield Table(header, "l" + "r" * (len(header) - 1), rows)
    yield Listed.of(_facts(measurement))
    yield from map(Notice, _notices(measurement))


def csv(measurement: Measurement, options: RenderOptions) -> Iterator[Cells]:
    """A row a figure, and one a notice."""
    yield _COLUMNS
    for figure in measurement.comparisons():
        least, most = figure.predicted if isinstance(figure.predicted, tuple) else (figure.predicted, None)
        yield (
            {"kind": "memory", "figure": figure.figure.removesuffix("_bytes"), "phase": figure.phase}
            | {"measured_bytes": figure.measured, "predicted_bytes": least, "predicted_most_bytes": most}
            | {"error_percent": figure.error_percent}
        )
    run = measurement.measured
    for name, time in (("forward", run.forward), ("training_step", run.training_step)):
        if time is not None:
            yield (
                {"kind": "latency", "figure": name, "median_seconds": time.median_seconds, "runs": time.runs}
                | {"iqr_seconds": time.iqr_seconds, "samples_per_second": time.samples_per_second}
            )
    for notice in _notices(measurement):
        yield {"kind": "notice", "text": notice}
