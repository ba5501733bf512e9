"""Fused attention as the CPU and as CUDA's memory-efficient kernel compute it, and the derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, empty, empty_like
from modelsum.trace.metakernels.table import rule


@rule("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(query: Tensor, key: Tensor, value: Tensor, *settings: Any, **options: Any) -> Any:
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
    return _gradients(query, key, value)


@rule("_scaled_dot_product_flash_attention")
def flash_attention_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    **options: Any,
) -> Any:
    """[N, heads, s, d], laid out as the query; logsumexp; the generator's state, of two numbers, and a spare.

    Keys and values may have fewer heads. Before torch 2.7 the state was two tensors on the host.
    """
    if query.dim() != 4 or query.dtype not in FLOATS or torch.version.hip or return_debug_mask:
        return NotImplemented
    batch, heads, length, _ = query.shape
    state = (empty((2,), torch.uint64), empty((), torch.uint64))
    logsumexp = empty((batch, heads, length), torch.float32)
    spare = empty((0,), query.dtype)
    return empty_like(query), logsumexp, None, None, length, key.shape[2], *state, spare


@rule("_scaled_dot_product_efficient_attention")
def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool,
    *settings: Any,
    **options: Any,
) -> Any:
    """[N, heads, s, d] with heads behind s, logsumexp of s rounded up to 32, and the generator's state."""
    if not _are_heads(query, key, value) or torch.version.hip:
        return NotImplemented
    batch, heads, length, _ = query.shape
    rows = -(-length // 32) * 32 if compute_log_sumexp else 0
    return (
        empty((batch, length, heads, value.shape[-1]), query.dtype).transpose(1, 2),
        empty((batch, heads, rows), torch.float32),
        *(empty((), torch.int64) for _ in range(2)),
    )


@rule("_scaled_dot_product_efficient_attention_backward")
def efficient_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *saved: Any, **options: Any
) -> Any:
    """The gradients of query, key and value, laid out with heads behind the sequence, and none of a bias."""
    bias, _, _, _, _, _, mask, *_ = saved
    if bias is not None and mask[3]:
        return NotImplemented
    of_inputs = _gradients(query, key, value)
    return of_inputs if of_inputs is NotImplemented else (*of_inputs, None)


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


def _gradients(*inputs: Tensor) -> Any:
    if not _are_heads(*inputs):
        return NotImplemented
    return tuple(
        empty((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), x.dtype).transpose(1, 2) for x in inputs
    )
