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
