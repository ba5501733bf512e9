"""Models side by side as text, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

from hand_made_report import CASE, report, row

from modelsum.baselines.comparison import Comparison, compare_models
from modelsum.render import RenderOptions, render

PLAIN = RenderOptions()


def two() -> Comparison:
    """A Linear of 1000 params and 2000 MACs beside a Conv2d of 360 params and 25,000 MACs."""
    case = replace(CASE, memory={"target": "cuda", "optimizer": "adamw", "loss": "sum"})
    linear = report(row("a", "Linear", params=1000, macs=2000), case=case, training_peak_bytes=3 << 20)
    conv = report(row("a", "Conv2d", params=360, macs=25_000), case=case, uncounted={"aten.cumsum": 2})
    return compare_models(("linear", "conv"), (linear, conv))


TEXT = """\
                       linear              conv
-----------------------------------------------
Params                1,000 ▲       360 x0.36 ▼
Trainable params      1,000 ▲       360 x0.36 ▼
Params size        3.91 KiB ▲  1.41 KiB x0.36 ▼
MACs                  2,000 ▼    25,000 x12.5 ▲
FLOPs                 4,000 ▼    50,000 x12.5 ▲
Input size            768 B       768 B     =
Module calls              2           2     =
-----------------------------------------------
torchsummary convention, no prediction of memory
torchsummary rows         1           1     =
Input size            768 B       768 B     =
Params size        3.91 KiB ▲  1.41 KiB x0.36 ▼
Estimated total    4.66 KiB ▲  2.16 KiB x0.46 ▼
-----------------------------------------------
Memory for cuda, adamw
Training peak      3.00 MiB           -
-----------------------------------------------
Params by kind of layer
Linear                1,000 ▲         -
Conv2d                    -         360       ▲
-----------------------------------------------
MACs by kind of layer
Conv2d                    -      25,000       ▲
Linear                2,000 ▲         -
-----------------------------------------------
Layers by kind
Conv2d                    -           1       ▲
Linear                    1 ▲         -

x is the ratio to linear; ▲ largest, ▼ smallest.
Input: [1, 3, 8, 8] float32
Batch: 1
Mode: eval
Dtype: float32
Uncounted ops: they do arithmetic that is not in MACs:
  conv: aten.cumsum 2 x
"""


def test_text_is_one_column_a_model():
    """4000 + 768 = 4768 bytes and 1440 + 768 = 2208, 0.463 of it."""
    assert render(two(), "text", PLAIN) == TEXT


def test_markdown_is_one_table_a_section():
    text = render(two(), "markdown", PLAIN)
    assert text.startswith("## linear, conv\n\n|  | linear | conv |\n| :--- | ---: | ---: |\n")
    assert "| MACs | 2,000 ▼ | 25,000 x12.5 ▲ |\n" in text
    assert (
        "| Params by kind of layer | linear | conv |\n| :--- | ---: | ---: |\n| Linear | 1,000 ▲ | - |\n"
        in text
    )
    assert "\n- Input: [1, 3, 8, 8] float32\n" in text
    assert text.endswith("MACs:**\n\n- conv: aten.cumsum 2 x\n")


def test_json_has_every_value_and_ratio():
    value = json.loads(render(two(), "json", PLAIN))
    assert (value["schema_version"], value["kind"]) == (1, "comparison")
    assert [model["name"] for model in value["models"]] == ["linear", "conv"]
    assert value["models"][1]["uncounted_ops"] == {"aten.cumsum": 2}
    figures = {(f["section"], f["name"]): f for f in value["figures"]}
    assert figures["totals", "macs"] == {
        "section": "totals",
        "name": "macs",
        "values": [2000, 25000],
        "ratios": [1.0, 12.5],
        "largest": ["conv"],
        "smallest": ["linear"],
    }
    assert figures["memory", "training_peak_bytes"]["values"] == [3145728, None]
    assert figures["layers by kind", "Conv2d"]["values"] == [0, 1]


def test_csv_has_a_row_a_figure():
    rows = list(csv.reader(io.StringIO(render(two(), "csv", PLAIN))))
    assert rows[0] == ["section", "figure", "linear", "conv", "ratio of linear", "ratio of conv"]
    assert ["totals", "macs", "2000", "25000", "1", "12.5"] in rows
    assert ["memory", "training_peak_bytes", "3145728", "", "1", ""] in rows
    assert rows[-1] == ["uncounted", "aten.cumsum", "", "2"]


def test_a_condition_that_differs_is_said_of_each_model():
    other = replace(CASE, inputs=(replace(CASE.inputs[0], name="image", shape=(1, 3, 9, 9)),), batch=None)
    models = compare_models(("a", "b"), (report(row("x", "A", macs=1)), report(case=other)))
    text = render(models, "text", RenderOptions(width=100))
    assert "Input differs: a: [1, 3, 8, 8] float32; b: image [1, 3, 9, 9] float32\n" in text
    assert "Batch differs: a: 1; b: in the shapes as given\n" in text
    assert "Mode: eval\n" in text


def test_colours_are_asked_for_and_move_nothing():
    plain = render(two(), "text", PLAIN)
    colored = render(two(), "text", RenderOptions(color=True))
    assert "\033[31m▲\033[0m" in colored
    assert re.sub("\033\\[\\d+m", "", colored) == plain


def test_models_stay_side_by_side_in_fewer_digits_and_then_without_ratios():
    large = [report(row("a", "Linear", params=n * 10**9, macs=n * 10**12)) for n in (1, 2, 3)]
    models = compare_models(("one", "two", "a/very/long/name/of/a/model"), large)
    lines = {
        width: render(models, "text", RenderOptions(width=width)).splitlines() for width in (120, 80, 60)
    }
    for width, text in lines.items():
        assert max(map(len, text)) <= width
        assert len([line for line in text if "one" in line and "two" in line and "model" in line]) == 1
    macs = {width: next(line.split()[1:] for line in lines[width] if "MACs" in line) for width in lines}
    assert macs[120][0] == "1,000,000,000,000"
    assert macs[80] == ["1", "T", "▼", "2", "T", "x2.00", "3", "T", "x3.00", "▲"]
    assert macs[60] == ["1", "T", "▼", "2", "T", "3", "T", "▲"]
    assert "rounded" not in " ".join(lines[120])
    assert "rounded to 4 digits" in " ".join(lines[80])


def test_as_many_columns_as_fit_and_the_others_below():
    one = report(row("a", "Linear", params=10))
    many = compare_models([f"model{i}" for i in range(9)], [one] * 9)
    text = render(many, "text", RenderOptions(width=80))
    assert max(map(len, text.splitlines())) <= 80
    headings = [line.split() for line in text.splitlines() if "model" in line and "ratio" not in line]
    assert [name for line in headings for name in line] == [f"model{i}" for i in range(9)]
    assert len(headings) > 1
    wide = render(many, "text", RenderOptions(width=200))
    assert len([line for line in wide.splitlines() if "model0" in line and "model8" in line]) == 1
