"""What other viewers open: the trace and the flame graph, against the formats' own documents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hand_made_pages import TIMELINE, WITH_STEP
from hand_made_summary import MEMORY, TINY

from modelsum.errors import UsageError
from modelsum.render import render

# The "Trace Event Format" (Google): its JSON Object Format, with metadata, complete and counter events.
_EVENT = {"required": ["ph", "name", "pid", "tid"], "properties": {"name": {"type": "string"}}}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
TRACE_EVENTS = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object", "additionalProperties": {"type": "string"}},
        "traceEvents": {
            "type": "array",
            "items": {
                "allOf": [_EVENT],
                "oneOf": [
                    {"properties": {"ph": {"const": "M"}}, "required": ["args"]},
                    {
                        "properties": {
                            "ph": {"const": "X"},
                            "ts": {"type": "integer", "minimum": 0},
                            "dur": {"type": "integer", "minimum": 1},
                        },
                        "required": ["ts", "dur", "cat"],
                    },
                    {"properties": {"ph": {"const": "C"}, "args": _COUNTS}, "required": ["ts", "args"]},
                ],
            },
        },
    },
}
# https://www.speedscope.app/file-format-schema.json, the parts of a file with sampled profiles.
_SAMPLED = {
    "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
    "properties": {
        "type": {"const": "sampled"},
        "unit": {"enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]},
        "startValue": {"type": "number"},
        "endValue": {"type": "number"},
        "samples": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "weights": {"type": "array", "items": {"type": "number"}},
    },
}
SPEEDSCOPE = {
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "shared": {
            "required": ["frames"],
            "properties": {"frames": {"items": {"required": ["name"]}}},
        },
        "profiles": {"type": "array", "items": _SAMPLED},
    },
}


def read_back(format_: str, schema: dict[str, Any]) -> dict[str, Any]:
    value = json.loads(render(WITH_STEP, format_))
    jsonschema.validate(value, schema)
    return value


def test_a_trace_has_phases_with_modules_and_ops_in_them() -> None:
    events = read_back("trace", TRACE_EVENTS)["traceEvents"]
    slices = [(e["cat"], e["name"], e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X"]
    assert [each[1:] for each in slices if each[0] == "phase"] == [
        ("forward", 0, 4),
        ("backward", 4, 9),
        ("optimizer step", 9, 10),
    ]
    assert ("module", "features (Sequential)", 0, 2) in slices
    assert ("module", "0 (Conv2d)", 0, 1) in slices
    assert ("op", "aten.convolution", 0, 1) in slices
    assert ("op", "aten.add", 6, 7) in slices
    for _, _, start, end in slices:  # in each other or apart, as a viewer draws them
        assert all(
            e <= start or end <= s or s <= start <= end <= e or start <= s <= e <= end for *_, s, e in slices
        )


def test_a_trace_counts_what_is_live_by_part() -> None:
    events = read_back("trace", TRACE_EVENTS)["traceEvents"]
    counts = [(e["ts"], e["args"]) for e in events if e["ph"] == "C"]
    assert [at for at, _ in counts] == [point.event for point in TIMELINE]
    assert [sum(args.values()) for _, args in counts] == [point.live_bytes for point in TIMELINE]
    assert counts[4][1]["optimizer state"] == MEMORY.peak.parts["optimizer_state"]


def test_a_flame_graph_weighs_modules_by_macs_and_by_saved_bytes() -> None:
    value = read_back("speedscope", SPEEDSCOPE)
    frames = [frame["name"] for frame in value["shared"]["frames"]]
    macs, saved = value["profiles"]
    stacks = [[frames[place] for place in sample] for sample in macs["samples"]]
    assert stacks[0] == ["TinyNet", "features (Sequential)", "features.0 (Conv2d)"]
    assert stacks[1] == stacks[2] == ["TinyNet", "block (Residual)", "block.conv (Conv2d)"]
    assert (sum(macs["weights"]), macs["endValue"]) == (11_328, 11_328)
    assert (sum(saved["weights"]), saved["unit"]) == (4800, "bytes")


def test_what_is_not_known_is_no_file() -> None:
    with pytest.raises(UsageError, match="none is known"):
        render(TINY, "trace")
    uncalled = replace(TINY, totals=replace(TINY.totals, macs=None))
    with pytest.raises(UsageError, match="no call was made"):
        render(uncalled, "speedscope")


def test_the_command_writes_every_moment_of_the_step(modelsum_cli) -> None:
    show = ("show", "squeezenet1_1", "--input", "3x64x64", "--format")
    trace = json.loads(modelsum_cli(*show, "trace").out)
    jsonschema.validate(trace, TRACE_EVENTS)
    memory = json.loads(modelsum_cli(*show, "json").out)["memory"]
    live = [(e["ts"], sum(e["args"].values())) for e in trace["traceEvents"] if e["ph"] == "C"]
    assert [at for at, _ in live] == list(range(len(live)))
    assert len(live) > len(memory["timeline"])
    assert max(n for _, n in live) == memory["training_peak_bytes"]
    assert {"aten.convolution", "aten.convolution_backward"} <= {e["name"] for e in trace["traceEvents"]}
