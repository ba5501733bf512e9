"""Convolutions on a CPU with AVX2: each rule beside the kernel, with as many kinds as oneDNN has kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from every_day import slow_unless
from real_cpu import kernel_bytes
from test_cpu_kernels import ISA, aten, backward_arguments, compare
from torch import Tensor

from modelsum.memory.cpu.kernels import KERNELS
from modelsum.memory.cpu.machine import AVX2, OTHER, AtLeast, on_machine

pytestmark = pytest.mark.skipif(ISA != AVX2, reason="oneDNN takes other kernels on this CPU")

THREADS = [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]

# input, weight, stride, padding, dilation, groups
KINDS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int, int, int]] = {
    "blocks of 8": ((4, 20, 16, 16), (36, 20, 3, 3), 1, 1, 1, 1),
    "few positions, whose weight is derived by products": ((2, 64, 2, 2), (64, 64, 3, 3), 1, 1, 1, 1),
    "a stride": ((4, 24, 17, 17), (40, 24, 3, 3), 2, 1, 1, 1),
    "1x1": ((4, 40, 14, 14), (24, 40, 1, 1), 1, 0, 1, 1),
    "1x1 with a stride": ((4, 40, 14, 14), (24, 40, 1, 1), 2, 0, 1, 1),
    "first layer": ((4, 3, 32, 32), (20, 3, 7, 7), 2, 3, 1, 1),
    "patches": ((4, 3, 32, 32), (96, 3, 8, 8), 8, 0, 1, 1),
    "dilated": ((4, 24, 16, 16), (24, 24, 3, 3), 1, 2, 2, 1),
    "groups of blocks": ((4, 32, 16, 16), (64, 8, 3, 3), 1, 1, 1, 4),
    "groups of fewer channels": ((4, 12, 16, 16), (24, 3, 3, 3), 1, 1, 1, 4),
    "depthwise": ((4, 20, 16, 16), (20, 1, 3, 3), 1, 1, 1, 20),
    "depthwise 7x7": ((4, 24, 14, 14), (24, 1, 7, 7), 1, 3, 1, 24),
    "depthwise dilated": ((4, 24, 14, 14), (24, 1, 3, 3), 1, 2, 2, 24),
    "one dimension": ((4, 24, 100), (40, 24, 5), 1, 2, 1, 1),
    "one dimension, depthwise": ((4, 24, 100), (24, 1, 5), 1, 2, 1, 24),
    "three dimensions": ((2, 16, 8, 8, 8), (24, 16, 3, 3, 3), 1, 1, 1, 1),
    "three dimensions, unpadded": ((2, 16, 8, 8, 8), (24, 16, 3, 3, 3), 1, 0, 1, 1),
    "three dimensions, depthwise": ((2, 16, 8, 8, 8), (16, 1, 3, 3, 3), 1, 1, 1, 16),
    "more padding than a kernel unrolls": ((4, 16, 12, 12), (16, 16, 3, 3), 1, 3, 1, 1),
}


@pytest.fixture(autouse=True)
def threads_are_put_back() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


# input, weight, stride, padding, dilation, groups
TRANSPOSED: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int, int, int]] = {
    "2x2": ((2, 32, 16, 16), (32, 20, 2, 2), 2, 0, 1, 1),
    "4x4": ((2, 32, 16, 16), (32, 16, 4, 4), 2, 1, 1, 1),
    "rows that the stride does not divide": ((2, 16, 16, 16), (16, 4, 3, 3), 2, 0, 1, 1),
    "without a stride": ((2, 32, 16, 16), (32, 20, 3, 3), 1, 1, 1, 1),
    "depthwise": ((2, 24, 16, 16), (24, 1, 4, 4), 2, 1, 1, 24),
    "in groups": ((2, 32, 16, 16), (32, 4, 4, 4), 2, 1, 1, 4),
    "in one dimension": ((2, 16, 64), (16, 8, 4), 2, 1, 1, 1),
    "in three dimensions": ((2, 16, 8, 8, 8), (16, 8, 2, 2, 2), 2, 0, 1, 1),
}


def check(
    x: Tensor, weight: Tensor, settings: tuple[int, ...], threads: int, transposed: bool = False
) -> None:
    """Forward pass and every part of the backward pass, to a cache line."""
    stride, padding, dilation, groups = settings
    n = x.dim() - 2
    rest = ([stride] * n, [padding] * n, [dilation] * n, transposed, [0] * n, groups)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    forward: tuple[Any, ...] = (x, weight, torch.rand(channels), *rest)
    torch.set_num_threads(threads)
    with on_machine(threads=threads, isa=AVX2):
        compare(aten.convolution.default, forward, 0.001, 64)
        for mask in ([True] * 3, [True, False, False], [False, True, True]):
            compare(aten.convolution_backward.default, backward_arguments(forward, mask), 0.001, 64)


def these(kinds: dict[str, Any], *names: str) -> list[Any]:
    """Those of these names every day."""
    return slow_unless(kinds, lambda name: name in names)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "name", these(KINDS, "a stride", "1x1 with a stride", "groups of fewer channels", "three dimensions")
)
def test_every_kind(name: str, threads: int) -> None:
    size, filters, *settings = KINDS[name]
    check(torch.rand(size), torch.rand(filters), tuple(settings), threads)


@pytest.mark.parametrize("name", these(TRANSPOSED, "4x4", "rows that the stride does not divide"))
def test_transposed(name: str) -> None:
    """Forward as the gradient of an input, and backward as a convolution goes forward."""
    size, filters, *settings = TRANSPOSED[name]
    check(torch.rand(size), torch.rand(filters), tuple(settings), 2, transposed=True)


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "a part of channels last": lambda x: torch.cat([x, x], 1).contiguous(memory_format=torch.channels_last)[
        :, : x.shape[1]
    ],
    "turned": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "one sample, repeated": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.parametrize("layout", these(LAYOUTS, "a part of channels last"))
@pytest.mark.parametrize("name", ["depthwise 7x7", "1x1", "first layer", "groups of blocks", "a stride"])
def test_layouts(name: str, layout: str) -> None:
    """What has its channels last is taken so; what is laid out in another way is copied first."""
    size, filters, *settings = KINDS[name]
    check(LAYOUTS[layout](torch.rand(size)), torch.rand(filters), tuple(settings), 2)


UNEVEN = {
    "one row": ((2, 64, 1, 1599), (64, 64, 1, 3), 2),
    "one row, 1x1": ((4, 64, 1, 199), (32, 64, 1, 1), 2),
    "wide": ((8, 64, 20, 113), (64, 64, 3, 3), 2),
    "few channels": ((3, 16, 3, 169), (16, 16, 3, 3), 3),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_rows_that_the_stride_does_not_divide_are_bounded(name: str) -> None:
    """How much of one is made at once is not known."""
    size, filters, stride = UNEVEN[name]
    x, weight = (torch.rand(s).contiguous(memory_format=torch.channels_last) for s in (size, filters))
    forward = (x, weight, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], 1)
    arguments = backward_arguments(forward, [True, False, False])
    torch.set_num_threads(2)
    with on_machine(threads=2, isa=AVX2):
        told = KERNELS["convolution_backward"](*arguments, out=aten.convolution_backward.default(*arguments))
    real = kernel_bytes(lambda: aten.convolution_backward.default(*arguments))
    assert isinstance(told, AtLeast)
    assert told <= real <= told + (told.spare or 0)


def test_products_in_bfloat16_need_nothing_but_copies() -> None:
    x, weight, grad = (torch.rand(size).bfloat16() for size in ((64, 512), (96, 512), (64, 96)))
    with on_machine(isa=AVX2):
        compare(aten.addmm.default, (torch.rand(96).bfloat16(), x, weight.t()), 0, 0)
        compare(aten.mm.default, (grad.t(), x), 0, 0)
        compare(aten.mm.default, (torch.ones(1).bfloat16().expand(64, 96), weight), 0, 64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_batches_of_products_in_16_bits_copy_what_blas_cannot_take(dtype: torch.dtype) -> None:
    def laid_out(rows: int, columns: int) -> list[Tensor]:
        return [
            torch.rand(3, rows, columns).to(dtype),
            torch.rand(3, columns, rows).to(dtype).transpose(1, 2),
            torch.rand(1, 1, columns).to(dtype).expand(3, rows, columns),
            torch.rand(rows, columns, 3).to(dtype).permute(2, 0, 1),
        ]

    with on_machine(isa=AVX2):
        for left in laid_out(20, 24):
            for right in laid_out(24, 28):
                compare(aten.bmm.default, (left, right), 0, 0)


def test_nothing_is_known_of_other_cpus() -> None:
    rest = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    x, weight = torch.rand(2, 64, 8, 8), torch.rand(64, 64, 3, 3)
    with on_machine(isa=OTHER):
        assert KERNELS["convolution"](x, weight, None, *rest, out=x) is None
        assert KERNELS["convolution"](x.bfloat16(), weight.bfloat16(), None, *rest, out=x.bfloat16()) is None
