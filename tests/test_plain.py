"""Values as JSON and back: what is read is what was written, and what cannot be read is named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hand_made_summary import MEMORY, TINY, failing
from torch import nn

import modelsum
from modelsum.memory import ModuleMemory
from modelsum.plain import LENIENT, STRICT, TRUSTED, NotReadable, plain, read
from modelsum.summary import Baseline, Difference, Input, Summary

# What a tensor's sizes and a list of numbers look alike in: JSON has one kind of list.
ALIKE = replace(
    TINY.layers[0],
    input_shapes={"args": [(2, 3), [2, 3], [], ()], "kwargs": {"sizes": [(2, "*"), [4]], "flag": [True]}},
    output_shapes=[[], None, {"a": ()}],
    attributes={"stride": (1, 1), "of": ((1, 2), "same"), "eps": "inf"},
)
SUMMARIES = {
    "counts": TINY,
    "memory": replace(TINY, memory=MEMORY),
    "no training": replace(TINY, memory=replace(MEMORY, training=None, first_step=None, process_bytes=None)),
    "failed": failing(),
    "alike": replace(TINY, layers=(*TINY.layers[:3], ALIKE, *TINY.layers[3:])),
    "baseline": replace(TINY, baseline=Baseline("changed", "a table", (Difference("params", 3.5, 4),))),
}


def through_json(summary: Summary) -> Any:
    return json.loads(json.dumps(summary.to_dict(), allow_nan=False))


@pytest.mark.parametrize("how", [LENIENT, TRUSTED])
@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_comes_back_equal(name: str, how: str) -> None:
    summary = SUMMARIES[name]
    back = Summary.from_dict(through_json(summary), how)
    assert back == summary
    assert str(back) == str(summary)


class Resized(nn.Module):
    """Takes what no tensor is: sizes, a number without end, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, [2, 3], (), scale=[1.5, None])


class Inner(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 3)

    def forward(self, x: torch.Tensor, size: list[int], more: tuple[()], scale: Any) -> torch.Tensor:
        return super().forward(x).reshape(size)


def test_a_real_one_with_its_memory_comes_back_equal() -> None:
    summary = modelsum.summarize(Resized(), torch.zeros(2, 3))
    assert summary.memory is not None
    assert summary.layers[1].input_shapes["args"] == [(2, 3), [2, 3], []]
    assert Summary.from_dict(through_json(summary)) == summary


def test_a_number_that_json_does_not_have_is_its_name() -> None:
    layers = (replace(TINY.layers[0], input_shapes=[(2, 3), -math.inf]), *TINY.layers[1:])
    assert through_json(replace(TINY, layers=layers))["layers"][0]["input_shapes"] == [[2, 3], "-inf"]


def test_peaks_of_before_they_were_written_whole() -> None:
    written = through_json(SUMMARIES["memory"])
    for peak in ("inference", "training", "first_step"):
        del written["memory"][peak]
    for row in written["layers"]:
        del row["own_saved_bytes"]
    memory = Summary.from_dict(written).memory
    assert memory is not None
    assert (memory.inference, memory.training) == (MEMORY.inference, MEMORY.training)
    assert memory.first_step_peak_bytes == 6760
    assert memory.modules["fc"] == ModuleMemory(128, 0, 8000)


@pytest.mark.parametrize(
    ("change", "at", "message"),
    [
        ({"layers": 3}, ("layers",), "expected a list, found 3"),
        ({"layers": [3]}, ("layers", 0), "expected an object, found 3"),
        ({"lists": [[0, []]]}, ("lists", 0, 1), "expected a whole number from 0, found a list"),
        ({"totals": {}}, ("totals",), "there is no 'params'"),
        ({"notices": ["a", 1]}, ("notices", 1), "expected a text, found 1"),
        ({"executed": 1}, ("executed",), "expected true or false, found 1"),
        (
            {"uncounted_ops": {"aten.x": -1}},
            ("uncounted_ops", "aten.x"),
            "expected a whole number from 0, found -1",
        ),
    ],
)
def test_what_cannot_be_read_is_named(change: dict[str, Any], at: tuple[Any, ...], message: str) -> None:
    with pytest.raises(NotReadable) as raised:
        Summary.from_dict(through_json(TINY) | change)
    assert (raised.value.at, raised.value.message) == (at, message)


def test_strictly_no_key_is_missing_or_unknown() -> None:
    given = Input(None, (1, 3), "float32")
    assert read(Input, plain(given), STRICT) == given
    with pytest.raises(NotReadable, match="there is no such key"):
        read(Input, plain(given) | {"more": 1}, STRICT)
    assert read(Input, plain(given) | {"more": 1}) == given
    with pytest.raises(NotReadable, match="there is no 'source'"):
        read(Baseline, {"status": "none", "figures": []}, STRICT)
    assert read(Baseline, {"status": "none", "figures": []}) == Baseline("none")
