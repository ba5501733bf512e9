"""New tensors: like another one, of a shape, or from a range.

Their options are dtype, layout, device, pin_memory and memory_format, None where they are not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import CHANNELS_LAST, CONTIGUOUS, META, empty, empty_like
from modelsum.trace.metakernels.table import rule


@rule("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like")
def like(x: Tensor, *, memory_format: torch.memory_format | None = None, **options: Any) -> Any:
    """A tensor of the shape of x, by default with its dtype and strides."""
    if not _are_plain(**options):
        return NotImplemented
    dtype = options.get("dtype") or x.dtype
    if memory_format is None or memory_format is torch.preserve_format:
        return empty_like(x, dtype)
    if memory_format is CONTIGUOUS or (memory_format is CHANNELS_LAST and x.dim() == 4):
        return empty(x.shape, dtype, memory_format)
    return NotImplemented


@rule("full_like")
def full_like(x: Tensor, fill_value: Any, **options: Any) -> Any:
    """As zeros_like, filled with a number."""
    return NotImplemented if isinstance(fill_value, complex) else like(x, **options)


@rule("new_empty", "new_zeros", "new_ones")
def new(x: Tensor, size: Sequence[int], **options: Any) -> Any:
    """A contiguous tensor of another shape, by default of the dtype of x."""
    if not _are_plain(**options) or not _is_shape(size):
        return NotImplemented
    return empty(size, options.get("dtype") or x.dtype)


@rule("new_empty_strided")
def new_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], **options: Any) -> Any:
    """A tensor of another shape and of given strides, by default of the dtype of x."""
    if not _are_plain(**options) or not _is_shape(size) or not _is_shape(stride):
        return NotImplemented
    return torch.empty_strided(size, stride, dtype=options.get("dtype") or x.dtype, device=META)


@rule("zeros", "ones", "rand", "randn")
def filled(size: Sequence[int], **options: Any) -> Any:
    """A contiguous tensor, by default of the default dtype."""
    return _made(size, torch.get_default_dtype(), **options)


@rule("scalar_tensor")
def scalar(number: Any, **options: Any) -> Any:
    """A tensor of no dimensions."""
    return filled((), **options)


@rule("arange")
def arange(end: Any, **options: Any) -> Any:
    """0, 1, 2, ... below an integer."""
    return arange_from(0, end, **options)


@rule("arange.start")
def arange_from(start: Any, end: Any, **options: Any) -> Any:
    """Start, start + 1, ... below an integer."""
    if type(start) is not int or type(end) is not int or end < start:
        return NotImplemented
    return _made((end - start,), torch.int64, **options)


def _made(size: Sequence[int], default: torch.dtype, **options: Any) -> Any:
    """A tensor for which meta has to be named: without a device it is one of the CPU."""
    if options.get("device") is None or not _are_plain(**options) or not _is_shape(size):
        return NotImplemented
    return empty(size, options.get("dtype") or default)


def _are_plain(
    *,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> bool:
    return (
        (device is None or device.type == "meta")
        and (layout is None or layout is torch.strided)
        and not pin_memory
    )


def _is_shape(size: Sequence[Any]) -> bool:
    return all(type(n) is int and n >= 0 for n in size)
