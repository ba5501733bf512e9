"""What oneDNN's convolutions in bfloat16 need beyond the copies that those in float32 make too.

Numbers are added up in float32, so that there are buffers of it: the sums of a 1 x 1 convolution, and a
gradient of the weight for each thread that takes part of the batch. The gradient of the weight also wants
pairs of neighbouring positions beside each other, and so transposes input and gradient first. The sizes are
those of the scratchpads in oneDNN's jit_avx512_core_bf16_conv_kernel.cpp and ..._1x1_conv_kernel.cpp
(init_scratchpad, balance); tests/memory/test_cpu_bf16.py measures them on real kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from modelsum.memory.cpu.machine import BLOCK, threads

_FLOAT_BYTES, _BF16_BYTES = 4, 2
_ENTRY_BYTES = 128  # for the alignment of each part of a scratchpad
_BARRIER_BYTES = 2 * 4096
_BRGEMM_BYTES = 36 * 1024  # about: the batch-reduce kernels' batches and tiles
_FIRST_CHANNELS = 3  # up to so many, oneDNN's first layers are not brought to a blocked layout


def _ceil(n: int, by: int) -> int:
    return -(-n // by)


class Bf16Scratch:
    """The scratchpads of one convolution."""

    def __init__(
        self,
        x: Any,
        weight: Any,
        y_shape: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        groups: int,
        *,
        bias: bool,
        channels_last: bool,
    ) -> None:
        self._batch: int = x.shape[0]
        self._in: tuple[int, ...] = tuple(x.shape[2:])
        self._out: tuple[int, ...] = tuple(y_shape[2:])
        self._kernel: tuple[int, ...] = tuple(weight.shape[2:])
        self._stride, self._padding = tuple(stride), tuple(padding)
        self._groups = groups
        self._channels_last = channels_last
        self._depthwise = groups > 1 and x.shape[1] == groups
        self._ic: int = x.shape[1] // groups
        self._oc: int = y_shape[1] // groups
        self._blocks_in, self._blocks_out = _ceil(self._ic, BLOCK), _ceil(self._oc, BLOCK)
        self._first = groups == 1 and self._ic <= _FIRST_CHANNELS
        self._bias = bias
        self._padded_bias = BLOCK * self._blocks_out * _BF16_BYTES + _ENTRY_BYTES if self._oc % BLOCK else 0
        self._pointwise = prod(self._kernel) == 1 and groups == 1 and not any(padding)

    @property
    def strided_input(self) -> bool:
        """Whether the gradient of the input has kernels of its own, whose result is copied twice."""
        return max(self._stride) > 1

    @property
    def forward(self) -> int:
        """Bytes for the pass itself."""
        if not self._pointwise or self._channels_last:
            return 0
        return self._sums(self._blocks_out) + self._unstrided(self._blocks_in)

    @property
    def for_input(self) -> int:
        """Bytes for the gradient of the input."""
        if self.strided_input:
            rows = self._oc * self._groups * prod(self._out) * _BF16_BYTES
            return threads() * rows + _BRGEMM_BYTES
        return self._sums(self._blocks_in) if self._pointwise and not self._channels_last else 0

    @property
    def paired_weight(self) -> int:
        """The weight for strided inputs: blocked by input channels, outputs in pairs."""
        channels = self._groups * BLOCK * self._blocks_in * _even(self._oc)
        return channels * prod(self._kernel) * _BF16_BYTES

    @property
    def for_weight(self) -> int:
        """Bytes for the gradients of weight and bias."""
        if self._depthwise and (max(self._kernel) <= 3 or not self._channels_last):
            return _ENTRY_BYTES
        return self._pointwise_weight() if self._pointwise else self._spatial_weight()

    # ---- 1 x 1

    def _sums(self, blocks: int) -> int:
        """What each thread adds up to, for all positions of a sample."""
        return threads() * prod(self._out) * BLOCK * blocks * _FLOAT_BYTES + _ENTRY_BYTES

    def _unstrided(self, blocks: int) -> int:
        """Blocks of the input without the positions that a stride leaves out, for each thread."""
        if not self.strided_input:
            return 0
        return threads() * prod(self._out) * BLOCK * blocks * _BF16_BYTES + _ENTRY_BYTES

    def _pointwise_weight(self) -> int:
        positions = prod(self._out)
        per_block = BLOCK * self._batch * positions

        def cost(batch: int, outputs: int, inputs: int) -> float:
            of_in, of_out = _ceil(self._blocks_in, inputs), _ceil(self._blocks_out, outputs)
            weight = 4 * max(1, self._oc // self._ic) * of_in * of_out * BLOCK * BLOCK
            return per_block * (of_in + of_out) / batch + weight

        batch, _, _ = self._shares(cost)
        scratch = self._sums_of_weight(batch)
        if batch > 1:
            scratch += _BARRIER_BYTES
        if self._bias:
            scratch += self._padded_bias
        if self._channels_last or min(self._out) <= 14:
            blocks = _divider(self._blocks_out, 16) + _divider(self._blocks_in, 5)
            pairs = positions + positions % 2
            scratch += threads() * pairs * BLOCK * blocks * _BF16_BYTES + 2 * _ENTRY_BYTES
        return scratch + self._unstrided(_divider(self._blocks_in, 5))

    # ---- the others

    def _spatial_weight(self) -> int:
        # Along a row: two positions at once, and a margin that neighbouring buffers share.
        kernel, stride, padding = self._kernel[-1], self._stride[-1], self._padding[-1]
        row_in, row_out = self._in[-1], self._out[-1]
        right = max(0, (row_out - 1) * stride + kernel - row_in - padding)
        margin = _even(max(padding, right + 1))
        wide_in = _even(_ceil(row_in, stride) + margin) * stride if self._transposes_input else row_in
        wide_out = _even(row_out)
        block_in = self._ic if self._first else BLOCK
        in_size = wide_in * block_in * prod(self._in[:-1])
        out_size = wide_out * BLOCK * prod(self._out[:-1])

        def cost(batch: int, outputs: int, inputs: int) -> float:
            of_in, of_out = _ceil(self._blocks_in, inputs), _ceil(self._blocks_out, outputs)
            ic, oc = self._blocks_in * block_in, self._blocks_out * BLOCK
            weight_size = ic * oc * prod(self._kernel) * _FLOAT_BYTES
            both = self._batch * _BF16_BYTES * (self._blocks_in * in_size + self._blocks_out * out_size)
            scale = both / 2 / weight_size
            ratio = self._blocks_out / self._blocks_in
            for_in = max(1 / ratio, 1) * (4 if scale < 1 else 1) * of_in * in_size / prod(self._stride)
            for_out = max(ratio, 1) * of_out * out_size
            for_weight = max(scale, 1) * of_in * of_out * prod(self._kernel) * block_in * BLOCK
            return (for_in + for_out) * self._batch / batch + for_weight

        batch, outputs, inputs = self._shares(cost) if self._groups == 1 else (1, 1, 1)
        transposed = self._blocks_out * out_size
        if self._transposes_input:
            transposed += self._blocks_in * in_size
        scratch = self._sums_of_weight(batch) + batch * self._groups * transposed * _BF16_BYTES
        barriers = 1 + (outputs > 1) + (inputs > 1)
        return scratch + 2 * _ENTRY_BYTES + margin * _BF16_BYTES + barriers * _BARRIER_BYTES

    @property
    def _transposes_input(self) -> bool:
        return not self._first or (self._channels_last and self._ic > 1)

    # ---- both

    def _sums_of_weight(self, threads: int) -> int:
        """Gradients of weight and bias in float32 for each thread that takes part of the batch."""
        ic = self._ic if self._first else BLOCK * self._blocks_in
        bias = 1 if self._bias else 0
        per_output = ic * prod(self._kernel) + bias
        return threads * self._groups * BLOCK * self._blocks_out * per_output * _FLOAT_BYTES + _ENTRY_BYTES

    def _shares(self, cost: Callable[[int, int, int], float]) -> tuple[int, int, int]:
        """Threads over batch, output blocks and input blocks, so that the least memory is touched."""
        best = 1, 1, 1
        for shares in self._divisions():
            if cost(*shares) <= cost(*best):
                best = shares
        return best

    def _divisions(self) -> Iterator[tuple[int, int, int]]:
        for batch in range(1, threads() + 1):
            for outputs in range(1, min(threads() // batch, self._blocks_out) + 1):
                yield batch, outputs, min(threads() // batch // outputs, self._blocks_in)


def _even(n: int) -> int:
    return n + n % 2


def _divider(n: int, at_least: int) -> int:
    """The smallest divider of n from `at_least` on, or n."""
    return next((d for d in range(at_least, n) if n % d == 0), n)
