"""Memory inside CPU kernels in bfloat16: each rule against the profiler's records of the kernel itself.

The numbers hold for oneDNN on x86 with AVX-512 BF16 and two threads; elsewhere other kernels run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from test_cpu_kernels import (
    CONVOLUTIONS,
    CPU_FLAGS,
    LAST,
    aten,
    backward_arguments,
    compare,
    convolution_arguments,
    in_contiguous_heads,
    in_sequence_order,
)

from modelsum.memory.cpu.machine import MEASURED_THREADS

pytestmark = pytest.mark.skipif("avx512_bf16" not in CPU_FLAGS, reason="the rules were measured with it")

BF16 = torch.bfloat16
CONVOLUTIONS = {
    **CONVOLUTIONS,
    "1x1, stride 2": (256, 512, 16, 1, 2, 1),
    "1x1, many channels, few positions": (256, 1024, 4, 1, 1, 1),
    "7x7 first layer": (3, 64, 64, 7, 2, 1),
}
FIRST_LAYERS = ("first layer", "patches", "7x7 first layer")


@pytest.fixture(autouse=True, scope="module")
def as_measured() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(MEASURED_THREADS)
    yield
    torch.set_num_threads(threads)


def in_bf16(arguments: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(a.to(BF16) if isinstance(a, torch.Tensor) else a for a in arguments)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str) -> None:
    arguments = in_bf16(convolution_arguments(CONVOLUTIONS[name], torch.contiguous_format, True))
    compare(aten.convolution.default, arguments, 0.005, 1024)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_backward_of_convolution(name: str) -> None:
    """The gradient of a first layer's input is not asked for."""
    forward = in_bf16(convolution_arguments(CONVOLUTIONS[name], torch.contiguous_format, True))
    mask = [name not in FIRST_LAYERS, True, True]
    within, least = (0, 40_000) if "depthwise" in name else (0.006, 2048)
    if name == "patches":
        least = 100_000
    compare(aten.convolution_backward.default, in_bf16(backward_arguments(forward, mask)), within, least)


@pytest.mark.parametrize("name", ["3x3", "1x1", "depthwise 7x7", "grouped", "large weight"])
def test_convolution_in_channels_last(name: str) -> None:
    """As convnext has it: a depthwise filter is padded to 16 x 16 of them, twice in float32."""
    forward = in_bf16(convolution_arguments(CONVOLUTIONS[name], LAST, True))
    compare(aten.convolution.default, forward, 0.02, 1024)
    compare(aten.convolution_backward.default, in_bf16(backward_arguments(forward, [True] * 3)), 0.005, 2048)


# rows, depth, columns
PRODUCTS = [(8, 1280, 1000), (512, 128, 512), (136, 3072, 768), (1024, 1024, 1024), (2048, 4096, 1024)]


@pytest.mark.parametrize("sizes", PRODUCTS)
def test_matrix_products(sizes: tuple[int, int, int]) -> None:
    """Of a linear layer: forward pass, gradient of the input, gradient of the weight."""
    rows, depth, columns = sizes
    x, weight = torch.rand(rows, depth).to(BF16), torch.rand(columns, depth).to(BF16)
    grad = torch.rand(rows, columns).to(BF16)
    compare(aten.addmm.default, (torch.rand(columns).to(BF16), x, weight.t()), 0.03, 1024)
    compare(aten.mm.default, (grad, weight), 0.03, 1024)
    compare(aten.mm.default, (grad.t(), x), 0.05, 140_000)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_batch_norm(layout: torch.memory_format, dtype: torch.dtype) -> None:
    """Under autocast its weights are in float32."""
    x, c = torch.rand(8, 64, 32, 32).to(BF16, memory_format=layout), torch.rand(64).to(dtype)
    compare(aten.native_batch_norm.default, (x, c, c, c.clone(), c.clone(), True, 0.1, 1e-5), 0, 1024)
    arguments = (torch.rand_like(x), x, c, c.clone(), c.clone(), c, c, True, 1e-5, [True] * 3)
    compare(aten.native_batch_norm_backward.default, arguments, 0, 1024)


@pytest.mark.parametrize("length", [64, 200, 800])
@pytest.mark.parametrize("make", [in_contiguous_heads, in_sequence_order])
def test_attention(make: object, length: int) -> None:
    q = make(length).to(BF16)
    compare(aten._scaled_dot_product_flash_attention_for_cpu.default, (q, q, q), 0.01, 512)
    out, logsumexp = aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)
    arguments = (torch.rand_like(out), q, q, q, out, logsumexp, 0.0, False)
    compare(aten._scaled_dot_product_flash_attention_for_cpu_backward.default, arguments, 0.06, 512)


def test_operands_of_another_type_are_cast() -> None:
    """What a residual connection does under autocast; a number is no operand to cast."""
    wide, narrow = torch.rand(8, 64, 32, 32), torch.rand(8, 64, 32, 32).to(BF16)
    compare(aten.add.Tensor, (wide, narrow), 0, 64)
    compare(aten.add_.Tensor, (wide, narrow), 0, 64)
    compare(aten.mul.Tensor, (narrow, narrow), 0, 64)
    compare(aten.mul.Tensor, (narrow, torch.tensor(2.0)), 0, 64)


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_reductions(dtype: torch.dtype) -> None:
    x = torch.rand(8, 64, 32, 32).to(dtype)
    compare(aten.mean.dim, (x, [2, 3]), 0, 512)
    compare(aten.mean.default, (x,), 0, 512)
    for dims in ([0], [2, 3], [1, 2, 3], [0, 2, 3], [0, 2]):
        compare(aten.sum.dim_IntList, (x, dims), 0, 512)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_resampling(layout: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.rand(8, 5, 16, 16).to(dtype, memory_format=layout)
    compare(aten.upsample_nearest2d.default, (x, [32, 32]), 0, 512)
    compare(aten.upsample_bilinear2d.default, (x, [32, 32], False), 0, 512)
