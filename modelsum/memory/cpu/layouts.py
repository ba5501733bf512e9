"""The layout that torch brings the tensors of a convolution to, and what the copies take."""

from __future__ import annotations

from typing import Any


def are_channels_last(x: Any, weight: Any) -> bool:
    """Whether the channels of both are to be the last dimension that is laid out.

    Where one of them has them so; of one dimension of positions torch takes no notice.
    """
    return x.dim() > 3 and (_has_channels_last(x) or _has_channels_last(weight))


def copied_bytes(channels_last: bool, *tensors: Any) -> int:
    """Bytes of copies of those that are laid out otherwise."""
    return sum(
        int(tensor.numel() * tensor.element_size())
        for tensor in tensors
        if not _is_laid_out(tensor, channels_last)
    )


def _has_channels_last(tensor: Any) -> bool:
    """Whether its strides say so; as torch's suggest_memory_format, also of a part of a larger tensor."""
    strides, sizes = tensor.stride(), tensor.shape
    if strides[1] == 0 or strides[0] == strides[1]:
        return False
    least = 0
    for d in _inner_first(tensor):
        if sizes[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(sizes[d], 1)
    return True


def _is_laid_out(tensor: Any, channels_last: bool) -> bool:
    if not channels_last:
        return bool(tensor.is_contiguous())
    step = 1
    for d in _inner_first(tensor):
        if tensor.shape[d] != 1 and tensor.stride(d) != step:
            return False
        step *= tensor.shape[d]
    return True


def _inner_first(tensor: Any) -> tuple[int, ...]:
    """Its dimensions with the channels last, from the innermost to the outermost."""
    return (1, *range(tensor.dim() - 1, 1, -1), 0)
