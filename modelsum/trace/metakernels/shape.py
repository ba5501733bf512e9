"""Joining, padding, shifting, looking up: ops that move values into a result of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import (
    CONTIGUOUS,
    FLOATS,
    are_plain_meta,
    empty,
    suggested_format,
)
from modelsum.trace.metakernels.table import rule

# ---- joining


@rule("cat")
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """Along a dimension; channels_last where all parts are."""
    if not are_plain_meta(tensors):
        return NotImplemented
    first = tensors[0]
    if not -first.dim() <= dim < first.dim():
        return NotImplemented
    dim %= first.dim()
    length = 0
    for x in tensors:
        if x.dtype is not first.dtype or x.dim() != first.dim():
            return NotImplemented
        if x.shape[:dim] != first.shape[:dim] or x.shape[dim + 1 :] != first.shape[dim + 1 :]:
            return NotImplemented
        length += x.shape[dim]
    return empty((*first.shape[:dim], length, *first.shape[dim + 1 :]), first.dtype, _common_format(tensors))


def _common_format(tensors: Sequence[Tensor]) -> torch.memory_format:
    chosen = suggested_format(tensors[0])
    return chosen if all(suggested_format(x) is chosen for x in tensors) else CONTIGUOUS


@rule("stack")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """Along a new dimension."""
    if not are_plain_meta(tensors):
        return NotImplemented
    first = tensors[0]
    if not -first.dim() - 1 <= dim <= first.dim():
        return NotImplemented
    for x in tensors:
        if x.dtype is not first.dtype or x.shape != first.shape or suggested_format(x) is not CONTIGUOUS:
            return NotImplemented
    dim %= first.dim() + 1
    return empty((*first.shape[:dim], len(tensors), *first.shape[dim:]), first.dtype)


# ---- padding and shifting


@rule("constant_pad_nd")
def constant_pad_nd(x: Tensor, pad: Sequence[int], value: Any = 0) -> Any:
    """More values on either side of the last len(pad) / 2 dimensions."""
    if len(pad) % 2 or len(pad) > 2 * x.dim() or min(pad, default=0) < 0 or max(pad, default=0) == 0:
        return NotImplemented  # cropping is a view of x, copied
    shape = list(x.shape)
    for i in range(len(pad) // 2):
        shape[-1 - i] += pad[2 * i] + pad[2 * i + 1]
    return empty(shape, x.dtype, suggested_format(x))


@rule("roll")
def roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Any:
    """X shifted along some dimensions, what falls off coming in at the other end."""
    if len(shifts) != len(dims) or not x.numel() or not all(-x.dim() <= d < x.dim() for d in dims):
        return NotImplemented
    # The kernel joins two parts of x; an empty one makes it forget channels_last.
    moves = all(shift % x.shape[d] for shift, d in zip(shifts, dims, strict=True))
    return empty(x.shape, x.dtype, suggested_format(x) if moves else CONTIGUOUS)


# ---- looking up


@rule("embedding")
def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Rows of the weight: indices [*shape] -> [*shape, features]."""
    if weight.dim() != 2 or indices.dtype not in (torch.int64, torch.int32):
        return NotImplemented
    return empty((*indices.shape, weight.shape[1]), weight.dtype)


@rule("embedding_dense_backward")
def embedding_dense_backward(
    grad: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    """The gradient of the weight: [num_weights, features]."""
    if grad.dtype not in FLOATS or grad.shape[:-1] != indices.shape:
        return NotImplemented
    return empty((num_weights, grad.shape[-1]), grad.dtype)


# ---- derivatives of views


@rule("slice_backward", "select_backward")
def view_backward(grad: Tensor, input_sizes: Sequence[int], *where: Any) -> Any:
    """Zeros in the shape of the viewed tensor, in which the gradient is written."""
    return empty(input_sizes, grad.dtype)
