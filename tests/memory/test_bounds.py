"""Outside of what was measured a peak is a lower bound: never more than the real one, and it says so.

The real peaks are those of training steps on the CPU (AdamW as a for-loop, two threads), read off the
allocator's records where the fault was found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import modelsum

pytestmark = pytest.mark.filterwarnings("ignore")


class First(nn.Module):
    """A recurrent layer, its first result alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.l = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.l(x)[0]


class Deformed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        ops = pytest.importorskip("torchvision").ops
        self.offsets = nn.Conv2d(64, 18, 3, padding=1)
        self.conv = ops.DeformConv2d(64, 64, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, self.offsets(x))


def memory_of(model: nn.Module, *inputs: Tensor, **options: Any) -> Any:
    options.setdefault("isa", "avx512")  # with whose kernels the faults were found
    memory = modelsum.summarize(model, *inputs, target="cpu", foreach=False, **options).memory
    assert memory is not None
    return memory


# model, input, real inference and training peaks (None: not known)
REAL: dict[str, tuple[Any, tuple[int, ...], int | None, int | None]] = {
    "depthwise transposed": (
        lambda: nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1, groups=64, bias=False),
        (1, 64, 32, 32),
        None,
        2_371_588,
    ),
    "transposed 16 x 16": (
        lambda: nn.ConvTranspose2d(32, 32, 16, stride=8, padding=4, bias=False),
        (2, 32, 24, 24),
        None,
        36_848_012,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_no_peak_is_above_the_real_one(name: str) -> None:
    build, shape, inference, training = REAL[name]
    memory = memory_of(build(), torch.rand(shape))
    assert memory.bound == "lower"
    assert memory.unmeasured
    assert inference is None or memory.inference_peak_bytes <= inference
    assert training is None or memory.training_peak_bytes <= training


X = torch.rand(4, 32, 16, 16)


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        (nn.Conv2d(32, 32, 3, padding=1), "exact"),
        (nn.Conv2d(32, 32, 3, padding=1, groups=32), "exact"),
        (nn.Conv2d(32, 64, 3, padding=1, groups=2), "exact"),
        (nn.Conv2d(32, 32, 3, padding=1, groups=8), "lower"),
        (nn.Conv2d(32, 32, 3, padding=2, dilation=2), "lower"),
        (nn.Conv2d(32, 32, 16), "lower"),
        (nn.ConvTranspose2d(32, 16, 2, stride=2), "exact"),
        (nn.ConvTranspose2d(32, 16, 3), "lower"),
        (nn.ConvTranspose2d(32, 3, 4, stride=2), "lower"),
        (nn.ConvTranspose2d(32, 32, 4, stride=2, groups=4), "lower"),
        (nn.ConvTranspose2d(32, 16, 16, stride=8), "lower"),
        (nn.BatchNorm2d(32), "exact"),
        (nn.GroupNorm(4, 32), "exact"),
        (nn.MaxPool2d(2), "exact"),
    ],
    ids=str,
)
def test_which_convolutions_were_measured(layer: nn.Module, bound: str) -> None:
    assert memory_of(layer, X).bound == bound


@pytest.mark.parametrize(
    ("model", "shape", "op"),
    [
        (nn.Conv1d(32, 32, 3, dilation=2), (8, 32, 64), "aten.convolution"),
        (nn.Conv3d(32, 32, 3), (2, 32, 8, 8, 8), "aten.convolution"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_was_not_measured_is_named(model: nn.Module, shape: tuple[int, ...], op: str) -> None:
    memory = memory_of(model, torch.rand(shape))
    assert memory.unmeasured[op] == 1  # of one pass, not of all
    assert any(op in notice for notice in memory.notices)


def test_an_lstm_that_was_measured_is_exact() -> None:
    assert memory_of(First(nn.LSTM(8, 8)), torch.rand(5, 2, 8)).bound == "exact"


def test_columns_of_a_deformable_convolution_are_not_known_on_cuda() -> None:
    memory = modelsum.summarize(Deformed(), torch.rand(2, 64, 16, 16), target="cuda").memory
    assert memory is not None
    assert memory.bound == "lower"
    assert "torchvision.deform_conv2d" in memory.unmeasured


# ---- how it is told

NETS = "from torch import nn\nnet = nn.ConvTranspose2d(8, 3, 4, stride=2)\nplain = nn.Conv2d(16, 16, 3)\n"


@pytest.fixture
def shown(modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    of_net = ("--batch", "8", "--target", "cpu", "--isa", "avx512")
    return lambda name, size, *more: (
        modelsum_cli("show", f"nets.py:{name}", "--input", size, *of_net, *more).out
    )


def test_text_says_at_least(shown) -> None:
    lower, exact = shown("net", "8x16x16"), shown("plain", "16x16x16")
    assert lower.count(">= ") >= 2
    assert "the peaks are at least these: what aten.convolution (1 x)" in lower
    assert ">=" not in exact


def test_json_has_the_bound_and_the_ops(shown) -> None:
    lower = json.loads(shown("net", "8x16x16", "--format", "json"))
    assert lower["memory"]["bound"] == "lower"
    assert lower["memory"]["unmeasured"] == {"aten.convolution": 1, "aten.convolution_backward": 1}
    assert modelsum.Summary.from_dict(lower).to_dict() == lower
    exact = json.loads(shown("plain", "16x16x16", "--format", "json"))
    assert exact["memory"]["bound"] == "exact"
    assert exact["memory"]["unmeasured"] == {}


@pytest.mark.parametrize("isa", ["avx512", "avx2", "other"])
def test_the_instruction_set_is_part_of_the_machine(isa: str) -> None:
    """By default this CPU's; with none that is known every convolution of oneDNN is a bound."""
    memory = memory_of(nn.Conv2d(24, 40, 3), torch.rand(4, 24, 16, 16), isa=isa)
    assert {"avx512": "AVX-512", "avx2": "x86 with AVX2", "other": "without AVX2"}[isa] in (
        memory.assumptions["kernels"]
    )
    assert memory.bound == ("lower" if isa == "other" else "exact")
