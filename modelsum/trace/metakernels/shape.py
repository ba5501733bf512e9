"""Joining, shifting, looking up: ops that move values into a result of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import (
    CONTIGUOUS,
    are_plain_meta,
    empty,
    empty_like,
    is_plain_meta,
    laid_out_as,
    suggested_format,
)
from modelsum.trace.metakernels.table import rule

# ---- a view that torch does not call one


@rule("_unsafe_view")
def unsafe_view(x: Tensor, size: Sequence[int]) -> Any:
    """The elements of x in another shape."""
    return torch.ops.aten.view.default(x, size)


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


# ---- shifting


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
    if weight.dim() != 2 or indices.dtype not in (torch.int64, torch.int32) or not weight.shape[0]:
        return NotImplemented
    return empty((*indices.shape, weight.shape[1]), weight.dtype)


@rule("index.Tensor")
def index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    """Entries along one dimension: x[:, i] with i [*shape] -> [x.shape[0], *shape, *x.shape[2:]]."""
    found = _one_index(x, indices)
    if found is None:
        return NotImplemented
    dim, along = found
    before, after = x.shape[:dim], x.shape[dim + 1 :]
    # The kernel walks over x, which stands still along the dimensions of the index, and over the index.
    still = x.select(dim, 0).as_strided(
        (*before, *(1 for _ in along.shape), *after),
        (*x.stride()[:dim], *(0 for _ in along.shape), *x.stride()[dim + 1 :]),
    )
    spread = along.view((*along.shape, *(1 for _ in after)))
    shape = (*before, *along.shape, *after)
    return NotImplemented if 0 in shape else laid_out_as((still, spread), shape, x.dtype)


@rule("index_put")
def index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    """A copy of x with entries along one dimension overwritten, or added to."""
    found = _one_index(x, indices)
    if found is None or values.dtype is not x.dtype:
        return NotImplemented
    dim, along = found
    if values.shape != (*x.shape[:dim], *along.shape, *x.shape[dim + 1 :]):
        return NotImplemented
    return empty_like(x)


def _one_index(x: Tensor, indices: Sequence[Tensor | None]) -> tuple[int, Tensor] | None:
    """Which dimension is indexed, and by what, if it is one dimension only."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or len(indices) > x.dim() or not x.numel():
        return None
    dim, index = given[0]
    if not is_plain_meta(index) or index.dtype is not torch.int64 or not index.is_contiguous():
        return None
    return (dim, index) if index.numel() else None


@rule("tril", "triu")
def triangle(x: Tensor, diagonal: int = 0) -> Any:
    """One triangle of the last two dimensions; zeros in the other."""
    return empty(x.shape, x.dtype) if x.dim() >= 2 else NotImplemented


# ---- derivatives of views


@rule("slice_backward", "select_backward")
def view_backward(grad: Tensor, input_sizes: Sequence[int], *where: Any) -> Any:
    """Zeros in the shape of the viewed tensor, in which the gradient is written."""
    return empty(input_sizes, grad.dtype)
