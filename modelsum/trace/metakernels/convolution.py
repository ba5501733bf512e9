"""Convolution of any dimension, transposed or not, and its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import (
    CHANNELS_LAST,
    CHANNELS_LAST_3D,
    CONTIGUOUS,
    FLOATS,
    empty,
    suggested_format,
)
from modelsum.trace.metakernels.table import rule


@rule("convolution")
def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """[N, in, *size] -> [N, out, *size'].

    The weight is [out, in / groups, *kernel], of a transposed convolution [in, out / groups, *kernel].
    The result is channels_last where input or weight is. Whether it is channels_last_3d depends on the
    machine, by way of oneDNN: that is left to torch.
    """
    if transposed:
        channels_in, channels_out = weight.shape[0], weight.shape[1] * groups
    else:
        channels_in, channels_out = weight.shape[1] * groups, weight.shape[0]
    if (
        weight.dim() < 3
        or x.dim() != weight.dim()
        or not _is_of(weight.dtype, x, bias)
        or (bias is not None and bias.shape != (channels_out,))
        or x.shape[1] != channels_in
        or groups < 1
        or weight.shape[0] % groups
        or not weight.numel()
    ):
        return NotImplemented
    sizes = [
        _transposed_size(*along) if transposed else _size(*along)
        for along in zip(
            x.shape[2:],
            weight.shape[2:],
            *(_each(setting, x.dim() - 2) for setting in (stride, padding, dilation, output_padding)),
            strict=True,
        )
    ]
    if min(*sizes, *x.shape) < 1:
        return NotImplemented
    chosen = _format(x, weight)
    if chosen is CHANNELS_LAST_3D:
        return NotImplemented
    return _laid_out((x.shape[0], channels_out, *sizes), x.dtype, chosen)


def _is_of(dtype: torch.dtype, x: Tensor, bias: Tensor | None) -> bool:
    return dtype in FLOATS and x.dtype is dtype and (bias is None or bias.dtype is dtype)


def _each(setting: Sequence[int], dimensions: int) -> Sequence[int]:
    return setting if len(setting) == dimensions else list(setting) * dimensions


def _size(size: int, kernel: int, stride: int, padding: int, dilation: int, _: int) -> int:
    """(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1; 0 where that raises."""
    covered = size + 2 * padding - dilation * (kernel - 1) - 1
    if covered < 0 or stride < 1 or padding < 0 or dilation < 1:
        return 0
    return covered // stride + 1


def _transposed_size(size: int, kernel: int, stride: int, padding: int, dilation: int, more: int) -> int:
    """(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1, as in ConvTranspose2d."""
    if stride < 1 or padding < 0 or dilation < 1 or not 0 <= more < max(stride, dilation):
        return 0
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1


def _format(x: Tensor, weight: Tensor) -> torch.memory_format:
    if x.dim() == 3:  # the kernel makes x contiguous, and both two-dimensional
        x, weight = x.contiguous().unsqueeze(2), weight.unsqueeze(2)
    chosen = suggested_format(x)
    return suggested_format(weight) if chosen is CONTIGUOUS else chosen


def _laid_out(shape: Sequence[int], dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    if len(shape) == 3 and memory_format is CHANNELS_LAST:
        return empty((*shape[:2], 1, shape[2]), dtype, memory_format).squeeze(2)
    return empty(shape, dtype, memory_format)


@rule("convolution_backward")
def convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *settings: Any) -> Any:
    """The gradients of input, weight and bias, those that the mask asks for."""
    *_, mask = settings
    if weight.dim() < 3 or x.dim() != weight.dim() or not _is_of(weight.dtype, x, grad):
        return NotImplemented
    if not x.numel() or not weight.numel():
        return NotImplemented
    chosen = _format(x, weight)
    if chosen is CHANNELS_LAST_3D:
        return NotImplemented
    return (
        _laid_out(x.shape, x.dtype, chosen) if mask[0] else None,
        _laid_out(weight.shape, weight.dtype, chosen) if mask[1] else None,
        empty((grad.shape[1],), weight.dtype) if mask[2] else None,
    )
