"""New tensors: like another one, or from a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import CHANNELS_LAST, CONTIGUOUS, META, empty, empty_like
from modelsum.trace.metakernels.table import rule


@rule("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like")
def like(
    x: Tensor,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    memory_format: torch.memory_format | None = None,
) -> Any:
    """A tensor of the shape of x, by default with its dtype and strides."""
    if not _is_on_meta(layout, device, pin_memory):
        return NotImplemented
    return _formatted(x, dtype, memory_format)


@rule("full_like")
def full_like(x: Tensor, fill_value: Any, **options: Any) -> Any:
    """As zeros_like, filled with a number."""
    return NotImplemented if isinstance(fill_value, complex) else like(x, **options)


@rule("clone")
def clone(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Any:
    """A copy of x."""
    return _formatted(x, None, memory_format)


@rule("new_empty", "new_zeros", "new_ones")
def new(
    x: Tensor,
    size: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """A contiguous tensor of another shape, by default of the dtype of x."""
    if not _is_on_meta(layout, device, pin_memory) or not _is_shape(size):
        return NotImplemented
    return empty(size, dtype or x.dtype)


@rule("zeros", "ones", "rand", "randn")
def filled(
    size: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """A contiguous tensor, by default of the default dtype."""
    if device is None or not _is_on_meta(layout, device, pin_memory) or not _is_shape(size):
        return NotImplemented
    return empty(size, dtype or torch.get_default_dtype())


@rule("scalar_tensor")
def scalar(
    number: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """A tensor of no dimensions."""
    return filled((), dtype=dtype, layout=layout, device=device, pin_memory=pin_memory)


@rule("new_empty_strided")
def new_strided(
    x: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """A tensor of another shape and of given strides, by default of the dtype of x."""
    if not _is_on_meta(layout, device, pin_memory) or not _is_shape(size) or not _is_shape(stride):
        return NotImplemented
    return torch.empty_strided(size, stride, dtype=dtype or x.dtype, device=META)


@rule("arange")
def arange(
    end: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """0, 1, 2, ... below an integer."""
    return arange_from(0, end, dtype=dtype, layout=layout, device=device, pin_memory=pin_memory)


@rule("arange.start")
def arange_from(
    start: Any,
    end: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    """Start, start + 1, ... below an integer."""
    if type(start) is not int or type(end) is not int or end < start:
        return NotImplemented
    if device is None or not _is_on_meta(layout, device, pin_memory):
        return NotImplemented
    return empty((end - start,), dtype or torch.int64)


def _is_on_meta(layout: torch.layout | None, device: torch.device | None, pin_memory: bool | None) -> bool:
    return (
        (device is None or device.type == "meta")
        and (layout is None or layout is torch.strided)
        and not pin_memory
    )


def _is_shape(size: Sequence[Any]) -> bool:
    return all(type(n) is int and n >= 0 for n in size)


def _formatted(x: Tensor, dtype: torch.dtype | None, memory_format: torch.memory_format | None) -> Any:
    if memory_format is None or memory_format is torch.preserve_format:
        return empty_like(x, dtype)
    if memory_format is CONTIGUOUS or (memory_format is CHANNELS_LAST and x.dim() == 4):
        return empty(x.shape, dtype or x.dtype, memory_format)
    return NotImplemented
