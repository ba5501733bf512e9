"""`--arg config=package.module:Config(width=8)`: constructor arguments that are objects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modelsum import spec
from modelsum.errors import ArgumentError

NETS = """
from dataclasses import dataclass
from torch import nn


@dataclass
class Config:
    width: int = 4
    act: str = "relu"


wide = Config(width=32)


class Net(nn.Module):
    def __init__(self, config, act=nn.ReLU):
        super().__init__()
        self.fc = nn.Linear(8, config.width)
        self.act = act()

    def forward(self, x):
        return self.act(self.fc(x))
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("value", "width"),
    [
        ("own_nets:Config(width=16)", 16),
        ("own_nets.py:Config(width=16)", 16),
        ("own_nets:Config(16, act='gelu')", 16),
        ("own_nets:Config()", 4),
        ("own_nets:wide", 32),
    ],
)
def test_an_object_is_made_of_what_the_user_wrote(modelsum_cli, value: str, width: int) -> None:
    done = modelsum_cli(
        *("show", "own_nets.py:Net", "--input", "8", "--no-memory", "--format", "json"),
        *("--arg", f"config={value}", "--arg", "act=torch.nn:GELU"),
    )
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["totals"]["macs"] == 8 * width
    assert summary["model"]["arguments"] == {"config": value, "act": "torch.nn:GELU"}
    assert summary["layers"][-1]["class"] == "GELU"


def test_a_kept_answer_knows_of_the_file_that_the_object_is_from(modelsum_cli, tmp_path: Path) -> None:
    show = ("show", "own_nets.py:Net", "--input", "8", "--no-memory", "--arg", "config=own_nets:Config()")
    assert re.search(r"Total params: +36 ", modelsum_cli(*show).out)
    (tmp_path / "own_nets.py").write_text(NETS.replace("width: int = 4", "width: int = 10"))
    assert re.search(r"Total params: +90 ", modelsum_cli(*show).out)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("own_nets:Config(wdth=3)", ["unexpected keyword argument 'wdth'"]),
        ("own_nets:Confg(3)", ["there is no 'Confg' in own_nets", "Config"]),
        ("own_nets:Config(x)", ["'(x)' are no arguments", "Python literals"]),
        ("own_nets:Config(3", ["is not a Python literal", "package.module:Config(width=8)"]),
        ("own_nets:wide(3)", ["is a Config, and cannot be called"]),
        ("nowhere:Config()", ["no module 'nowhere'"]),
    ],
)
def test_what_is_wrong_is_told(modelsum_cli, value: str, words: list[str]) -> None:
    done = modelsum_cli("show", "own_nets.py:Net", "--input", "8", "--arg", f"config={value}")
    assert done.code == 2
    for word in words:
        assert word in done.err


def test_operands_take_them_too(modelsum_cli) -> None:
    net = "own_nets.py:Net,config=own_nets:Config({})@8"
    done = modelsum_cli("compare", net.format(2), net.format("width=3"), "--no-memory", "--format", "json")
    (macs,) = (figure for figure in json.loads(done.out)["figures"] if figure["name"] == "macs")
    assert macs["values"] == [16, 24]


def test_texts_and_literals_stay_what_they_were() -> None:
    assert spec.parse_argument("a='x:Y(1)'") == ("a", "x:Y(1)")
    assert spec.parse_argument("a=word") == ("a", "word")
    assert spec.parse_argument("a=(1, 2)") == ("a", (1, 2))
    with pytest.raises(ArgumentError):
        spec.parse_argument("a=f(1)")
