"""Recurrent layers that oneDNN does not take, on the CPU, beside real runs of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_cpu import real_peaks, saved_bytes
from torch import Tensor, nn

import modelsum

X = torch.rand(20, 4, 24)


class Output(nn.Module):
    """A recurrent layer, its output alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)[0]


CASES: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "gru": (nn.GRU, {}),
    "gru, two layers, both directions": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    "gru, batch first": (nn.GRU, {"batch_first": True}),
    "gru without biases": (nn.GRU, {"bias": False}),
    "rnn": (nn.RNN, {"num_layers": 2}),
    "rnn, relu, both directions": (nn.RNN, {"nonlinearity": "relu", "bidirectional": True}),
    "lstm, projected": (nn.LSTM, {"proj_size": 8}),
    "lstm, projected, both directions": (
        nn.LSTM,
        {"proj_size": 8, "num_layers": 2, "bidirectional": True, "batch_first": True},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_peaks_are_those_of_a_real_run(name: str) -> None:
    kind, options = CASES[name]
    model = Output(kind(24, 32, **options))
    memory = modelsum.summarize(model, X, target="cpu", optimizer="none").memory
    real = real_peaks(model, (X,), torch.sum, None)
    assert memory is not None
    assert memory.bound == "exact"
    assert memory.inference_peak_bytes == real.inference
    assert memory.training_peak_bytes == pytest.approx(real.training, abs=16)
    assert memory.saved_for_backward_bytes == saved_bytes(model, X)


def test_a_gru_whose_peaks_were_measured_elsewhere() -> None:
    """[16, 24, 64] through 128 units, batch first; two threads, with Adam in a loop."""
    model, x = Output(nn.GRU(64, 128, batch_first=True)), torch.rand(16, 24, 64)
    memory = modelsum.summarize(model, x, target="cpu", optimizer="none").memory
    assert memory is not None
    assert memory.inference_peak_bytes == pytest.approx(1_387_520, rel=0.005)


def test_the_results_have_the_shapes_of_the_layers_own() -> None:
    for layer in (nn.GRU(24, 32, 2, bidirectional=True), nn.LSTM(24, 32, 2, proj_size=8)):
        on_cpu = modelsum.summarize(layer, X, target="cpu")
        assert on_cpu.memory is not None
        assert on_cpu.memory.training is not None


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_what_cudnn_keeps_is_not_known(kind: type[nn.RNNBase]) -> None:
    memory = modelsum.summarize(Output(kind(24, 32)), X).memory
    assert memory is not None
    assert memory.bound == "lower"


def test_a_packed_sequence_is_a_lower_bound() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(X, torch.tensor([20, 10, 5, 3]))
    memory = modelsum.summarize(Output(nn.GRU(24, 32)), packed, target="cpu", optimizer="none").memory
    assert memory is not None
    assert (memory.bound, [*memory.unmeasured]) == ("lower", ["gru"])
