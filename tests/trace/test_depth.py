"""Deep and huge models: an answer or one sentence, and never the end of the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import modelsum

NETS = """
import sys
from torch import nn

def on_a_small_stack():
    if sys.platform == "linux":  # where the limit counts while a process runs
        import resource
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 19, hard))

def chain(n):
    on_a_small_stack()
    return nn.Sequential(*(nn.Linear(8, 8) for _ in range(n)))

class Again(nn.Module):
    def __init__(self, n):
        super().__init__()
        on_a_small_stack()
        self.layer, self.n = nn.Linear(8, 8), n

    def forward(self, x):
        for _ in range(self.n):
            x = self.layer(x)
        return x

def nested(n):
    net = nn.Linear(8, 8)
    for _ in range(n):
        net = nn.Sequential(net)
    return net

class Uncalled(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.spare, self.used = nn.ModuleList(nn.Linear(1, 1) for _ in range(n)), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(x)

def lstm():
    return nn.LSTM(16, 16)
"""


@pytest.fixture
def show(modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> dict:
        done = modelsum_cli("show", f"nets.py:{name}", *arguments, "--format", "json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return call


# A graph of 30,000 nodes was the end of a process with the usual stack of 8 MiB, and so is a sixteenth of it
# on the stack of 512 KiB here.
@pytest.mark.parametrize("layers", [2_500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_chain_of_layers(show, layers: int) -> None:
    found = show("chain", "--arg", f"n={layers}", "--input", "8", "--optimizer", "none", "--target", "cpu")
    assert found["totals"]["macs"] == 64 * layers
    # At the end of the backward pass: 72 weights and 72 gradients of each, four bytes each. Activations, 32
    # bytes a layer, are gone by then, and were less than the gradients.
    assert found["memory"]["training_peak_bytes"] == pytest.approx(layers * 2 * 72 * 4, abs=200)


@pytest.mark.parametrize("times", [2_500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_one_layer_called_again_and_again(show, times: int) -> None:
    found = show("Again", "--arg", f"n={times}", "--input", "8")
    assert found["totals"] | {"params": 72, "macs": 64 * times} == found["totals"]
    assert found["memory"]["training_peak_bytes"] > 32 * times


@pytest.mark.slow
def test_an_lstm_over_many_steps(show) -> None:
    found = show("lstm", "--input", "8192x2x16", "--no-batch")
    assert found["totals"]["macs"] == 8192 * 2 * 4 * 16 * (16 + 16)
    assert found["memory"]["training_peak_bytes"] > found["memory"]["inference_peak_bytes"]


def test_modules_in_modules(show) -> None:
    assert show("nested", "--arg", "n=800", "--input", "8")["totals"]["macs"] == 64


def test_modules_that_are_never_called(show) -> None:
    found = show("Uncalled", "--arg", "n=5000", "--input", "8")
    assert (found["totals"]["params"], found["totals"]["macs"]) == (2 * 5000 + 72, 64)


# ---- sizes


def test_a_huge_batch_is_answered_at_once(modelsum_cli) -> None:
    done = modelsum_cli("show", "squeezenet1_1", "--batch", "99999999999", "--format", "json")
    assert json.loads(done.out)["totals"]["macs"] % 99999999999 == 0


@pytest.mark.parametrize(
    "sizes",
    [
        ("--input", "3x99999999999x99999999999"),
        ("--batch", "9" * 30),
        ("--batch", "999999999", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_what_no_tensor_can_have_is_one_sentence(modelsum_cli, sizes: tuple[str, ...]) -> None:
    done = modelsum_cli("show", "squeezenet1_1", *sizes)
    assert done.code == 2
    assert "smaller" in done.err
    assert len(done.err.splitlines()) == 2


class Reads(nn.Module):
    """Asks for a sum over an expanded tensor of many elements whose one value is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(1).expand(10**15)
        return x + ones.sum() * (ones > 0).all()


def test_an_op_on_an_expanded_value_is_not_gone_through() -> None:
    assert modelsum.summarize(Reads(), torch.zeros(3), device="meta").totals.macs == 0
