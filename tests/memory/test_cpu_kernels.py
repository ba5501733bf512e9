"""Memory inside CPU kernels: each rule against the profiler's records of the kernel itself.

The rules of this CPU, which has AVX-512 or AVX2, and of two threads; elsewhere other kernels run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from real_cpu import kernel_bytes
from torch import Tensor

from modelsum.memory.cpu.kernels import KERNELS, lstm_workspace_bytes
from modelsum.memory.cpu.machine import AVX2, ISA_OF, MEASURED_THREADS, OTHER, AtLeast, on_machine

CPU_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
ISA = ISA_OF.get(torch.backends.cpu.get_cpu_capability(), OTHER)
pytestmark = pytest.mark.skipif(ISA == OTHER, reason="the rules were measured with AVX-512 and AVX2")

aten = torch.ops.aten
LAST = torch.channels_last


@pytest.fixture(autouse=True, scope="module")
def as_measured() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(MEASURED_THREADS)
    with on_machine(isa=ISA):
        yield
    torch.set_num_threads(threads)


def compare(op: Any, arguments: tuple[Any, ...], within: float, least: int, **named: Any) -> None:
    """The rule is as far from the kernel's memory as `within` says, or `least` bytes; no bound is above."""
    name = op.name().partition("::")[2].removesuffix(".default")
    figure = KERNELS[name](*arguments, out=op(*arguments, **named), **named)
    assert figure is not None
    predicted = max(0, figure)
    real = kernel_bytes(lambda: op(*arguments, **named))
    if isinstance(figure, AtLeast):
        assert predicted <= real + least
        return
    assert abs(predicted - real) <= max(within * real, least), f"predicted {predicted}, real {real}"


# in, out, pixels, kernel, stride, groups
CONVOLUTIONS = {
    "3x3": (64, 64, 32, 3, 1, 1),
    "1x1": (128, 64, 16, 1, 1, 1),
    "first layer": (3, 32, 32, 3, 2, 1),
    "patches": (3, 192, 64, 16, 16, 1),
    "channels that are no whole blocks": (24, 40, 16, 1, 1, 1),
    "fewer channels than a block": (8, 24, 32, 1, 1, 1),
    "large weight": (256, 512, 4, 3, 1, 1),
    "depthwise": (48, 48, 16, 3, 1, 48),
    "depthwise with padded channels": (24, 24, 16, 3, 2, 24),
    "depthwise 5x5": (96, 96, 8, 5, 1, 96),
    "depthwise 7x7": (96, 96, 16, 7, 1, 96),
    "grouped": (64, 64, 16, 3, 1, 4),
    "3x3 with a stride": (64, 128, 16, 3, 2, 1),
    "1x1 with a stride": (64, 64, 32, 1, 2, 1),
    "1x1 with a stride, channels that are no whole blocks": (48, 40, 16, 1, 2, 1),
    "1x1 of which threads share the channels": (64, 256, 16, 1, 1, 1),
}


def convolution_arguments(case: tuple[int, ...], layout: torch.memory_format, bias: bool) -> tuple[Any, ...]:
    channels_in, channels_out, pixels, kernel, stride, groups = case
    x = torch.rand(8, channels_in, pixels, pixels).to(memory_format=layout)
    weight = torch.rand(channels_out, channels_in // groups, kernel, kernel)
    padding = kernel // 2 if stride < kernel else 0
    settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups)
    return (x, weight, torch.rand(channels_out) if bias else None, *settings)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_of_contiguous_tensors(name: str, bias: bool) -> None:
    compare(
        aten.convolution.default,
        convolution_arguments(CONVOLUTIONS[name], torch.contiguous_format, bias),
        0.005,
        512,
    )


@pytest.mark.parametrize("name", ["3x3", "depthwise", "depthwise 7x7", "grouped", "large weight"])
def test_convolution_of_channels_last_tensors(name: str) -> None:
    compare(aten.convolution.default, convolution_arguments(CONVOLUTIONS[name], LAST, True), 0.02, 1024)


def backward_arguments(arguments: tuple[Any, ...], mask: list[bool]) -> tuple[Any, ...]:
    x, weight, bias, *settings = arguments
    grad = torch.rand_like(aten.convolution(x, weight, bias, *settings))
    return (grad, x, weight, [grad.shape[1]] if bias is not None else [0], *settings, mask)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_backward_of_contiguous_convolutions(name: str) -> None:
    """How threads share the work decides about one more copy of the weight's gradient, at most."""
    forward = convolution_arguments(CONVOLUTIONS[name], torch.contiguous_format, True)
    mask = [name not in ("first layer", "patches"), True, True]
    weight = forward[1].numel() * 4
    compare(aten.convolution_backward.default, backward_arguments(forward, mask), 0.03, 2 * weight + 10_000)


@pytest.mark.parametrize("name", ["3x3", "depthwise", "depthwise 7x7", "grouped", "large weight"])
def test_backward_of_channels_last_convolutions(name: str) -> None:
    forward = convolution_arguments(CONVOLUTIONS[name], LAST, True)
    compare(aten.convolution_backward.default, backward_arguments(forward, [True] * 3), 0.02, 1024)


@pytest.mark.parametrize("mask", [[True, True, False], [False, True, False], [True, False, False]])
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if "1x1" in name])
def test_backward_of_1x1_convolutions_to_the_byte(name: str, mask: list[bool]) -> None:
    """Whose threads share the batch or the channels, and what a stride leaves out, decide about copies."""
    forward = convolution_arguments(CONVOLUTIONS[name], torch.contiguous_format, False)
    compare(aten.convolution_backward.default, backward_arguments(forward, mask), 0, 0)


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "batch"),
    [(64, 64, 13), (48, 64, 13), (16, 64, 11), (64, 16, 11), (128, 32, 21), (32, 128, 21), (16, 128, 17)],
)
def test_the_batch_from_which_threads_share_it(channels_in: int, channels_out: int, batch: int) -> None:
    """One sample fewer, and they share the channels, without sums of their own."""
    for samples in (batch - 1, batch):
        x, weight = torch.rand(samples, channels_in, 16, 16), torch.rand(channels_out, channels_in, 3, 3)
        forward = (x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        arguments = backward_arguments(forward, [False, True, False])
        compare(aten.convolution_backward.default, arguments, 0, 1024)


# size, weight, stride, padding, dilation, transposed: of one sample
ONE_SAMPLE = {
    "3x3": ((16, 15, 15), (64, 16, 3, 3), 1, 1, 1, False),
    "1x1": ((16, 15, 15), (64, 16, 1, 1), 1, 0, 1, False),
    "1x1 with a stride": ((16, 15, 15), (64, 16, 1, 1), 2, 0, 1, False),
    "1x1 with padding": ((16, 15, 15), (64, 16, 1, 1), 1, 1, 1, False),
    "5x3": ((16, 15, 15), (64, 16, 5, 3), 1, 1, 1, False),
    "5x5": ((16, 15, 15), (64, 16, 5, 5), 1, 2, 1, False),
    "dilated": ((16, 15, 15), (64, 16, 3, 3), 1, 2, 2, False),
    "transposed": ((16, 15, 15), (16, 32, 3, 3), 2, 1, 1, True),
    "in one dimension": ((16, 64), (32, 16, 3), 1, 1, 1, False),
    "1 in one dimension": ((16, 64), (32, 16, 1), 1, 0, 1, False),
    "in three dimensions": ((4, 8, 8, 8), (8, 4, 3, 3, 3), 1, 1, 1, False),
    "just small enough": ((20, 32, 32), (32, 20, 3, 3), 1, 1, 1, False),
    "too large": ((32, 32, 32), (32, 32, 3, 3), 1, 1, 1, False),
}


@pytest.mark.parametrize("name", ONE_SAMPLE)
def test_convolution_of_one_small_sample(name: str) -> None:
    """torch does it itself, over columns, up to 20480 elements; a kernel of 5x5 and more is oneDNN's."""
    size, filters, stride, padding, dilation, transposed = ONE_SAMPLE[name]
    x, weight = torch.rand(1, *size), torch.rand(filters)
    n = len(size) - 1
    forward = (x, weight, None, [stride] * n, [padding] * n, [dilation] * n, transposed, [0] * n, 1)
    compare(aten.convolution.default, forward, 0.005, 512)
    for mask in ([True, True, False], [False, True, False], [True, False, False]):
        compare(aten.convolution_backward.default, backward_arguments(forward, mask), 0.005, 512)


def test_the_gradient_of_a_strided_input_is_there_twice() -> None:
    forward = convolution_arguments((256, 64, 16, 1, 2, 1), torch.contiguous_format, False)
    arguments = backward_arguments(forward, [True, False, False])
    assert kernel_bytes(lambda: aten.convolution_backward(*arguments)) == 2 * 8 * 256 * 16 * 16 * 4
    compare(aten.convolution_backward.default, arguments, 0, 0)


@pytest.mark.skipif(ISA != "avx512", reason="the rule was measured with AVX-512")
def test_transposed_convolution() -> None:
    x, weight, bias = torch.rand(8, 32, 16, 16), torch.rand(32, 16, 2, 2), torch.rand(16)
    settings = ([2, 2], [0, 0], [1, 1], True, [0, 0], 1)
    compare(aten.convolution.default, (x, weight, bias, *settings), 0.005, 512)
    grad = torch.rand(8, 16, 32, 32)
    compare(aten.convolution_backward.default, (grad, x, weight, [16], *settings, [True] * 3), 0.01, 10_000)


def test_batch_norm() -> None:
    x, c = torch.rand(8, 64, 32, 32), torch.rand(64)
    compare(aten.native_batch_norm.default, (x, c, c, c.clone(), c.clone(), True, 0.1, 1e-5), 0, 512)
    grad = torch.rand_like(x)
    arguments = (x, c, c.clone(), c.clone(), c, c, True, 1e-5, [True] * 3)
    compare(aten.native_batch_norm_backward.default, (grad, *arguments), 0, 512)


@pytest.mark.parametrize("permuted", [False, True])
def test_layer_norm(permuted: bool) -> None:
    x, w = torch.rand(8, 16, 16, 96), torch.rand(96)
    if permuted:
        x = torch.rand(8, 96, 16, 16).permute(0, 2, 3, 1)
    out, mean, rstd = aten.native_layer_norm(x, [96], w, w, 1e-6)
    compare(aten.native_layer_norm.default, (x, [96], w, w, 1e-6), 0, 512)
    grad = torch.rand_like(out)
    arguments = (grad, x, [96], mean, rstd, w, w, [True] * 3)
    compare(aten.native_layer_norm_backward.default, arguments, 0, 512)


def in_contiguous_heads(length: int) -> Tensor:
    return torch.rand(4, length, 8, 32).transpose(1, 2)


def in_sequence_order(length: int) -> Tensor:
    return torch.rand(length, 4, 8, 32).permute(1, 2, 0, 3)


def in_heads(length: int) -> Tensor:
    return torch.rand(4, 8, length, 32)


of_avx2 = pytest.mark.skipif(ISA != AVX2, reason="see test_cpu_bf16")
LENGTHS = [
    *((length, torch.float32) for length in (17, 64, 200, 800)),
    pytest.param(17, torch.bfloat16, marks=of_avx2),
    pytest.param(200, torch.bfloat16, marks=of_avx2),
    pytest.param(800, torch.bfloat16, marks=[of_avx2, pytest.mark.slow]),
]


@pytest.mark.parametrize(("length", "dtype"), LENGTHS)
@pytest.mark.parametrize("make", [in_contiguous_heads, in_sequence_order, in_heads])
def test_attention(make: Callable[[int], Tensor], length: int, dtype: torch.dtype) -> None:
    """A gradient may be laid out otherwise than the query."""
    q = make(length).to(dtype)
    compare(aten._scaled_dot_product_flash_attention_for_cpu.default, (q, q, q), 0.01, 512)
    out, logsumexp = aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)
    for grad in (torch.rand_like(out), in_heads(length).to(dtype)):
        arguments = (grad, q, q, q, out, logsumexp, 0.0, False)
        compare(aten._scaled_dot_product_flash_attention_for_cpu_backward.default, arguments, 0.01, 512)


def test_embedding_backward_of_a_transposed_gradient() -> None:
    grad = torch.rand(64, 8, 64).transpose(0, 1)
    ids = torch.randint(512, (8, 64))
    compare(aten.embedding_dense_backward.default, (grad, ids, 512, -1, False), 0, 512)


@pytest.mark.parametrize("dims", [[1], [1, 2]])
def test_roll(dims: list[int]) -> None:
    compare(aten.roll.default, (torch.rand(8, 21, 21, 96), [3] * len(dims), dims), 0, 512)


def test_matrix_product_with_an_expanded_gradient() -> None:
    grad = torch.rand(1, 1).expand(8, 1000)
    compare(aten.mm.default, (grad, torch.rand(1000, 64)), 0, 512)
    compare(aten.mm.default, (grad.t(), torch.rand(8, 64)), 0, 512)


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("pixels", [32, 64, 66])
@pytest.mark.parametrize(
    ("name", "settings"), [("upsample_bilinear2d", (False,)), ("upsample_nearest2d", ())]
)
def test_resampling(name: str, settings: tuple[Any, ...], pixels: int, layout: torch.memory_format) -> None:
    """Up to 128 pixels of height and width together, contiguous images are brought to channels_last."""
    x = torch.rand(4, 8, 16, 16).to(memory_format=layout)
    size = [pixels, pixels]
    compare(getattr(aten, name).default, (x, size, *settings), 0, 4096)
    backward = getattr(aten, f"{name}_backward").default
    grad = torch.rand(4, 8, pixels, pixels).to(memory_format=layout)
    compare(backward, (grad, size, list(x.shape), *settings), 0, 512)
    expanded = torch.rand(1, 1, 1, 1).expand(grad.shape)
    compare(backward, (expanded, size, list(x.shape), *settings), 0, 512)


def lstm_arguments(length: int, batch: int, inputs: int, hidden: int, train: bool) -> tuple[Any, ...]:
    sizes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
    weights = [torch.rand(size) for size in sizes]
    states = [torch.rand(batch, hidden) for _ in range(2)]
    settings = (False, [], 2, hidden, 1, True, False, True, train)
    return (torch.rand(length, batch, inputs), *weights, *states, *settings)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("sizes", [(64, 8, 64, 128), (64, 8, 256, 128), (32, 16, 64, 256), (128, 4, 64, 64)])
def test_lstm(sizes: tuple[int, int, int, int], train: bool) -> None:
    with torch.set_grad_enabled(train):
        arguments = lstm_arguments(*sizes, train)
        op = torch.ops.aten.mkldnn_rnn_layer.default
        compare(op, arguments, 0.02, 20_000)
        if train:
            workspace = op(*arguments)[3].numel()
            assert lstm_workspace_bytes(*sizes) == pytest.approx(workspace, rel=0.01)
            backward_of_lstm(arguments)


def backward_of_lstm(arguments: tuple[Any, ...]) -> None:
    x, w1, w2, b1, b2, hx, cx, reverse, sizes, mode, hidden, layers, biases, both, batch_first, train = (
        arguments
    )
    output, hy, cy, workspace = torch.ops.aten.mkldnn_rnn_layer(*arguments)
    grad = torch.rand(1, 1, 1).expand(output.shape)
    tensors = (x, w1, w2, b1, b2, hx, cx, output, hy, cy, grad, None, None)
    settings = (reverse, mode, hidden, layers, biases, train, both, sizes, batch_first, workspace)
    compare(torch.ops.aten.mkldnn_rnn_layer_backward.default, (*tensors, *settings), 0.02, 20_000)


def test_the_table_names_ops_that_torch_has() -> None:
    for name in KERNELS:
        if "::" not in name:  # what torchvision has
            packet, _, overload = name.partition(".")
            assert hasattr(getattr(aten, packet), overload or "default")
