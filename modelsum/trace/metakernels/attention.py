"""Fused attention as the CPU and as CUDA's memory-efficient kernel compute it, and the derivatives."""

from __future__ import annotations

from collections.abc import Sequence
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
    if not _are_heads(query, key, value) or query.shape[-1] != value.shape[-1]:
        return NotImplemented
    if not query.numel():
        return NotImplemented
    accumulated = torch.float64 if query.dtype is torch.float64 else torch.float32
    batch, heads, length, _ = query.shape
    return empty_like(query), empty((batch, length, heads), accumulated).transpose(1, 2)


@rule("_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *saved: Any, **options: Any
) -> Any:
    """The gradients of query, key and value, laid out with heads behind the sequence."""
    if not _are_heads(query, key, value):
        return NotImplemented
    return _gradients(query, key, value)


@rule("_scaled_dot_product_flash_attention")
def flash_attention_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> Any:
    """[N, heads, s, d], laid out as the query; logsumexp; the generator's state, of two numbers, and a spare.

    Keys and values may have fewer heads. Before torch 2.7 the state was two tensors on the host.
    """
    if query.dim() != 4 or query.dtype not in FLOATS or torch.version.hip or return_debug_mask:
        return NotImplemented
    batch, heads, length, _ = query.shape
    return (
        empty_like(query),
        empty((batch, heads, length), torch.float32),
        None,
        None,
        length,
        key.shape[2],
        empty((2,), torch.uint64),
        empty((), torch.uint64),
        empty((0,), query.dtype),
    )


@rule("_scaled_dot_product_efficient_attention")
def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Any:
    """[N, heads, s, d] with heads behind s, logsumexp of s rounded up to 32, and the generator's state."""
    if not _are_heads(query, key, value) or torch.version.hip:
        return NotImplemented
    batch, heads, length, _ = query.shape
    rows = -(-length // 32) * 32 if compute_log_sumexp else 0
    return (
        empty((batch, length, heads, value.shape[-1]), query.dtype).transpose(1, 2),
        empty((batch, heads, rows), torch.float32),
        empty((), torch.int64),
        empty((), torch.int64),
    )


@rule("_scaled_dot_product_efficient_attention_backward")
def efficient_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    out: Tensor,
    logsumexp: Tensor,
    seed: Tensor,
    offset: Tensor,
    dropout_p: float,
    grad_input_mask: Sequence[bool],
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Any:
    """The gradients of query, key and value, laid out with heads behind the sequence, and none of a bias."""
    if not _are_heads(query, key, value) or (attn_bias is not None and grad_input_mask[3]):
        return NotImplemented
    return (*_gradients(query, key, value), None)


def _are_heads(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether they are [N, heads, s, d] of one floating point dtype, and fit each other."""
    return (
        query.dim() == key.dim() == value.dim() == 4
        and query.dtype in FLOATS
        and query.dtype is key.dtype is value.dtype
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and query.shape[3] == key.shape[3]
        and key.shape[2] == value.shape[2]
    )


def _gradients(*inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        empty((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), x.dtype).transpose(1, 2) for x in inputs
    )
