"""A hand-made fit in every format: whole expected texts, since nothing here is computed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from modelsum.errors import UsageError
from modelsum.memory.fitting.fit import Fit, Need, Room, Way
from modelsum.memory_values import Peak
from modelsum.render import FORMATS, RenderOptions, render
from modelsum.summary import Input, Model

GIB = 2**30


def need(batch: int, gib: float) -> Need:
    parts = {"weights": GIB // 4, "saved_activations": int(gib * GIB / 2), "inputs": 0}
    peak = Peak(sum(parts.values()), parts, "backward", "layer4.2")
    return Need(batch, int(gib * GIB), int((gib - 1) * GIB), peak)


FIT = Fit(
    model=Model("resnet50", "documented", "ResNet"),
    inputs=(Input(None, (1, 3, 224, 224), "float32"),),
    dtype="float32",
    task="training",
    target="cuda",
    room=Room(8 * GIB, "8GiB"),
    batch=100,
    least_batch=1,
    bounded=False,
    optimistic_batch=130,
    below=need(100, 7.9),
    above=need(101, 8.1),
    asked=None,
    fixed_bytes=GIB // 4,
    ways=(
        Way("--checkpoint 'layer*.*' --expandable-segments", "all of that", need(100, 4), 250, combined=True),
        Way("--checkpoint 'layer*.*'", "a second forward pass of these modules", need(100, 5), 200),
        Way("--fused", "nothing", need(100, 7.8), 100),
        Way("--accumulate 4", "passes one after another", need(100, 7.9), 100, passes=4),
    ),
    assumptions={"loss": "sum", "optimizer": "adamw"},
    predictions=31,
    notices=("input 16 is taken as int64",),
    made_with={"modelsum": "1"},
)

TEXT = """\
--------------------------------------------------------------------------------
The largest batch that fits is 100: training of resnet50 in 8GiB
================================================================================
Batch  Needs at most  At least  Live tensors  Fits
100         7.90 GiB  6.90 GiB      4.20 GiB   yes
101         8.10 GiB  7.10 GiB      4.30 GiB    no
Limit:    batch 101 peaks in the backward pass at layer4.2: saved activations
          4.05 GiB, weights 256.00 MiB of 4.30 GiB live
Needs:    the whole process, from the smallest known CUDA context to 95 % of
          measured runs; with the least, 130 would fit
--------------------------------------------------------------------------------
Ways to fit more                          Batch 100 needs  Largest batch    Gain
--checkpoint 'layer*.*'                          4.00 GiB            250  +150 %
  --expandable-segments
--checkpoint 'layer*.*'                          5.00 GiB            200  +100 %
--accumulate 4                                   7.90 GiB        4 x 100  +300 %
Cost:     --checkpoint 'layer*.*': a second forward pass of these modules;
          --accumulate 4: passes one after another
Under 1 %: --fused
--------------------------------------------------------------------------------
Model:    resnet50 (class ResNet), float32
Input:    [1, 3, 224, 224] float32, the first size is the batch
Assumed:  loss: sum; optimizer: adamw
Computed: from shapes, in 31 predictions; nothing was run
Notice:   input 16 is taken as int64
"""


def test_text() -> None:
    assert render(FIT, "text") == TEXT
    assert str(FIT) == TEXT.rstrip("\n")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_text_keeps_to_the_width(width: int) -> None:
    assert max(map(len, render(FIT, "text", RenderOptions(width=width)).splitlines())) <= width


def test_a_batch_that_was_asked_about_has_the_first_word() -> None:
    asked = dataclasses.replace(FIT, asked=need(120, 9), ways=())
    first, *rows = render(asked, "text", RenderOptions(width=200)).splitlines()[1:7]
    assert first == "Batch 120 does not fit; the largest batch that fits is 100: training of resnet50 in 8GiB"
    assert [row.split()[0] for row in rows[2:]] == ["100", "101", "120"]
    assert "Batch 60 fits;" in render(dataclasses.replace(FIT, asked=need(60, 5)), "text")


def test_where_nothing_fits() -> None:
    nothing = dataclasses.replace(
        FIT, batch=None, below=None, above=need(1, 9), ways=(), optimistic_batch=None
    )
    assert "Not even the smallest batch fits: training" in render(nothing, "text", RenderOptions(width=200))
    two = dataclasses.replace(nothing, least_batch=2)
    assert "Not even the smallest batch of 2 fits: training" in render(two, "text", RenderOptions(width=200))
    weights = dataclasses.replace(nothing, fixed_bytes=9 * GIB)
    assert "(parameters and buffers alone are more)" in render(weights, "text", RenderOptions(width=200))
    way = Way("--optimizer sgd", "another optimizer", need(1, 8.5), None)
    with_way = render(dataclasses.replace(nothing, ways=(way,)), "text")
    assert "--optimizer sgd                                    8.50 GiB           none     -" in with_way


def test_where_memory_hardly_grows() -> None:
    bounded = dataclasses.replace(FIT, batch=2**20, bounded=True, above=None, ways=())
    text = render(bounded, "text", RenderOptions(width=200))
    assert "More than 1,048,576 fit, memory hardly grows with the batch" in text
    assert "Limit:" not in text


def test_a_card_and_decimal_gigabytes_say_what_they_come_to() -> None:
    card = dataclasses.replace(FIT, room=Room(25_351_040_860, "RTX 4090"))
    assert "in RTX 4090 (23.61 GiB)" in render(card, "text")
    decimal = dataclasses.replace(FIT, room=Room(8 * 10**9, "8GB"))
    assert "in 8GB (7.45 GiB)" in render(decimal, "text")


def test_on_the_cpu_it_says_what_is_not_in_it() -> None:
    alike = Need(100, 7 * GIB, 7 * GIB, need(100, 7).peak)
    text = render(dataclasses.replace(FIT, target="cpu", below=alike), "text")
    assert "the interpreter and its libraries" in text
    assert "100         7.00 GiB         -" in text


def test_json_has_everything() -> None:
    loaded = json.loads(render(FIT, "json"))
    assert loaded["kind"] == "fit"
    assert loaded["schema_version"] == 1
    assert loaded["fits"] is True
    assert loaded["batch"] == 100
    assert loaded["room_bytes"] == 8 * GIB
    assert loaded["above"]["bytes"] == int(8.1 * GIB)
    assert loaded["above"]["at_peak"]["weights"] == GIB // 4
    assert [way["samples"] for way in loaded["ways"]] == [250, 200, 100, 400]
    assert loaded == json.loads(json.dumps(FIT.to_dict()))


def test_csv_is_a_row_a_need_and_a_way() -> None:
    rows = list(csv.DictReader(io.StringIO(render(FIT, "csv"))))
    assert [row["kind"] for row in rows] == ["below", "above", "way", "way", "way", "way"]
    assert [row["fits"] for row in rows[:2]] == ["true", "false"]
    assert rows[0]["needs_bytes"] == str(int(7.9 * GIB))
    assert rows[2]["batch"] == "250"
    assert rows[2]["needs_bytes"] == str(4 * GIB)


def test_markdown() -> None:
    text = render(FIT, "markdown", RenderOptions(width=40))
    assert "## resnet50 in 8GiB\n" in text
    assert "| 100 | 7.90 GiB | 6.90 GiB | 4.20 GiB | yes |" in text
    assert (
        "| `--checkpoint 'layer*.*'` | 5.00 GiB | 200 | +100 % | a second forward pass of these modules |"
        in text
    )
    assert "> **Notice:** input 16 is taken as int64" in text


@pytest.mark.parametrize("format", FORMATS["Fit"])
def test_every_format_ends_with_one_newline(format: str) -> None:
    text = render(FIT, format)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_formats_of_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="torchsummary"):
        render(FIT, "torchsummary")
