"""Matrix products; their results are contiguous."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, broadcast_shape, empty, is_plain_meta
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


@rule("bmm.out")
def bmm_into(a: Tensor, b: Tensor, *, out: Tensor) -> Any:
    """[batch, m, k] @ [batch, k, n], into what is there."""
    product = bmm(a, b)
    alike = product is not NotImplemented and (out.shape, out.dtype) == (product.shape, product.dtype)
    return out if alike and is_plain_meta(out) else NotImplemented


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


@rule("_grouped_mm")
def grouped_mm(a: Tensor, b: Tensor, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    """[tokens, k] @ [experts, k, n], each token with one expert, in float32, bfloat16 or float16.

    The weight's gradient is [k, tokens] @ [tokens, n], a product [k, n] for the tokens of each expert.
    torch's own meta kernel takes bfloat16 and float16 alone; its kernels on real devices take float32
    too. Rows of the result begin at multiples of 16 bytes.
    """
    if a.dim() != 2 or b.dim() not in (2, 3) or a.dtype not in FLOATS or a.dtype is not b.dtype:
        return NotImplemented
    if bias is not None or a.shape[1] != b.shape[-2] or offs is None or offs.dim() != 1:
        return NotImplemented
    if offs.dtype is not torch.int32 or not offs.is_contiguous():
        return NotImplemented
    if a.dtype is torch.float64 or not (_is_aligned(a) and _is_aligned(b)):
        return NotImplemented
    if b.dim() == 3 and offs.shape[0] != b.shape[0]:
        return NotImplemented
    dtype = out_dtype or a.dtype
    columns = b.shape[-1]
    per_16_bytes = 16 // dtype.itemsize
    row = -(-columns // per_16_bytes) * per_16_bytes
    shape = (a.shape[0], row) if b.dim() == 3 else (offs.shape[0], a.shape[0], row)
    return a.new_empty(shape, dtype=dtype)[..., :columns]


def _is_aligned(x: Tensor) -> bool:
    """Whether the rows, or the columns, of the matrices lie at multiples of 16 bytes, each in one piece."""
    row, column = x.stride()[-2:]
    apart = row if column == 1 else column if row == 1 else 0
    return bool(x.numel()) and apart > 0 and apart * x.element_size() % 16 == 0
