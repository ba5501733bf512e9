"""A diff as text, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from hand_made_report import CASE, block, report, row

from modelsum.baselines.changes.changes import Diff, compare
from modelsum.render import RenderOptions, render

NAMES = ("old.json", "new.json")
PLAIN = RenderOptions()


def case() -> Diff:
    """A stem with another stride, three repeats of which one is wider, a renamed head, and an added drop.

    The wider block has 2 params and 20 MACs more, the stem 810 MACs more; the ReLU passes on 64 bytes more.
    """
    old = report(
        row("stem", "Conv2d", params=27, macs=270, stride=[2, 2]),
        row("act", "ReLU", sizes=64, shape=(1, 8)),
        row("layers", "ModuleList"),
        *(r for i in range(3) for r in block(f"layers.{i}")),
        row("head", "Linear", params=40, macs=40),
        case=replace(CASE, arguments={"stride": 2}),
        uncounted={"aten.cumsum": 1},
    )
    new = report(
        row("stem", "Conv2d", params=27, macs=1080, stride=[1, 1]),
        row("act", "ReLU", sizes=128, shape=(1, 16)),
        row("layers", "ModuleList"),
        *(r for i in range(3) for r in block(f"layers.{i}", width=6 if i == 0 else 4)),
        row("drop", "Dropout", p=0.5),
        row("classifier", "Linear", params=40, macs=40),
        uncounted={"aten.cumsum": 3},
    )
    return compare(old, new, NAMES)


# Params 27 + 3 * (4 + 2) + 40 = 85, MACs 270 + 3 * 40 + 40 = 430, modules 1 + 3 + 3 * 4 + 1 = 17; in all
# 340 + 64 + 768 = 1172 and 348 + 128 + 768 = 1244 bytes.
TEXT = """\
old.json -> new.json

argument stride: 2 -> not given

Figure                  Old       New  Difference
-----------------------------------------------------------
Params                   85        87          +2    +2.35%
Trainable params         85        87          +2    +2.35%
Params size           340 B     348 B        +8 B    +2.35%
MACs                    430     1,260        +830  +193.02%
Module calls             17        18          +1    +5.88%
torchsummary rows        16        17          +1    +6.25%
Forward/backward       64 B     128 B       +64 B  +100.00%
Estimated total    1.14 KiB  1.21 KiB       +72 B    +6.14%
Unchanged: input size

  Layer                        Params  MACs
-------------------------------------------
~ stem (Conv2d)                     0  +810
    stride 2x2 -> 1x1
~ layers.0.conv (Conv2d)           +2   +20
    width 4 -> 6
~ layers.0.norm (BatchNorm2d)       0     0
    width 4 -> 6
= layers.[1-2] (2 x Block)               +0
+ drop (Dropout)                    0     0
> classifier (Linear)                    +0
    was head

1 more module only passes on another size: forward/backward +64 B
Uncounted ops: aten.cumsum 1 -> 3
Biggest cause: stride 2x2 -> 1x1 of Conv2d (stem): +810 MACs, 98% of the change
"""


def test_text_has_totals_layers_and_the_biggest_cause_last():
    assert render(case(), "text", PLAIN) == TEXT


def test_nothing_changed():
    same = compare(report(*block("a")), report(*block("a")))
    text = render(replace(same, names=("a", "a")), "text", PLAIN)
    assert "Params    6    6           0\nMACs     40   40           0\nUnchanged: " in text
    assert text.endswith("\n\nNo layer changed.\n")


def test_a_depth_shows_blocks_with_what_changed_in_them():
    text = render(case(), "text", RenderOptions(depth=1))
    assert "~ layers (ModuleList)      +2   +20\n    13 modules\n" in text
    assert "layers.0" not in text
    assert text.splitlines()[7] == TEXT.splitlines()[7]  # no option changes a total


def test_on_a_narrow_terminal_paths_lose_their_beginning_and_figures_nothing():
    text = render(case(), "text", RenderOptions(width=40))
    below_totals = text.split("Unchanged", 1)[1]
    assert max(map(len, below_totals.splitlines())) == 40
    assert "~ \u2026rs.0.norm (BatchNorm2d)       0     0" in text


def test_off_a_terminal_paths_are_whole_however_long():
    path = ".".join(["a" * 30] * 4)
    diff = compare(report(row(path, "Linear", params=1)), report(row(path, "Linear", params=2)))
    assert path in render(diff, "text", PLAIN)


def test_colours_are_asked_for():
    assert "\033[" not in render(case(), "text", PLAIN)
    colored = render(case(), "text", RenderOptions(color=True))
    assert "\033[32m+ drop (Dropout)                    0     0\033[0m" in colored


def test_added_and_removed_blocks_say_how_much_is_in_them():
    more = compare(report(*block("layer1")), report(*(r for i in (1, 2, 3) for r in block(f"layer{i}"))))
    text = render(more, "text", PLAIN)
    assert "+ layer[2-3] (2 x Block)     +12   +80\n    4 modules each\n" in text
    assert text.endswith("Biggest cause: 2 x Block added (layer2, layer3): +80 MACs, 100% of the change\n")
    fewer = render(compare(report(*block("a"), *block("b")), report(*block("a"))), "text", PLAIN)
    assert "- b (Block)      -6   -40\n    4 modules\n" in fewer


def test_another_input_is_named_as_the_cause_where_no_setting_changed():
    old = report(row("a", "Conv2d", macs=10, shape=(1, 8, 4, 4), k=1))
    new = report(row("a", "Conv2d", macs=40, shape=(1, 8, 8, 8), k=1))
    text = render(compare(old, new), "text", PLAIN)
    assert "    output [1, 8, 4, 4] -> [1, 8, 8, 8]\n" in text
    assert "Biggest cause: Conv2d with another input (a): +30 MACs, 100% of the change\n" in text


def test_other_rules_of_counting_are_said_before_any_figure():
    other = replace(report(row("a", "A")), convention={"macs": 2, "memory": 4, "torchsummary": 1})
    text = render(compare(report(row("a", "A")), other), "text", PLAIN)
    assert text.splitlines()[2].startswith("macs 1 -> 2: counted by other rules")


def test_markdown():
    text = render(replace(case(), names=("a|b", "new")), "markdown", PLAIN)
    assert text.startswith("## a\\|b → new\n\n- argument stride: 2 -> not given\n\n| Figure | Old | New |")
    assert "| MACs | 430 | 1,260 | +830 | +193.02% |\n" in text
    assert "| `stem` (Conv2d) | changed | 0 | +810 | stride 2x2 -> 1x1 |\n" in text
    assert "| `classifier` (Linear) | renamed |  |  | was head |\n" in text
    assert "| same |" not in text
    assert text.endswith(
        "**Biggest cause:** stride 2x2 -> 1x1 of Conv2d (stem): +810 MACs, 98% of the change\n"
    )


def test_json_has_every_total_and_every_module_that_is_not_the_same():
    value = json.loads(render(case(), "json", RenderOptions(depth=0)))
    assert (value["schema_version"], value["kind"]) == (1, "diff")
    assert value["old"]["name"] == "old.json"
    assert value["case_differences"] == {"argument stride": {"old": "2", "new": None}}
    assert value["totals"]["macs"] == {"old": 430, "new": 1260, "difference": 830}
    assert value["uncounted_ops"] == {"aten.cumsum": {"old": 1, "new": 3}}
    assert [(r["state"], r["old_path"], r["path"]) for r in value["rows"]] == [
        ("changed", "stem", "stem"),
        ("changed", "act", "act"),
        ("changed", "layers.0.conv", "layers.0.conv"),
        ("changed", "layers.0.norm", "layers.0.norm"),
        ("added", None, "drop"),
        ("renamed", "head", "classifier"),
    ]
    assert value["rows"][0]["attributes"] == {"stride": {"old": [2, 2], "new": [1, 1]}}
    assert value["rows"][0]["figures"]["macs"] == {"old": 270, "new": 1080, "difference": 810}
    assert value["rows"][1]["output_shapes"] == {"old": [[1, 8]], "new": [[1, 16]]}
    assert [(cause["difference"], cause["paths"]) for cause in value["causes"]["macs"]] == [
        (810, ["stem"]),
        (20, ["layers.0.conv"]),
    ]


def test_csv_has_a_row_for_everything_that_changed():
    rows = list(csv.DictReader(io.StringIO(render(case(), "csv", PLAIN))))
    totals = {r["figure"]: (r["old"], r["new"], r["difference"]) for r in rows if r["kind"] == "total"}
    assert totals["macs"] == ("430", "1260", "830")
    assert totals["input_bytes"] == ("768", "768", "0")
    layers = [
        tuple(r[k] for k in ("state", "path", "figure", "old", "new")) for r in rows if r["kind"] == "layer"
    ]
    assert layers[:2] == [
        ("changed", "stem", "attribute stride", "[2, 2]", "[1, 1]"),
        ("changed", "stem", "macs", "270", "1080"),
    ]
    assert ("renamed", "classifier", "path", "head", "classifier") in layers
    assert [(r["figure"], r["difference"]) for r in rows if r["kind"] == "uncounted"] == [
        ("aten.cumsum", "2")
    ]
