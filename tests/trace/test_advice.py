"""An input that a model refused: what was made of it, and what to write instead, which then works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

import modelsum

NETS = """\
from torch import nn

class Image(nn.Module):
    \"\"\"Unpacks its own input, before any layer of torch sees it.\"\"\"
    def forward(self, x):
        batch, channels, height, width = x.shape
        return x

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(5, 2)
    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))

def lstm(): return nn.LSTM(32, 8)
def linear(): return nn.Linear(8, 2)
def conv1d(): return nn.Conv1d(4, 2, 3)

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
    def forward(self, x, *, mask):
        return self.fc(mask)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            "resnet18 --input 1x3x64x64",
            "The batch is put in front: --input 1x3x64x64 is [1, 1, 3, 64, 64]. "
            "Write --input 3x64x64, or --no-batch.",
        ),
        (
            "resnet18 --input 8x3x64x64",
            "The batch is put in front: --input 8x3x64x64 is [1, 8, 3, 64, 64]. "
            "Write --batch 8 --input 3x64x64, or --no-batch.",
        ),
        ("resnet18 --input 1x64x64", "It takes 3 channels. Write --input 3x64x64."),
        ("resnet18 --input 64x64x3", "The channels come first. Write --input 3x64x64."),
        ("resnet18 --input 64x64", "The channels are missing. Write --input 3x64x64."),
        (
            "resnet18 --input 1x64x64x3",
            "The batch is put in front: --input 1x64x64x3 is [1, 1, 64, 64, 3]. "
            "The channels come first. Write --input 3x64x64.",
        ),
        ("nets.py:linear --input 4x7", "It takes 8 features. Write --input 4x8."),
        ("nets.py:lstm --input 5x16", "It takes 32 features. Write --input 5x32."),
        (
            "nets.py:lstm --input 1x5x32",
            "The batch is put in front: --input 1x5x32 is [1, 1, 5, 32]. Write --input 5x32, or --no-batch.",
        ),
        ("nets.py:conv1d --input 9x4", "The channels come first. Write --input 4x9."),
        ("nets.py:Masked --input 8 --input mask=7", "It takes 8 features. Write --input mask=8."),
        (
            "nets.py:Image --input 1x3x8x8",
            "The batch is put in front: --input 1x3x8x8 is [1, 1, 3, 8, 8]. "
            "If it holds the batch already, write --input 3x8x8, or --no-batch.",
        ),
    ],
)
def test_what_to_write(modelsum_cli, call: str, said: str) -> None:
    done = modelsum_cli("show", *call.split(), "--no-memory")
    assert done.code == 3
    assert done.err.endswith(f"\n{said}\n")
    # Written so, it works; and taken literally, where that is said to do.
    written = re.search(r"[Ww]rite (--.*?)[,.]", said)
    name = [word for word in call.split() if "mask" not in word and word != "8"]
    others = ["--input", "8"] if "Masked" in call else []
    assert modelsum_cli("show", name[0], *others, *shlex.split(written[1]), "--no-memory").code == 0
    if "--no-batch" in said:
        assert modelsum_cli("show", *call.split(), "--no-batch", "--no-memory").code == 0


@pytest.mark.parametrize(
    "call",
    [
        "nets.py:Mean --input 1x8x8",  # the convolution took its one channel
        "resnet18 --input 8",
        "resnet18 --input scalar",
        "vgg11 --input 3x16x16",
    ],
)
def test_where_nothing_is_known_nothing_is_said(modelsum_cli, call: str) -> None:
    done = modelsum_cli("show", *call.split(), "--no-memory")
    assert done.code == 3
    assert "Write" not in done.err
    assert "batch" not in done.err.partition("\n")[2]


def test_an_input_without_a_batch_that_is_taken_literally(modelsum_cli) -> None:
    done = modelsum_cli("show", "resnet18", "--input", "3x64x64", "--no-batch", "--no-memory")
    assert "The input [3, 64, 64] has no batch in front, as [1, 3, 64, 64] has." in done.err


def test_tensors_are_as_they_are_and_no_option_is_named() -> None:
    with pytest.raises(modelsum.ForwardError) as caught:
        modelsum.summarize(nn.Conv2d(3, 4, 3), torch.zeros(1, 1, 3, 8, 8))
    assert "--" not in str(caught.value)
