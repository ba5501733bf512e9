"""Weights that a subclass of Tensor holds in others: counted as what they stand for, in their own bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import modelsum


def quantised(config: str, *arguments: Any) -> nn.Module:
    quantization = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512, bias=False)).eval()
    quantization.quantize_(model, getattr(quantization, config)(*arguments))
    return model


def test_int8_weights_of_torchao() -> None:
    summary = modelsum.summarize(quantised("Int8WeightOnlyConfig"), torch.rand(2, 1024), target="cpu")
    weights = 1024 * 1024 + 1024 * 512
    assert summary.totals.params == weights + 1024
    assert summary.totals.macs == 2 * weights
    # A byte each, a scale a row, and the bias; torchao may keep a zero point a row too.
    least = weights + 4 * (1024 + 512) + 4 * 1024
    assert least <= summary.totals.param_bytes <= least + 8 * (1024 + 512)
    assert summary.memory is not None
    assert summary.memory.inference.parts["weights"] == summary.totals.param_bytes


def test_weights_of_bitsandbytes_count_as_what_they_stand_for() -> None:
    """Two weights of 4 bits in a byte; 64 x 128 and 128 x 32 of them."""
    layers = pytest.importorskip("bitsandbytes").nn
    first, second = layers.Linear4bit(64, 128), layers.Linear4bit(128, 32, bias=False)
    summary = modelsum.summarize(nn.Sequential(first, nn.ReLU(), second).to("cpu"), torch.rand(2, 64))
    assert summary.totals.params == 64 * 128 + 128 + 128 * 32
    assert summary.totals.param_bytes == (64 * 128 + 128 * 32) // 2 + 4 * 128
    assert summary.totals.macs == 2 * (64 * 128 + 128 * 32)
    assert summary.memory is not None
    assert summary.memory.bound == "lower"  # what its kernels allocate is not known


def test_eight_bit_layers_of_bitsandbytes() -> None:
    layers = pytest.importorskip("bitsandbytes").nn
    model = nn.Sequential(layers.Linear8bitLt(64, 128, has_fp16_weights=False))
    summary = modelsum.summarize(model, torch.rand(2, 64))
    assert (summary.totals.params, summary.totals.macs) == (64 * 128 + 128, 2 * 64 * 128)
    assert summary.uncounted_ops == {}


@pytest.mark.parametrize(("layer", "weights"), [(nn.LSTM(16, 32), 4 * 32 * (16 + 32)), (nn.GRU(16, 8), 576)])
def test_packed_weights_of_recurrent_layers_of_torch(layer: nn.Module, weights: int) -> None:
    """Beside the weights, two biases for each gate."""
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {type(layer)})
    summary = modelsum.summarize(model, torch.rand(5, 2, 16), target="cpu")
    gates = {nn.LSTM: 4 * 32, nn.GRU: 3 * 8}[type(layer)]
    assert summary.totals.packed_params == weights + 2 * gates
    assert summary.totals.macs == 5 * 2 * weights
    assert summary.memory is not None
