"""Convolutions that torch does itself on the CPU, without oneDNN: matrix products over columns (im2col).

For every position, the part of the input that a filter looks at. So are those of one small sample, all in
float64, and in 16 bits all where oneDNN wants AVX-512 for them. Which these are is ConvParams::use_onednn in
ATen/native/Convolution.cpp; what they allocate, in which order, was measured op by op, torch 2.14.1
(tests/memory/test_native_convolution.py). One dimension is done as two; groups one after the other, each with
copies of its channels, except in three dimensions without a dilation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any

from modelsum.memory.cpu.elementwise import float32_sums
from modelsum.memory.cpu.layouts import (
    Layout,
    are_channels_last,
    copied_bytes,
    has_channels_last,
    is_packed,
    nbytes,
)
from modelsum.memory.cpu.machine import AVX2, AtLeast, isa, threads

_SMALL = 20480  # elements of an input, its first four dimensions
_MANY_SAMPLES = 16
_LARGE_KERNEL = 3  # oneDNN does a kernel that is larger than this in both directions


def is_native(x: Any, weight: Any, stride: Any, dilation: Any, groups: int) -> bool:
    """Whether torch does the convolution itself."""
    element = weight.element_size() if weight.is_floating_point() else 0
    if element == 8 or (element == 2 and isa() == AVX2):
        return True
    kernel = tuple(weight.shape[2:])
    if threads() == 1 and element == 4 and _is_simple(x, kernel, stride, dilation):
        return True
    return bool(
        groups == 1
        and x.shape[0] == 1
        and element == 4
        and prod(x.shape[:4]) <= _SMALL
        and (len(kernel) == 1 or min(kernel[-2:]) <= _LARGE_KERNEL)
    )


def _is_simple(x: Any, kernel: tuple[int, ...], stride: Any, dilation: Any) -> bool:
    """A product of a matrix that no other thread helps with."""
    return x.shape[0] < _MANY_SAMPLES and max(kernel[-2:]) == 1 and max(stride) == 1 and max(dilation) == 1


def forward_bytes(
    x: Any,
    weight: Any,
    bias: Any,
    y: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
) -> int:
    """A forward pass."""
    work = _work(x, weight, y, stride, padding, dilation, transposed, groups)
    # A transposed one in three dimensions is made as large as its input at first, and keeps what is too much.
    made = max(work.x, work.y) if work.in_three and transposed else work.y
    result = work.groups * work.y
    most = _peak(work.forward(bias is not None)) + (work.groups - 1) * made
    if work.groups > 1:
        most = max(most, work.groups * made + result)
    beyond = copied_bytes(work.channels_last, x, weight) + most - result
    return AtLeast(beyond) if made > work.y and work.groups == 1 else beyond


def backward_bytes(
    x: Any,
    weight: Any,
    grad: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
    wanted: Sequence[bool],
) -> int:
    """A backward pass: for the input, then for weight and bias."""
    work = _work(x, weight, grad, stride, padding, dilation, transposed, groups)
    parts = zip((work.x, work.weight, work.bias), wanted, strict=True)
    results = sum(size for size, is_wanted in parts if is_wanted)
    if work.is_of_planes:
        return _peak(work.backward_of_planes(x, weight, grad, wanted)) - results
    most = _peak(work.backward(grad, wanted)) + (work.groups - 1) * results
    if work.groups > 1:
        most = max(most, 2 * work.groups * results)
    return copied_bytes(work.channels_last, x, weight) + most - work.groups * results


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done at once: a group, or all of them. Sizes are in bytes.

    Attributes:
        groups: that are done one after the other.
        x, weight, y, bias: of a group; x and y as a convolution's input and result.
        columns: of one sample.
        batch: samples.
        ones: one number for every position of a result.
        sliced: the copy of a group's channels of the input.
        is_plain: whether the columns are the input as it stands.
        is_transposed, is_dilated: the kind.
        in_three: in three dimensions.
    """

    groups: int
    x: int
    weight: int
    y: int
    bias: int
    columns: int
    batch: int
    ones: int
    sliced: int
    channels_last: bool
    is_plain: bool
    is_transposed: bool
    is_dilated: bool
    in_three: bool

    @property
    def is_of_planes(self) -> bool:
        """In three dimensions, neither transposed nor dilated."""
        return self.in_three and not self.is_transposed and not self.is_dilated

    def forward(self, has_bias: bool) -> Iterator[int]:
        """What is allocated and given back (negative), in order."""
        yield self.sliced
        if self.in_three and self.is_transposed:
            yield self.x
            if self.y > self.x:
                yield self.y
                yield -self.x
            yield self.columns + (self.ones if has_bias else 0)
        elif self.is_dilated:
            yield self.y + self.columns
        elif self.is_transposed:
            yield self.y + self.batch * self.columns
        else:
            yield self.y + (0 if self.is_plain else self.batch * self.columns)

    def backward(self, grad: Any, wanted: Sequence[bool]) -> Iterator[int]:
        """The same, of a backward pass."""
        grad, sliced = _of_group(grad, self.groups)
        copied = copied_bytes(self.channels_last, grad)
        yield self.sliced + sliced
        for_x, for_weight, for_bias = wanted
        columns = 0 if self.is_plain else self.columns
        if self.is_dilated:
            bias = self.bias if for_bias else 0
            yield copied + (self.x if for_x else 0) + (self.weight if for_weight else 0)
            yield bias + (self.columns if for_x or for_weight else 0) + bias
            return
        if for_x:
            scratch = copied + (columns if self.is_transposed else 0)
            yield self.x + scratch
            yield -scratch
        if self.in_three and self.is_transposed:
            if for_weight or for_bias:
                yield (self.weight if for_weight else 0) + (self.bias if for_bias else 0)
                yield columns + copied + (_sums(grad.packed(False)) if for_bias else 0)
            return
        yield from self._for_bias(grad, for_bias)
        if for_weight:
            yield self.weight + copied + columns * (1 if self.is_transposed else self.batch)

    def backward_of_planes(self, x: Any, weight: Any, grad: Any, wanted: Sequence[bool]) -> Iterator[int]:
        """The same, where the gradient of the input is made with columns too."""
        for_x, for_weight, for_bias = wanted
        columns = 0 if self.is_plain else self.batch * self.columns
        if for_x:
            scratch = copied_bytes(False, weight, grad) + (columns or self.x)
            yield self.x + scratch
            yield -scratch
        yield from self._for_bias(grad, for_bias)
        if for_weight:
            yield self.weight + copied_bytes(False, x, grad) + columns

    def _for_bias(self, grad: Any, is_wanted: bool) -> Iterator[int]:
        if is_wanted:
            sums = _sums(grad)
            yield self.bias + sums
            yield -sums


def _sums(grad: Any) -> int:
    """What summing the gradient over samples and positions takes."""
    if grad.element_size() != 2:
        return 0
    return float32_sums(grad.shape, grad.stride(), [d for d in range(grad.dim()) if d != 1])


def _of_group(tensor: Any, groups: int) -> tuple[Layout, int]:
    """A group's channels, and the bytes of their copy where they are no tensor without gaps."""
    layout = Layout.of_planes(tensor)
    if groups == 1:
        return layout, 0
    channels_last = has_channels_last(layout)
    part = layout._replace(shape=(layout.shape[0], layout.shape[1] // groups, *layout.shape[2:]))
    return (part, 0) if is_packed(part, channels_last) else (part.packed(channels_last), nbytes(part))


def _work(
    x: Any,
    weight: Any,
    y: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
) -> _Work:
    element: int = weight.element_size()
    kernel = tuple(weight.shape[2:])
    is_dilated = max(dilation) > 1 and not transposed
    in_three = len(kernel) == 3
    parts = 1 if in_three and not transposed and not is_dilated else groups
    channels_last = x.dim() == 4 and are_channels_last(x, weight)
    looked_at = prod((x if transposed else y).shape[2:])
    is_plain = prod(kernel) == 1 and max(stride) == 1 and not any(padding) and max(dilation) == 1
    packed = x if is_packed(x, channels_last) else Layout.of(x).packed(channels_last)
    return _Work(
        groups=parts,
        x=nbytes(x) // parts,
        weight=nbytes(weight) // parts,
        y=y.numel() * element // parts,
        bias=y.shape[1] * element // parts,
        columns=groups // parts * weight.shape[1] * prod(kernel) * looked_at * element,
        batch=x.shape[0],
        ones=prod(y.shape[2:]) * element,
        sliced=_of_group(packed, parts)[1],
        channels_last=channels_last,
        is_plain=is_plain and groups == parts,
        is_transposed=transposed,
        is_dilated=is_dilated,
        in_three=in_three,
    )


def _peak(changes: Iterator[int]) -> int:
    return max(accumulate(changes), default=0)
