"""The layout that torch brings the tensors of a convolution to, and what the copies take."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """A tensor's sizes, strides and bytes of an element, of which rules ask as of a tensor."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    element: int

    @classmethod
    def of(cls, tensor: Any) -> Layout:
        """Of a tensor as it lies."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.element_size())

    @classmethod
    def of_planes(cls, tensor: Any) -> Layout:
        """The same, one dimension of positions as two, as convolutions take it."""
        layout = cls.of(tensor)
        if layout.dim() != 3:
            return layout
        (samples, channels, length), (outer, of_channel, inner) = layout.shape, layout.strides
        return cls((samples, channels, 1, length), (outer, of_channel, length * inner, inner), layout.element)

    def packed(self, channels_last: bool) -> Layout:
        """Of a copy without gaps."""
        strides, step = [0] * len(self.shape), 1
        for d in _inner_first(self, channels_last):
            strides[d] = step
            step *= self.shape[d]
        return self._replace(strides=tuple(strides))

    def dim(self) -> int:
        """How many dimensions."""
        return len(self.shape)

    def stride(self) -> tuple[int, ...]:
        """Of each dimension."""
        return self.strides

    def numel(self) -> int:
        """How many elements."""
        return prod(self.shape)

    def element_size(self) -> int:
        """Bytes of one."""
        return self.element


def are_channels_last(x: Any, weight: Any) -> bool:
    """Whether the channels of both are to be the last dimension that is laid out.

    Where one of them has them so; of one dimension of positions torch takes no notice.
    """
    return x.dim() > 3 and (has_channels_last(x) or has_channels_last(weight))


def nbytes(tensor: Any) -> int:
    """Bytes of a tensor's elements."""
    return int(tensor.numel() * tensor.element_size())


def copied_bytes(channels_last: bool, *tensors: Any) -> int:
    """Bytes of copies of those that are laid out otherwise."""
    return sum(nbytes(tensor) for tensor in tensors if not is_packed(tensor, channels_last))


def has_channels_last(tensor: Any) -> bool:
    """Whether its strides say so; as torch's suggest_memory_format, also of a part of a larger tensor."""
    strides, sizes = tensor.stride(), tensor.shape
    if strides[1] == 0 or strides[0] == strides[1]:
        return False
    least = 0
    for d in _inner_first(tensor, True):
        if sizes[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(sizes[d], 1)
    return True


def is_packed(tensor: Any, channels_last: bool) -> bool:
    """Whether it lies so, without gaps."""
    step, strides = 1, tensor.stride()
    for d in _inner_first(tensor, channels_last):
        if tensor.shape[d] != 1 and strides[d] != step:
            return bool(tensor.numel() == 0)
        step *= tensor.shape[d]
    return True


def _inner_first(tensor: Any, channels_last: bool) -> tuple[int, ...]:
    """Its dimensions from the innermost to the outermost."""
    d = tensor.dim()
    return (1, *range(d - 1, 1, -1), 0) if channels_last else tuple(range(d - 1, -1, -1))
