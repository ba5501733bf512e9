"""Fused attention as the CPU computes it, and its derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, empty, empty_like
from modelsum.trace.metakernels.table import rule


@rule("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Any:
    """[N, heads, s, d], laid out as the query, and logsumexp [N, heads, s], laid out with heads behind s."""
    if not query.dim() == key.dim() == value.dim() == 4 or query.shape[-1] != value.shape[-1]:
        return NotImplemented
    if query.dtype not in FLOATS or not query.dtype is key.dtype is value.dtype or not query.numel():
        return NotImplemented
    accumulated = torch.float64 if query.dtype is torch.float64 else torch.float32
    batch, heads, length, _ = query.shape
    return empty_like(query), empty((batch, length, heads), accumulated).transpose(1, 2)


@rule("_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *saved: Any, **options: Any
) -> Any:
    """The gradients of query, key and value, laid out with heads behind the sequence."""
    if not query.dim() == key.dim() == value.dim() == 4 or query.dtype not in FLOATS:
        return NotImplemented
    return tuple(
        empty((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), x.dtype).transpose(1, 2)
        for x in (query, key, value)
    )
