"""Batches of small matrix products, on tensors with their channels last: oneDNN's brgemm kernels.

They are for tensors that are so laid out, and for any where a gradient of the input has a stride or a
depthwise convolution three dimensions. Scratchpads: jit_brgemm_conv_utils.cpp and
jit_brgemm_conv_bwd_utils.cpp (init_scratchpad). How many channels make a block, and how much of an uneven row
is made at once, is found by estimates; that there are no more than need be is a lower bound.
"""

from __future__ import annotations

from math import prod

from modelsum.memory.cpu.avx2.shape import FLOAT_BYTES, PAGE, VECTOR, Kernel, Shape, booked, up
from modelsum.memory.cpu.machine import threads

_ENTRY_BYTES = 40  # of a batch: an element
_MOST_VECTORS = 4  # of channels in a block


def depthwise_forward(shape: Shape) -> Kernel | None:
    """A forward pass of a depthwise convolution, with the channels last or in three dimensions."""
    if not shape.is_depthwise or shape.is_dilated or not (shape.channels_last or shape.dimensions == 3):
        return None
    return _last(shape, FLOAT_BYTES * up(shape.groups) * shape.taps, 0, forward=True)


def forward(shape: Shape) -> Kernel | None:
    """A forward pass with the channels last."""
    if not shape.channels_last or shape.is_depthwise:
        return None
    weight, spare = _blocked(shape, shape.outputs, shape.inputs)
    return _last(shape, weight, _batches(shape.taps), spare, forward=True)


def input_gradient(shape: Shape) -> Kernel | None:
    """The gradient of the input with the channels last, without a stride."""
    if not shape.channels_last or shape.is_depthwise or shape.is_strided:
        return None
    weight, spare = _blocked(shape, shape.inputs, shape.outputs)
    return _last(shape, weight, _batches(shape.taps) + 128, spare)


def strided_input_gradient(shape: Shape) -> Kernel | None:
    """The gradient of the input where there is a stride."""
    small_groups = shape.groups > 1 and shape.outputs <= VECTOR
    if not shape.is_strided or shape.is_dilated or small_groups:
        return None
    weight, spare = _blocked(shape, shape.inputs, shape.outputs)
    over = (
        out + max(0, span - 1 - before) // step + max(0, span - 1 - behind) // step
        for out, span, before, behind, step in zip(
            shape.result, shape.extent, shape.padding, shape.far_padding, shape.stride, strict=True
        )
    )
    padded = prod(over) * shape.groups * shape.outputs
    scratch = _batches(1)
    spare += _batches(shape.taps) - scratch  # of a filter, the part that is multiplied at once
    scratch += booked(threads() * FLOAT_BYTES * up(padded, PAGE), PAGE)
    scratch += booked(threads() * PAGE, PAGE)
    uneven = shape.size[2] % shape.stride[2] > 0
    if uneven:
        least, most = _part_of_a_row(shape)
        scratch, spare = scratch + least, spare + most - least
    return _last(shape, weight, scratch, spare)._replace(adds_bias=not uneven)


def _part_of_a_row(shape: Shape) -> tuple[int, int]:
    """Bytes for the part of a row that is made at once, at least and at most.

    It is found by estimates, too: of a row of 33 positions it was a third or all, mostly all.
    """
    step = shape.stride[2]

    def of(positions: int) -> int:
        row = positions * step * shape.inputs * shape.groups
        return booked(threads() * FLOAT_BYTES * up(row, PAGE), PAGE)

    return of(step), of(up(shape.size[2], step))


def _batches(entries: int) -> int:
    own = -(-up(entries * _ENTRY_BYTES, PAGE) // _ENTRY_BYTES) * _ENTRY_BYTES
    return booked(threads() * own, PAGE)


def _last(shape: Shape, weight: int, scratch: int, spare: int = 0, *, forward: bool = False) -> Kernel:
    # With one channel, or one position, both layouts are the same.
    of_source = not shape.channels_last and shape.inputs * shape.groups > 1 < prod(shape.size)
    of_result = not shape.channels_last and shape.outputs * shape.groups > 1 < prod(shape.result)
    turned = of_result if forward else of_source
    return Kernel(
        shape.source, weight, shape.results, scratch, of_source, True, of_result, turned, spare, True
    )


def _blocked(shape: Shape, channels: int, others: int) -> tuple[int, int]:
    """Bytes of a weight whose channels are filled up to blocks at least, and by how much more at most."""
    of_one = FLOAT_BYTES * shape.groups * others * shape.taps
    vectors = range(1, min(-(-channels // VECTOR), _MOST_VECTORS) + 1)
    most = max(up(channels, VECTOR * count) for count in vectors)
    return of_one * up(channels), of_one * (most - up(channels))
