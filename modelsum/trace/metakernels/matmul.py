"""Matrix products; their results are contiguous."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, broadcast_shape, empty
from modelsum.trace.metakernels.table import rule


@rule("mm")
def mm(a: Tensor, b: Tensor) -> Any:
    """[m, k] @ [k, n]."""
    if not _fit(a, b, 2):
        return NotImplemented
    return empty((a.shape[0], b.shape[1]), a.dtype)


@rule("bmm")
def bmm(a: Tensor, b: Tensor) -> Any:
    """[batch, m, k] @ [batch, k, n]."""
    if not _fit(a, b, 3) or a.shape[0] != b.shape[0]:
        return NotImplemented
    return empty((a.shape[0], a.shape[1], b.shape[2]), a.dtype)


@rule("addmm")
def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """bias + [m, k] @ [k, n]; the bias may be broadcast."""
    return _added_to(bias, mm(a, b))


@rule("baddbmm")
def baddbmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """bias + [batch, m, k] @ [batch, k, n]; the bias may be broadcast."""
    return _added_to(bias, bmm(a, b))


def _fit(a: Tensor, b: Tensor, dimensions: int) -> bool:
    return (
        a.dim() == b.dim() == dimensions
        and a.dtype is b.dtype
        and a.dtype in FLOATS
        and a.shape[-1] == b.shape[-2]
    )


def _added_to(bias: Tensor, product: Any) -> Any:
    if product is NotImplemented or bias.dtype is not product.dtype:
        return NotImplemented
    shape = tuple(product.shape)
    return product if broadcast_shape((bias.shape, shape)) == shape else NotImplemented
