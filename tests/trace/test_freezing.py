"""Frozen parameters: the same in every total, whoever asks for what."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import modelsum

#: 3 * 16 * 9 + 16 = 448 parameters, and 256 * 19 + 19 = 4,883.
STEM, HEAD = 448, 4_883
NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(256, 19)

    def forward(self, x):
        return self.head(self.pool(self.stem(x)).flatten(1))
"""


@pytest.fixture
def show(modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: modelsum_cli("show", "nets.py:Net", "--input", "3x32x32", *arguments)


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("more", [(), ("--no-memory",), ("--depth", "0")], ids=" ".join)
def test_no_other_option_changes_what_is_frozen(show, device: str, more: tuple[str, ...]) -> None:
    done = show("--freeze", "stem", "--format", "json", "--device", device, *more)
    totals = json.loads(done.out)["totals"]
    assert (totals["trainable_params"], totals["frozen_params"]) == (HEAD, STEM)


def test_the_text_and_the_rows_say_it(show) -> None:
    lines = [line.split()[:3] for line in show("--freeze", "stem").out.splitlines()]
    assert ["Trainable", "params:", "4,883"] in lines
    assert ["Non-trainable", "params:", "448"] in lines
    layers = json.loads(show("--freeze", "stem", "--format", "json").out)["layers"]
    assert {row["path"]: row["trainable_params"] for row in layers if row["params"]} == {
        "": HEAD,
        "stem": 0,
        "head": HEAD,
    }


def test_a_pattern_of_nothing_is_refused_also_without_memory(show) -> None:
    done = show("--freeze", "stme", "--no-memory")
    assert (done.code, "freeze 'stme' matches no parameter" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("patterns", "trainable"),
    [(("*",), 0), (("0.bias",), 64 + 72), (("0",), 72), (("0", "1.*"), 0), ((), 144)],
    ids=str,
)
def test_patterns_of_modules_and_parameters(patterns: tuple[str, ...], trainable: int) -> None:
    """Two layers of 8 * 8 + 8."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    totals = modelsum.summarize(model, torch.zeros(1, 8), freeze=patterns).totals
    assert (totals.params, totals.trainable_params) == (144, trainable)
    assert all(p.requires_grad for p in model.parameters()), "the caller's own is as before"


def test_a_tied_weight_is_frozen_by_any_of_its_names() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    assert modelsum.summarize(model, torch.zeros(1, 8), freeze="1").totals.trainable_params == 0


def test_what_was_frozen_before_stays_so() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].requires_grad_(False)
    assert modelsum.summarize(model, torch.zeros(1, 8), freeze="0.bias").totals.trainable_params == 64


@pytest.mark.parametrize("format", ["text", "torchsummary", "torchinfo"])
@pytest.mark.parametrize("more", [(), ("--no-memory",)], ids=" ".join)
def test_every_table_has_the_same_totals(show, format: str, more: tuple[str, ...]) -> None:
    said = show("--freeze", "stem", "--format", format, *more).out
    assert re.search(rf"^Trainable params: +{HEAD:,}\b", said, re.MULTILINE)
    assert re.search(rf"^Non-trainable params: +{STEM:,}\b", said, re.MULTILINE)


@pytest.mark.parametrize("more", [(), ("--no-memory",)], ids=" ".join)
def test_compare_and_diff_have_them_too(show, modelsum_cli, more: tuple[str, ...]) -> None:
    common = ("--input", "3x32x32", "--freeze", "stem", "--format", "json", *more)
    compared = json.loads(modelsum_cli("compare", "nets.py:Net", "nets.py:Net", *common).out)
    assert {f["name"]: f["values"] for f in compared["figures"]}["trainable_params"] == [HEAD, HEAD]
    assert show("--format", "json", "--output", "before.json").code == 0
    changed = json.loads(modelsum_cli("diff", "before.json", "nets.py:Net", *common).out)["totals"]
    assert changed["trainable_params"] == {"old": STEM + HEAD, "new": HEAD, "difference": -STEM}


def test_a_check_has_them_too(show, modelsum_cli) -> None:
    check = f'name = "net"\nmodel = "nets.py:Net"\ninput = "3x32x32"\nlimits.trainable_params = {HEAD}\n'
    Path("modelsum.toml").write_text(f"[[check]]\n{check}")
    assert modelsum_cli("check", "--no-strict").code == 1
    Path("modelsum.toml").write_text(f"[[check]]\n{check}freeze = 'stem'\n")
    assert modelsum_cli("check", "--no-strict").code == 0


def test_it_holds_in_python_where_no_memory_is_asked_for() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    assert (
        modelsum.summarize(model, torch.zeros(1, 8), freeze="0", memory=False).totals.trainable_params == 72
    )


def test_a_frozen_model_is_not_held_against_a_documented_table() -> None:
    assert modelsum.summarize("squeezenet1_1", input_size=(3, 600, 600)).baseline.status == "match"
    assert modelsum.summarize("squeezenet1_1", input_size=(3, 600, 600), freeze="*").baseline.status == "none"
