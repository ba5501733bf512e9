"""Batch, layer, group and weight normalisation, and their derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from modelsum.trace.metakernels.layout import (
    CHANNELS_LAST,
    CHANNELS_LAST_3D,
    CONTIGUOUS,
    FLOATS,
    empty,
    empty_like,
    suggested_format,
)
from modelsum.trace.metakernels.table import rule

# ---- batch normalisation


@rule("native_batch_norm")
def native_batch_norm(x: Tensor, *settings: Any) -> Any:
    """Normalised x, and the mean and 1 / deviation that training saves; in evaluation these are of size 0."""
    *of_channels, training, _, _ = settings  # weight and bias, running mean and variance
    if not _is_batch(x) or not _are_of(x, (x.shape[1],), of_channels):
        return NotImplemented
    if not training and (of_channels[2] is None or of_channels[3] is None):
        return NotImplemented
    saved = (x.shape[1] if training else 0,)
    return _batch_normalised(x), empty(saved, x.dtype), empty(saved, x.dtype)


@rule("native_batch_norm_backward")
def native_batch_norm_backward(grad: Tensor, x: Tensor, weight: Tensor | None, *settings: Any) -> Any:
    """The gradients of input, weight and bias, those that the mask asks for."""
    *_, mask = settings
    channels = (x.shape[1],)
    if grad.shape != x.shape or not _is_batch(x) or not _are_of(x, channels, (weight,)):
        return NotImplemented
    return _batch_normalised(x) if mask[0] else None, *_of_affine(channels, x, mask[1:])


def _is_batch(x: Tensor) -> bool:
    return x.dtype in FLOATS and x.dim() >= 2 and x.numel() > 0


def _batch_normalised(x: Tensor) -> Tensor:
    if x.is_contiguous():
        chosen = CONTIGUOUS
    elif x.dim() == 4 and x.is_contiguous(memory_format=CHANNELS_LAST):
        chosen = CHANNELS_LAST
    elif x.dim() == 5 and x.is_contiguous(memory_format=CHANNELS_LAST_3D):
        chosen = CHANNELS_LAST_3D
    else:
        chosen = suggested_format(x)
    return empty(x.shape, x.dtype, chosen)


# ---- layer normalisation


@rule("native_layer_norm")
def native_layer_norm(
    x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    """Contiguous normalised x, and mean and 1 / deviation, in which the normalised dimensions are 1."""
    shape = tuple(normalized_shape)
    outer = x.dim() - len(shape)
    if not shape or outer < 0 or x.shape[outer:] != shape or not _are_of(x, shape, (weight, bias)):
        return NotImplemented
    if x.dtype not in FLOATS or not x.numel():
        return NotImplemented
    groups = (*x.shape[:outer], *(1 for _ in shape))
    return empty(x.shape, x.dtype), empty(groups, x.dtype), empty(groups, x.dtype)


@rule("native_layer_norm_backward")
def native_layer_norm_backward(
    grad: Tensor, x: Tensor, normalized_shape: Sequence[int], *settings: Any
) -> Any:
    """The gradients of input, weight and bias, contiguous, those that the mask asks for."""
    _, _, weight, bias, mask = settings
    shape = tuple(normalized_shape)
    if x.dtype not in FLOATS or not x.numel() or not _are_of(x, shape, (weight, bias)):
        return NotImplemented
    asked = (mask[1] and weight is not None, mask[2] and bias is not None)
    return empty(x.shape, x.dtype) if mask[0] else None, *_of_affine(shape, x, asked)


# ---- group normalisation


@rule("native_group_norm")
def native_group_norm(x: Tensor, *settings: Any) -> Any:
    """Normalised x, and mean and 1 / deviation of each group of each sample."""
    weight, bias, batch, channels, positions, groups, _ = settings
    if not _is_batch(x) or not _are_of(x, (channels,), (weight, bias)) or groups < 1 or channels % groups:
        return NotImplemented
    if x.numel() != batch * channels * positions:
        return NotImplemented
    saved = (batch, groups)
    return empty(x.shape, x.dtype, suggested_format(x)), empty(saved, x.dtype), empty(saved, x.dtype)


@rule("native_group_norm_backward")
def native_group_norm_backward(grad: Tensor, x: Tensor, *settings: Any) -> Any:
    """The gradients of input, weight and bias, those that the mask asks for."""
    _, _, weight, _, channels, _, _, mask = settings
    if grad.shape != x.shape or not _is_batch(x) or not _are_of(x, (channels,), (weight,)):
        return NotImplemented
    return _denormalised(x) if mask[0] else None, *_of_affine((channels,), x, mask[1:])


def _denormalised(x: Tensor) -> Tensor:
    if x.is_contiguous():
        return empty_like(x)
    return empty(x.shape, x.dtype, suggested_format(x))


# ---- weight normalisation


@rule("_weight_norm_interface_backward")
def weight_norm_backward(grad: Tensor, v: Tensor, g: Tensor, norms: Tensor, dim: int) -> Any:
    """The gradients of direction and length, contiguous. torch 2.6 has no meta kernel for it."""
    if v.dtype not in FLOATS or g.dtype is not v.dtype or not all(t.is_contiguous() for t in (v, g, norms)):
        return NotImplemented
    return empty(v.shape, v.dtype), empty(g.shape, g.dtype)


def _of_affine(shape: Sequence[int], x: Tensor, mask: Sequence[bool]) -> Iterator[Tensor | None]:
    """The gradients of weight and bias, those that the mask asks for."""
    return (empty(shape, x.dtype) if asked else None for asked in mask)


def _are_of(x: Tensor, shape: Sequence[int], tensors: Sequence[Tensor | None]) -> bool:
    """Whether the tensors that are given have this shape and the dtype of x."""
    return all(t is None or (t.dtype is x.dtype and t.shape == shape) for t in tensors)
