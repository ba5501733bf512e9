"""The training step as Trace Event JSON, which Perfetto and chrome://tracing open.

The format is that of "Trace Event Format" (Google): complete events (`ph` X) that lie in each other for
phases, modules and ops, counters (`ph` C) for live bytes. Nothing was timed: a microsecond is one allocation
or release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from modelsum.errors import UsageError
from modelsum.memory_values import Point
from modelsum.render import RenderOptions
from modelsum.render.summary.cells import model_name
from modelsum.summary import Summary

_WHERE = {"pid": 1, "tid": 1}


def render(summary: Summary, options: RenderOptions) -> str:
    """The trace. Raises UsageError where no memory is known."""
    if summary.memory is None or not summary.memory.timeline:
        raise UsageError("a trace is of the memory of a step, and none is known", "Leave out --no-memory.")
    what = "training step" if summary.memory.training else "forward pass"
    events = [
        {"ph": "M", "name": "process_name", **_WHERE, "args": {"name": model_name(summary.model)}},
        {"ph": "M", "name": "thread_name", **_WHERE, "args": {"name": what}},
        *_slices(summary, summary.memory.timeline),
        *_counters(summary.memory.timeline),
    ]
    about = {
        "time": "one microsecond for each allocation or release; nothing was timed",
        "model": model_name(summary.model),
        "target": summary.memory.target,
        **{f"assumed {name}": value for name, value in summary.memory.assumptions.items()},
        **summary.made_with,
    }
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    return f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n{lines}\n]}}'


def _slices(summary: Summary, points: Sequence[Point]) -> Iterator[dict[str, Any]]:
    """Phases, in them modules as deep as they lie in each other, and in these ops."""
    classes = {layer.path: layer.class_name for layer in summary.layers}
    ways = [_way(point) for point in points]
    deepest = max(map(len, ways))
    ends = [*(point.event for point in points[1:]), points[-1].event + 1]
    for level in range(deepest):
        # Moments that follow each other, and are the same down to this level.
        for way, run in groupby(range(len(points)), key=lambda place: ways[place][: level + 1]):
            if len(way) <= level:
                continue
            places = list(run)
            kind, name = way[level]
            start, end = points[places[0]].event, ends[places[-1]]
            called = f"{name.rpartition('.')[2]} ({classes[name]})" if name in classes else name
            yield {
                "ph": "X",
                "name": called if kind == "module" else name,
                "cat": kind,
                "ts": start,
                "dur": max(end - start, 1),
                **_WHERE,
                **({"args": {"path": name}} if kind == "module" else {}),
            }


def _way(point: Point) -> tuple[tuple[str, str], ...]:
    """From the phase over the modules around each other to the op."""
    names = point.module.split(".") if point.module else []
    modules = [("module", ".".join(names[: place + 1])) for place in range(len(names))]
    op = [("op", point.op)] if point.op else []
    return (("phase", point.phase), *modules, *op)


def _counters(points: Sequence[Point]) -> Iterator[dict[str, Any]]:
    """What is live after each moment, by part; parts that there never are left out."""
    names = [name for name in points[0].parts if any(point.parts[name] for point in points)]
    for point in points:
        parts = {name.replace("_", " "): point.parts[name] for name in names}
        yield {"ph": "C", "name": "live bytes", "ts": point.event, **_WHERE, "args": parts}
