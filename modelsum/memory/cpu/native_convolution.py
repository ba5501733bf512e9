"""Convolutions that torch does itself on the CPU, without oneDNN: those of one small sample.

A matrix product over columns: for every position the part of the input that a filter looks at (im2col).
Which convolutions these are is ConvParams::use_onednn in ATen/native/Convolution.cpp; what they allocate was
measured op by op (tests/memory/test_cpu_kernels.py), torch 2.14.1, float32.
"""

from __future__ import annotations

from math import prod
from typing import Any

_SMALL = 20480  # elements of an input, its first four dimensions
_LARGE_KERNEL = 3  # oneDNN does a kernel that is larger than this in both directions


def is_native(x: Any, weight: Any, groups: int) -> bool:
    """Whether torch does the convolution itself."""
    kernel = tuple(weight.shape[2:])
    return bool(
        groups == 1
        and x.shape[0] == 1
        and weight.element_size() == 4
        and prod(x.shape[:4]) <= _SMALL
        and (len(kernel) == 1 or min(kernel[-2:]) <= _LARGE_KERNEL)
    )


def forward_bytes(x: Any, weight: Any, y: Any, stride: Any, padding: Any, transposed: bool) -> int:
    """Bytes of the columns; none where each is a position of the input as it stands."""
    kernel = tuple(weight.shape[2:])
    plain = prod(kernel) == 1 and max(stride) == 1 and not any(padding) and len(kernel) < 3
    if plain and not transposed:
        return 0
    positions = prod((x if transposed else y).shape[2:])
    return int(weight.shape[1] * prod(kernel) * positions * weight.element_size())


def backward_bytes(
    x: Any,
    weight: Any,
    grad: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    wants_weight: bool,
) -> int:
    """As much; a plain convolution in two dimensions makes its input's gradient without columns."""
    if not wants_weight and not transposed and max(dilation) == 1 and weight.dim() < 5:
        return 0
    return forward_bytes(x, weight, grad, stride, padding, transposed)
