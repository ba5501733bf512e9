"""torch.ao's quantized modules: predicted inference beside real runs, to the byte."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from every_day import slow_unless
from real_cpu import inference_peak
from test_cpu_kernels import ISA
from torch import nn
from torch.ao import quantization

import modelsum
from modelsum.memory.cpu.machine import AVX2

pytestmark = pytest.mark.skipif(ISA != AVX2, reason="oneDNN has kernels of its own with AVX-512")

r = torch.rand
CELLS = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    """torch says at every call that these modules are to move to torchao."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def dynamic(module: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    return quantization.quantize_dynamic(nn.Sequential(module), CELLS, dtype=dtype).eval()


def static(module: nn.Module, x: torch.Tensor) -> nn.Module:
    model = nn.Sequential(quantization.QuantStub(), module, quantization.DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(model)
    prepared(x)
    return quantization.convert(prepared)


def looked_up(module: nn.Module) -> nn.Module:
    model = nn.Sequential(module).eval()
    model.qconfig = quantization.float_qparams_weight_only_qconfig
    return quantization.convert(quantization.prepare(model))


def compare(model: nn.Module, x: Any) -> None:
    memory = modelsum.summarize(model, x, target="cpu").memory
    assert memory is not None
    assert memory.bound == "exact", memory.unmeasured
    assert memory.inference_peak_bytes == inference_peak(model, (x,))


RECURRENT = [
    (kind, steps, options)
    for kind in (nn.LSTM, nn.GRU)
    for steps in (1, 2, 9)
    for options in ({}, {"bidirectional": True}, {"num_layers": 7}, {"batch_first": True, "num_layers": 2})
] + [(nn.LSTM, 3, {"bidirectional": True, "num_layers": 3, "batch_first": True})]


@pytest.mark.parametrize("case", slow_unless(RECURRENT, lambda case: case[1] == 2 and case[0] is nn.LSTM))
def test_layers_that_recur(case: tuple[Any, int, dict[str, Any]]) -> None:
    kind, steps, options = case
    x = r(5, steps, 24) if "batch_first" in options else r(steps, 5, 24)
    compare(dynamic(kind(24, 16, **options)), x)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_step(kind: Any) -> None:
    compare(dynamic(kind(24, 16)), r(5, 24))


@pytest.mark.parametrize("size", [(1, 64), (256, 64), (4, 10, 64)])
def test_a_dynamic_linear_layer(size: tuple[int, ...]) -> None:
    compare(dynamic(nn.Linear(64, 128)), r(size))


STATIC = {
    "linear": (nn.Linear(16, 8), (4, 16)),
    "convolution": (nn.Conv2d(16, 32, 3, padding=1), (4, 16, 16, 16)),
    "depthwise": (nn.Conv2d(16, 16, 3, groups=16), (4, 16, 16, 16)),
    "one dimension": (nn.Conv1d(16, 32, 3), (4, 16, 20)),
    "three dimensions": (nn.Conv3d(16, 32, 3, bias=False), (2, 16, 6, 6, 6)),
    "a net": (
        nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(784, 10)),
        (4, 3, 16, 16),
    ),
}


@pytest.mark.parametrize("name", STATIC)
def test_static(name: str) -> None:
    module, size = STATIC[name]
    compare(static(module, r(size)), r(size))


@pytest.mark.parametrize(
    "module", [nn.Embedding(100, 32), nn.EmbeddingBag(100, 32, include_last_offset=True)]
)
def test_tables(module: nn.Module) -> None:
    compare(looked_up(module), torch.randint(100, (8, 16)))


def test_half_precision_is_a_lower_bound() -> None:
    model, x = dynamic(nn.LSTM(24, 16), torch.float16), r(9, 5, 24)
    memory = modelsum.summarize(model, x, target="cpu").memory
    assert memory is not None
    assert memory.bound == "lower"
    assert memory.inference_peak_bytes is not None
    assert memory.inference_peak_bytes <= inference_peak(model, (x,))
