"""Convolutions that torch does itself: random ones of every kind beside the kernel, to the byte."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
import torch
from real_cpu import recorded
from test_cpu_kernels import ISA, aten
from torch import Tensor

from modelsum.memory.cpu.kernels import KERNELS
from modelsum.memory.cpu.machine import AVX2, AtLeast, on_machine
from modelsum.memory.cpu.native_convolution import is_native

pytestmark = pytest.mark.skipif(ISA != AVX2, reason="oneDNN does those in 16 bits with AVX-512")

TYPES = torch.bfloat16, torch.float16, torch.float64, torch.float32
ROUNDING = 64  # of the numbers that a bias is summed in


class Sample(NamedTuple):
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    settings: tuple[Any, ...]


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same sizes, lying otherwise."""
    if layout == "channels last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "turned":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "one sample, repeated":
        return tensor[:1].expand(tensor.shape)
    if layout == "a part":
        return torch.cat([tensor, tensor], 1)[:, : tensor.shape[1]]
    return tensor


LAYOUTS = "contiguous", "contiguous", "channels last", "turned", "one sample, repeated", "a part"


def sample(r: random.Random) -> Sample:
    """A convolution of one to three dimensions; of float32 few are torch's own."""
    n, transposed, groups = r.choice([1, 2, 2, 3]), r.random() < 0.35, r.choice([1, 1, 2, 4])
    dtype = r.choice(TYPES)
    inputs, outputs = (groups * r.choice([1, 2, 3, 5]) for _ in range(2))
    if r.random() < 0.2:
        groups = outputs = inputs
    kernel = [r.choice([1, 1, 2, 3, 4, 5])] * n
    size = [r.choice([5, 8] if n == 3 else [5, 8, 12]) + r.randrange(2) for _ in range(n)]
    dilation = r.choice([1, 1, 2])
    settings = (
        *([r.choice(k)] * n for k in ([1, 1, 2], [0, 1, 2])),
        [dilation] * n,
        transposed,
        [0] * n,
        groups,
    )
    filters = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    batch = 1 if dtype == torch.float32 else r.choice([1, 2, 4])
    x = laid_out(torch.rand(batch, inputs, *size).to(dtype), r.choice(LAYOUTS))
    weight = laid_out(
        torch.rand(*filters, *kernel).to(dtype), r.choice(["contiguous", "contiguous", "channels last"])
    )
    return Sample(x, weight, torch.rand(outputs).to(dtype) if r.random() < 0.6 else None, settings)


def most_bytes(action: Any) -> int:
    action()
    live = most = 0
    for _, nbytes in recorded(action):
        live += nbytes
        most = max(most, live)
    return most


def check(predicted: int, real: int) -> None:
    if isinstance(predicted, AtLeast):
        assert predicted <= real
    else:
        assert abs(max(predicted, 0) - real) <= ROUNDING


def compare(seed: int, threads: int) -> None:
    r = random.Random(seed)
    x, weight, bias, settings = sample(r)
    stride, _, dilation, _, _, groups = settings
    try:
        y = aten.convolution(x, weight, bias, *settings)
    except RuntimeError:
        return  # a kernel that is larger than its input
    layout, mask = r.choice([*LAYOUTS, "all alike"]), [r.random() < 0.7 for _ in range(3)]
    grad = (
        torch.ones(1).to(y.dtype).expand(y.shape)
        if layout == "all alike"
        else laid_out(torch.rand_like(y), layout)
    )
    backward = (grad, x, weight, [y.shape[1]], *settings, mask)
    with on_machine(threads=threads, isa=AVX2):
        if not any(mask) or not is_native(x, weight, stride, dilation, groups):
            return
        predicted = KERNELS["convolution"](x, weight, bias, *settings, out=y)
        of_backward = KERNELS["convolution_backward"](*backward, out=None)
    assert predicted is not None
    assert of_backward is not None
    check(
        predicted,
        most_bytes(lambda: aten.convolution(x, weight, bias, *settings)) - y.numel() * y.element_size(),
    )
    made = (x.numel(), weight.numel(), y.shape[1])
    result = sum(n for n, is_made in zip(made, mask, strict=True) if is_made) * y.element_size()
    check(of_backward, most_bytes(lambda: aten.convolution_backward(*backward)) - result)


@pytest.mark.parametrize(
    ("seeds", "threads"),
    [(range(20), 2), *(pytest.param(range(20, 600), n, marks=pytest.mark.slow) for n in (1, 2, 3))],
)
def test_random_convolutions(seeds: range, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for seed in seeds:
            compare(seed, threads)
    finally:
        torch.set_num_threads(before)


def test_columns_of_a_whole_batch_in_bfloat16() -> None:
    """Nine numbers for each of 20 channels and 144 positions of 4 samples; dilated, of one sample."""
    x, weight = torch.rand(4, 20, 12, 12).bfloat16(), torch.rand(24, 20, 3, 3).bfloat16()
    y = torch.rand(4, 24, 12, 12).bfloat16()
    with on_machine(isa=AVX2):
        for dilation, samples in ((1, 4), (2, 1)):
            settings = ([1, 1], [dilation] * 2, [dilation] * 2, False, [0, 0], 1)
            assert KERNELS["convolution"](x, weight, None, *settings, out=y) == 2 * 9 * 20 * 144 * samples
