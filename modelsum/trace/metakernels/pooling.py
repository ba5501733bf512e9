"""Pooling and resampling of feature maps, and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, empty, suggested_format
from modelsum.trace.metakernels.table import rule


@rule("max_pool2d_with_indices")
def max_pool2d_with_indices(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    """The maxima, and int64 indices of where they were."""
    sizes = _pooled(x, kernel_size, stride or kernel_size, padding, dilation, ceil_mode=ceil_mode)
    if sizes is None:
        return NotImplemented
    shape, chosen = (*x.shape[:-2], *sizes), suggested_format(x)
    return empty(shape, x.dtype, chosen), empty(shape, torch.int64, chosen)


@rule("avg_pool2d")
def avg_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The averages."""
    sizes = _pooled(x, kernel_size, stride or kernel_size, padding, (1,), ceil_mode=ceil_mode)
    if sizes is None or divisor_override == 0:
        return NotImplemented
    return empty((*x.shape[:-2], *sizes), x.dtype, suggested_format(x))


def _pooled(x: Tensor, *settings: Sequence[int], ceil_mode: bool) -> list[int] | None:
    """Height and width behind the pool, or None where the arguments do not fit together."""
    if x.dim() not in (3, 4) or x.dtype not in FLOATS or not x.numel():
        return None
    if any(len(setting) not in (1, 2) for setting in settings):
        return None
    sizes = [
        _pooled_size(x.shape[axis - 2], ceil_mode, *(setting[axis % len(setting)] for setting in settings))
        for axis in (0, 1)
    ]
    return sizes if min(sizes) > 0 else None


def _pooled_size(size: int, ceil_mode: bool, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """ATen/native/Pool.h, pooling_output_shape; 0 where that raises."""
    if kernel < 1 or stride < 1 or dilation < 1 or not 0 <= padding <= kernel // 2:
        return 0
    covered = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (covered + (stride - 1 if ceil_mode else 0)) // stride + 1
    # The last window has to begin inside the input or the padding on its left.
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


@rule("_adaptive_avg_pool2d")
def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Any:
    """Averages over as many windows as asked for."""
    if x.dim() not in (3, 4) or x.dtype not in FLOATS or not x.numel():
        return NotImplemented
    if len(output_size) != 2 or min(output_size) < 1:
        return NotImplemented
    return empty((*x.shape[:-2], *output_size), x.dtype, suggested_format(x))


@rule("max_pool2d_with_indices_backward", "avg_pool2d_backward", "_adaptive_avg_pool2d_backward")
def pool_backward(grad: Tensor, x: Tensor, *settings: Any) -> Any:
    """The gradient of the input."""
    if grad.dtype is not x.dtype or x.dtype not in FLOATS or not grad.numel() or not x.numel():
        return NotImplemented
    if grad.shape[:-2] != x.shape[:-2]:
        return NotImplemented
    return empty(x.shape, x.dtype, suggested_format(x))


# ---- resampling


@rule("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d")
def upsample2d(x: Tensor, output_size: Sequence[int], *settings: Any, **scales: Any) -> Any:
    """[N, C, H, W] -> [N, C, *output_size]."""
    if x.dim() != 4 or x.dtype not in FLOATS or not x.numel():
        return NotImplemented
    if len(output_size) != 2 or min(output_size) < 1:
        return NotImplemented
    return empty((*x.shape[:2], *output_size), x.dtype, suggested_format(x))


@rule("upsample_nearest2d_backward", "_upsample_nearest_exact2d_backward")
def upsample2d_backward(
    grad: Tensor, output_size: Sequence[int], input_size: Sequence[int], *settings: Any, **scales: Any
) -> Any:
    """[N, C, *output_size] -> [N, C, H, W]."""
    if grad.dtype not in FLOATS or len(input_size) != 4 or min(input_size) < 1:
        return NotImplemented
    if grad.shape != (*input_size[:2], *output_size):
        return NotImplemented
    return empty(input_size, grad.dtype, suggested_format(grad))
