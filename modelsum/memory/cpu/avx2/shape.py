"""A convolution as oneDNN sees it, and what a kernel of its takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

VECTOR = 8  # float32 numbers in a vector: channels that are kept together
FLOAT_BYTES = 4
PAGE = 4096
_ALIGNMENT = 128

Three = tuple[int, int, int]


def up(n: int, to: int = VECTOR) -> int:
    """The next multiple."""
    return -(-n // to) * to


def booked(nbytes: int, alignment: int = _ALIGNMENT) -> int:
    """What an entry of a scratchpad takes: there is room to align it; nothing where it is empty."""
    return nbytes + alignment if nbytes else 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution in three dimensions; what it has fewer are of size 1, and come first.

    Attributes:
        batch: samples.
        inputs, outputs: channels of a group.
        groups: how many.
        size, result: positions of the input and of the result.
        kernel, stride, padding, dilation: dilation 1 is none.
        bias: whether there is one.
        channels_last: the tensors are laid out so.
        dimensions: of the positions, 2 or 3; torch makes two of one.
    """

    batch: int
    inputs: int
    outputs: int
    groups: int
    size: Three
    result: Three
    kernel: Three
    stride: Three
    padding: Three
    dilation: Three
    bias: bool
    channels_last: bool
    dimensions: int

    @property
    def taps(self) -> int:
        """Positions that a filter has."""
        return prod(self.kernel)

    @property
    def extent(self) -> Three:
        """Positions that a filter spans."""
        d, h, w = ((k - 1) * by + 1 for k, by in zip(self.kernel, self.dilation, strict=True))
        return d, h, w

    @property
    def far_padding(self) -> Three:
        """Padding behind the input that the result has used; negative where some input is left over."""
        d, h, w = (
            (out - 1) * step + span - size - before
            for out, step, span, size, before in zip(
                self.result, self.stride, self.extent, self.size, self.padding, strict=True
            )
        )
        return d, h, w

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is a group."""
        return self.groups > 1 and self.inputs == self.outputs == 1

    @property
    def is_strided(self) -> bool:
        """Whether any step is longer than 1."""
        return max(self.stride) > 1

    @property
    def is_dilated(self) -> bool:
        """Whether a filter has gaps."""
        return max(self.dilation) > 1

    @property
    def is_covered(self) -> bool:
        """Whether no position of the result sees nothing but padding."""
        pads = zip(self.extent, self.padding, self.far_padding, strict=True)
        return all(span > before and span > behind for span, before, behind in pads)

    def source_bytes(self, channels: int) -> int:
        """Of the input with so many channels."""
        return FLOAT_BYTES * self.batch * channels * prod(self.size)

    def result_bytes(self, channels: int) -> int:
        """Of the result with so many channels."""
        return FLOAT_BYTES * self.batch * channels * prod(self.result)

    @property
    def source(self) -> int:
        """Bytes of the input."""
        return self.source_bytes(self.inputs * self.groups)

    @property
    def weight(self) -> int:
        """Bytes of the weight."""
        return FLOAT_BYTES * self.groups * self.outputs * self.inputs * self.taps

    @property
    def results(self) -> int:
        """Bytes of the result."""
        return self.result_bytes(self.outputs * self.groups)


class Kernel(NamedTuple):
    """What a kernel takes, in bytes.

    Attributes:
        source, weight, result: of the tensors as it wants them.
        scratch: of its scratchpad, at least.
        copies_source, copies_weight, copies_result: whether that is another layout than the tensor has.
        turned: whether what it makes has its channels last where the tensors have not.
        spare: bytes by which the weight and the scratchpad may be larger.
        adds_bias: whether it can add a bias to the gradient of an input, for a transposed convolution.
    """

    source: int
    weight: int
    result: int
    scratch: int = 0
    copies_source: bool = True
    copies_weight: bool = True
    copies_result: bool = True
    turned: bool = False
    spare: int = 0
    adds_bias: bool = False
