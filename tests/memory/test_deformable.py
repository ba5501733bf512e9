"""Deformable convolutions on the CPU: random ones beside torchvision's kernels, to the byte."""

from __future__ import annotations

import random

import pytest
import torch
from test_native_convolution import LAYOUTS, laid_out, most_bytes

import modelsum
from modelsum.memory.cpu.kernels import KERNELS

pytest.importorskip("torchvision")
ROUNDING = 64


def compare(seed: int) -> None:
    r = random.Random(seed)
    batch, groups, offset_groups = r.choice([1, 2, 5, 33, 40]), r.choice([1, 2]), r.choice([1, 2])
    inputs, outputs = groups * offset_groups * r.choice([1, 2]), groups * r.choice([1, 3])
    kernel, stride, dtype = r.choice([1, 3]), r.choice([1, 2]), r.choice([torch.float32, torch.float64])
    pixels, size = 8, -(-8 // stride)
    taps = offset_groups * kernel * kernel
    x, bias = torch.rand(batch, inputs, pixels, pixels), torch.rand(outputs)
    weight = torch.rand(outputs, inputs // groups, kernel, kernel)
    uses_mask = r.random() < 0.5
    mask = torch.rand(batch, taps, size, size) if uses_mask else torch.zeros(batch, 1)
    offset = laid_out(torch.rand(batch, 2 * taps, size, size), r.choice(LAYOUTS))
    tensors = [t.to(dtype) for t in (laid_out(x, r.choice(LAYOUTS)), weight, offset, mask, bias)]
    pads = kernel // 2
    settings = (stride, stride, pads, pads, 1, 1, groups, offset_groups, uses_mask)
    op, derivative = torch.ops.torchvision.deform_conv2d, torch.ops.torchvision._deform_conv2d_backward
    y = op(*tensors, *settings)
    grad = laid_out(torch.rand_like(y), r.choice(LAYOUTS))
    forward = KERNELS["torchvision::deform_conv2d"](*tensors, *settings, out=y)
    backward = KERNELS["torchvision::_deform_conv2d_backward"](grad, *tensors, *settings, out=None)
    results = sum(t.numel() * t.element_size() for t in tensors)
    assert forward == most_bytes(lambda: op(*tensors, *settings)) - y.nbytes
    real = most_bytes(lambda: derivative(grad, *tensors, *settings)) - results
    assert backward == pytest.approx(real, abs=ROUNDING)


@pytest.mark.parametrize("seeds", [range(15), pytest.param(range(15, 150), marks=pytest.mark.slow)])
def test_random_deformable_convolutions(seeds: range) -> None:
    for seed in seeds:
        compare(seed)


def test_the_columns_of_eight_samples() -> None:
    """Nine numbers for each of 16 channels and 100 positions, and the result twice more."""
    x, weight, offset = torch.rand(8, 16, 10, 10), torch.rand(24, 16, 3, 3), torch.rand(8, 18, 10, 10)
    y = torch.rand(8, 24, 10, 10)
    settings = (1, 1, 1, 1, 1, 1, 1, 1, False)
    rule = KERNELS["torchvision::deform_conv2d"]
    columns = 4 * 8 * 9 * 16 * 100
    assert (
        rule(x, weight, offset, torch.zeros(8, 1), torch.rand(24), *settings, out=y) == columns + 2 * y.nbytes
    )


def test_a_layer_is_exact() -> None:
    from torchvision.ops import DeformConv2d

    class Deformed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = DeformConv2d(4, 4, 3, padding=1)

        def forward(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.conv(x, offset)
            return result

    memory = modelsum.summarize(
        Deformed(), torch.rand(2, 4, 8, 8), torch.rand(2, 18, 8, 8), target="cpu"
    ).memory
    assert memory is not None
    assert memory.bound == "exact"
