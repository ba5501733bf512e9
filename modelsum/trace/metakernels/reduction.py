"""Sums, means, norms and softmax; their results are contiguous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, empty
from modelsum.trace.metakernels.table import rule


@rule("sum.dim_IntList", "mean.dim")
def over_dimensions(
    x: Tensor,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    """Over some dimensions, or over all where none is named."""
    shape = _reduced(x, dim, keepdim)
    return _of(x, shape, dtype)


@rule("amax", "amin")
def extreme(x: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
    """Over some dimensions, or over all where none is named."""
    return _of(x, _reduced(x, dim, keepdim), None)


@rule("cumsum")
def cumulative_sum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Sums along a dimension up to each element."""
    dtypes = (*FLOATS, torch.int64) if dtype is None else (*FLOATS, torch.int64, torch.int32)
    if not -x.dim() <= dim < x.dim() or x.dtype not in dtypes or (dtype or x.dtype) not in dtypes:
        return NotImplemented
    return empty(x.shape, dtype or x.dtype)


@rule("sum", "mean")
def over_everything(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    """Over all dimensions."""
    return _of(x, (), dtype)


@rule("linalg_vector_norm")
def vector_norm(
    x: Tensor,
    ord: Any = 2,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    """The norm of vectors along some dimensions."""
    return _of(x, _reduced(x, dim, keepdim), dtype)


def _of(x: Tensor, shape: Sequence[int] | None, dtype: torch.dtype | None) -> Any:
    if shape is None or x.dtype not in FLOATS or dtype not in (None, x.dtype) or not x.numel():
        return NotImplemented
    return empty(shape, x.dtype)


def _reduced(x: Tensor, dim: Sequence[int] | None, keepdim: bool) -> Sequence[int] | None:
    """The shape that is left; None where a dimension is out of range or named twice."""
    if not dim:
        return (1,) * x.dim() if keepdim else ()
    if not all(-x.dim() <= d < x.dim() for d in dim):
        return None
    gone = {d % x.dim() for d in dim}
    if len(gone) != len(dim):
        return None
    return [1 if d in gone else n for d, n in enumerate(x.shape) if keepdim or d not in gone]


# ---- softmax


@rule("_softmax", "_log_softmax")
def softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    """Softmax along one dimension."""
    if half_to_float or x.dtype not in FLOATS or not -x.dim() <= dim < x.dim():
        return NotImplemented
    return empty(x.shape, x.dtype)


@rule("_safe_softmax")
def safe_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """Softmax of contiguous scores, of which a whole row may be masked."""
    if dtype not in (None, x.dtype) or not x.is_contiguous():
        return NotImplemented
    return softmax(x, dim, False)


@rule("_softmax_backward_data", "_log_softmax_backward_data")
def softmax_backward(grad: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Any:
    """The gradient of what went into the softmax."""
    if grad.shape != output.shape or not grad.dtype is output.dtype is input_dtype:
        return NotImplemented
    return softmax(grad, dim, False)
