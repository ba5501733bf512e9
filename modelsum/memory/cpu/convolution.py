"""What oneDNN's convolutions allocate on the CPU, beyond the tensors that they are given and return.

Measured op by op with the profiler's records of the allocator (tests/memory/test_cpu_kernels.py does it
again), torch 2.14.1, oneDNN on x86 with AVX-512, float32, 2 threads; what bfloat16 needs beyond that is in
`modelsum.memory.cpu.convolution_bf16`:

- *Contiguous tensors* are brought to oneDNN's blocked layout, channels in blocks of 16, and the result is
  brought back. So a forward pass has copies of input, weight and output, then the output twice. A first
  layer of up to 4 channels is read as it is. A backward pass does this for the gradient of the input, then
  for that of the weight.
- *channels_last tensors* are used as they are. The weight is copied to channels_last and then blocked.
- The gradient of the weight is summed by each thread on its own where the batch is split among them, which
  is where that moves fewer bytes (jit_avx512_common_conv_kernel.cpp, `balance`; 1 x 1 has its own).
- Where there is a stride, the gradient of the input is there twice at the end, and a 1 x 1 convolution takes
  a copy of the input without the positions left out.
- What the vectorised kernels do not do goes through a matrix product: the weight's gradient of a depthwise
  convolution larger than 3 x 3, and of any kernel wider than 14.
"""

from __future__ import annotations

from math import prod
from typing import Any

from modelsum.memory.cpu import convolution_avx2
from modelsum.memory.cpu.convolution_bf16 import Bf16Scratch
from modelsum.memory.cpu.layouts import nbytes
from modelsum.memory.cpu.machine import AVX2, AVX512, BLOCK, isa, measured_on_two_threads, threads
from modelsum.memory.cpu.native_convolution import backward_bytes, forward_bytes, is_native

_FLAT_CHANNELS = 4  # up to so many input channels, a first layer's input is not blocked
_WIDEST_KERNEL = 14
_LARGEST_TRANSPOSED = 9
_WIDEST_FIRST_KERNEL = 24  # of a first layer in bfloat16
_BARRIER_BYTES = 4096  # for each thread that takes part in a reduction
_ENTRY_BYTES = 128  # with every entry of a scratchpad


def _brgemm_bytes() -> int:
    """Scratch of the batch-reduce kernels, channels_last."""
    return 6144 * threads() + 48


def _up(n: int, to: int = BLOCK) -> int:
    return -(-n // to) * to


def _divider(n: int, least: int) -> int:
    """The smallest number from `least` on that divides n, or n (oneDNN's best_divider)."""
    return next((d for d in range(min(least, n), n + 1) if n % d == 0), n)


def _is_channels_last(tensor: Any) -> bool:
    """Whether a tensor of four dimensions is laid out as channels_last and not as contiguous."""
    if tensor.dim() != 4 or tensor.is_contiguous():
        return False
    _, channel, row, column = tensor.stride()
    return bool(channel == 1 and column == tensor.shape[1] and row == column * tensor.shape[3])


def is_measured(
    x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, groups: int
) -> bool:
    """Whether a convolution is of a kind whose memory was measured on real kernels.

    Of two dimensions and not dilated: of one group, of one for each channel, or of groups of whole blocks of
    channels, with a kernel that is smaller than the image with its padding. Transposed: of one group, of
    whole blocks of channels, with a stride and up to 9 x 9.
    """
    kernel = tuple(weight.shape[2:])
    if weight.element_size() not in (2, 4) or x.dim() != 4 or max(dilation) > 1:
        return False
    whole = weight.shape[1] % BLOCK == 0 and weight.shape[0] // groups % BLOCK == 0
    if transposed:
        return bool(groups == 1 and whole and min(stride) > 1 and max(kernel) <= _LARGEST_TRANSPOSED)
    depthwise = groups == x.shape[1] == weight.shape[0]
    if not (groups == 1 or depthwise or whole):
        return False
    if depthwise and not (x.is_contiguous() or _is_channels_last(x)):
        return False
    covered = zip(x.shape[2:], kernel, padding, strict=True)
    return prod(kernel) == 1 or any(size + 2 * pad > extent for size, extent, pad in covered)


class _Convolution:
    """The sizes that a convolution's memory depends on, in bytes; "blocked" has its channels padded."""

    def __init__(
        self, x: Any, weight: Any, y: Any, stride: Any, padding: Any, transposed: bool, groups: int
    ) -> None:
        element: int = weight.element_size()
        filters: tuple[int, ...] = tuple(weight.shape)
        y_shape: tuple[int, ...] = tuple(y.shape)
        channels: int = x.shape[1]
        self.element = element
        self.groups = groups
        self.kernel = filters[2:]
        self.is_strided = max(stride) > 1 and not transposed
        self.channels_last = _is_channels_last(x) or (_is_channels_last(weight) and x.dim() == 4)
        self.blocks_in = -(-channels // BLOCK)
        self.depthwise = groups > 1 and groups == channels and filters[1] == 1
        # Of several groups, only depthwise ones are padded: the others have whole blocks, or none.
        pads = groups == 1 or self.depthwise
        self.flat = not self.depthwise and groups == 1 and channels <= _FLAT_CHANNELS
        self.x = nbytes(x)
        self.weight = nbytes(weight)
        self.y = prod(y_shape) * element
        self.outputs = filters[0]
        to = BLOCK if pads else 1
        rows = filters[1] if self.depthwise or self.flat else _up(filters[1], to)
        if self.flat and element == 2:
            rows += rows % 2  # numbers in bfloat16 are multiplied in pairs
        self.blocked_x = 0 if self.flat else self.x // channels * _up(channels, to)
        self.blocked_y = self.y // y_shape[1] * _up(y_shape[1], to)
        self.blocked_weight = _up(filters[0], to) * rows * prod(self.kernel) * element
        self.bias = y_shape[1] * element
        self.is_padded = self.blocked_y != self.y
        # im2col for one sample and group: a row for each weight of a filter, a column for each position.
        per_group = filters[0 if transposed else 1]
        self.columns = per_group * prod(self.kernel) * prod(y_shape[2:]) * element
        widest = _WIDEST_FIRST_KERNEL if self.flat and element == 2 else _WIDEST_KERNEL
        self.is_pointwise = prod(self.kernel) == 1 and groups == 1 and not any(padding) and not transposed
        self.blocks_out = _up(y_shape[1]) // BLOCK
        self.outputs_of_sample = prod(y_shape[2:])
        self.positions = y_shape[0] * self.outputs_of_sample
        self.uses_columns = (self.depthwise and max(self.kernel) > 3) or max(self.kernel) > widest

    @property
    def weight_in_channels_last(self) -> int:
        """The copy of the weight, where channels_last is not the same as contiguous for it."""
        return 0 if prod(self.kernel) == 1 or self.depthwise else self.weight

    def unstrided(self, blocks: int) -> int:
        """For each thread, blocks of the input without the positions that a stride leaves out.

        Of a 1 x 1 convolution (oneDNN's rtus_driver).
        """
        if not (self.is_pointwise and self.is_strided):
            return 0
        return threads() * self.outputs_of_sample * BLOCK * blocks * self.element + _ENTRY_BYTES

    def pointwise_reduction(self, wants_bias: bool) -> int:
        """As `reduction`, of a 1 x 1 convolution.

        The threads share the batch where that moves the fewest numbers, each of the weight counted twelve
        times (jit_avx512_common_1x1_conv_kernel.cpp, `balance`).
        """

        def cost(batch: int, outputs: int, inputs: int) -> float:
            of_in, of_out = BLOCK * -(-self.blocks_in // inputs), BLOCK * -(-self.blocks_out // outputs)
            return self.positions * (of_in + of_out) / batch + 12 * of_in * of_out

        scratch = self.unstrided(_divider(self.blocks_in, 5))
        if wants_bias and self.is_padded:
            scratch += 4 * BLOCK * self.blocks_out + _ENTRY_BYTES
        if threads() > 1 and cost(threads(), 1, 1) <= min(cost(1, threads(), 1), cost(1, 1, threads())):
            scratch += (threads() - 1) * self.blocked_weight + threads() * _BARRIER_BYTES + _ENTRY_BYTES
        return scratch

    def reduction(self) -> int:
        """What the threads' own sums of the weight's gradient take."""
        if self.uses_columns and self.element == 2:
            return threads() * (6 * self.weight + self.columns) + 896  # the sums are in float32
        if self.uses_columns:
            return threads() * (4 * self.weight + self.columns) + 256
        if self.groups > 1 or threads() == 1:
            return 0
        # Cheaper than sharing channels from so many positions on for each weight of a filter and channel: by
        # fitting the batches of 16 x 16 images at which 7 pairs of channel counts go from one to the other.
        fewest, most = sorted((self.blocks_in, self.blocks_out))
        if self.positions < prod(self.kernel) * BLOCK * most * (6.55 - (most / fewest) ** 0.5):
            return 0
        sums = (threads() - 1) * self.blocked_weight
        return sums + threads() * _BARRIER_BYTES + 4 * _up(self.bias // 4) + _ENTRY_BYTES


@measured_on_two_threads
def convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *,
    out: Any,
) -> int | None:
    """A forward pass; None where its kind was not measured."""
    if is_native(x, weight, stride, dilation, groups):
        return forward_bytes(x, weight, bias, out, stride, padding, dilation, transposed, groups)
    if isa() != AVX512:
        if not _is_of_avx2(x, weight):
            return None
        on_avx2 = convolution_avx2.transposed_forward if transposed else convolution_avx2.forward
        return on_avx2(x, weight, bias, stride, padding, dilation, groups, out)
    if not is_measured(x, weight, stride, padding, dilation, transposed, groups):
        return None
    conv = _Convolution(x, weight, out, stride, padding, transposed, groups)
    low = _low_precision(x, weight, out, stride, padding, transposed, groups, bias is not None, conv)
    if conv.channels_last:
        scratch = _brgemm_bytes() if groups == 1 else 0
        blocked = conv.weight // conv.outputs * _up(conv.outputs, 32 if groups == 1 else BLOCK)
        return conv.weight_in_channels_last + blocked + scratch
    copied = 0 if x.is_contiguous() else conv.x
    if transposed:
        return copied + 2 * conv.y
    padded_bias = _up(conv.bias, 4 * BLOCK) + 128 if bias is not None and conv.is_padded else 0
    while_running = conv.blocked_x + conv.blocked_weight + conv.blocked_y + padded_bias - conv.y
    while_running += low.forward if low else conv.unstrided(conv.blocks_in)
    return copied + max(while_running, conv.blocked_y)


@measured_on_two_threads
def convolution_backward(
    grad: Any,
    x: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Any,
    *,
    out: Any,
) -> int | None:
    """A backward pass: first for the input, then for weight and bias; None where it was not measured."""
    if is_native(x, weight, stride, dilation, groups):
        return backward_bytes(x, weight, grad, stride, padding, dilation, transposed, groups, output_mask)
    if isa() != AVX512:
        if not _is_of_avx2(x, weight):
            return None
        on_avx2 = convolution_avx2.transposed_backward if transposed else convolution_avx2.backward
        return on_avx2(grad, x, weight, stride, padding, dilation, groups, output_mask)
    if not is_measured(x, weight, stride, padding, dilation, transposed, groups):
        return None
    conv = _Convolution(x, weight, grad, stride, padding, transposed, groups)
    wants_x, wants_weight, wants_bias = output_mask
    bias = conv.bias if wants_bias else 0
    low = _low_precision(x, weight, grad, stride, padding, transposed, groups, wants_bias, conv)
    if conv.channels_last:
        return _channels_last_backward(conv, low, wants_weight, bias)
    copied = (0 if grad.is_contiguous() else conv.y) + (0 if x.is_contiguous() else conv.x)
    result = (conv.weight if wants_weight else 0) + bias
    for_x = for_weight = 0
    if wants_x:
        blocked = max(conv.blocked_x, conv.x)
        for_x = max(conv.blocked_y + conv.blocked_weight + blocked - conv.x, blocked) - result
        if low and low.strided_input:
            for_x = max(conv.y + low.paired_weight + low.for_input, 2 * conv.x) - result
        elif low:
            for_x += low.for_input
        elif conv.is_strided and groups == 1:
            for_x = max(for_x, 2 * conv.x - result)  # its result is copied twice
    if wants_weight:
        blocked_both = 0 if conv.uses_columns else conv.blocked_y + conv.blocked_x
        if low and not conv.uses_columns:
            scratch = low.for_weight
        else:
            scratch = conv.pointwise_reduction(wants_bias) if conv.is_pointwise else conv.reduction()
        while_running = blocked_both + conv.blocked_weight + scratch + bias
        at_end = conv.blocked_weight + conv.weight + 2 * bias
        for_weight = max(while_running, at_end) - result
    return copied + max(for_x, for_weight, 0)


def _is_of_avx2(x: Any, weight: Any) -> bool:
    """Whether oneDNN's kernels for AVX2 do a convolution, as far as they are known."""
    return bool(isa() == AVX2 and weight.element_size() == 4 and x.numel() and weight.numel())


def _channels_last_backward(
    conv: _Convolution, low: Bf16Scratch | None, wants_weight: bool, bias: int
) -> int:
    copied = conv.weight_in_channels_last
    if not wants_weight:
        return copied + conv.blocked_weight + _brgemm_bytes()
    blocked = conv.blocked_weight
    if conv.depthwise and max(conv.kernel) > 3:
        # Taken for a grouped convolution: each filter is padded to a block of 16 x 16.
        blocked = BLOCK * BLOCK * conv.weight
    at_end = conv.weight + bias
    return copied + blocked + (max(low.for_weight - conv.weight, at_end) if low else at_end)


def _low_precision(
    x: Any,
    weight: Any,
    y: Any,
    stride: Any,
    padding: Any,
    transposed: bool,
    groups: int,
    bias: bool,
    conv: _Convolution,
) -> Bf16Scratch | None:
    if conv.element != 2 or transposed or not conv.x or not conv.weight:
        return None
    return Bf16Scratch(
        x, weight, y.shape, stride, padding, groups, bias=bias, channels_last=conv.channels_last
    )
