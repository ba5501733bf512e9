"""Convolutions that torch does itself on the CPU, without oneDNN: those of one small sample.

A matrix product over columns: for every position the part of the input that a filter looks at (im2col).
Which convolutions these are is ConvParams::use_onednn in ATen/native/Convolution.cpp; what they allocate was
measured op by op (tests/memory/test_cpu_kernels.py), torch 2.14.1, float32.
"""

from __future__ import annotations

from math import prod
from typing import Any

from modelsum.memory.cpu.layouts import are_channels_last, copied_bytes
from modelsum.memory.cpu.machine import threads

_SMALL = 20480  # elements of an input, its first four dimensions
_MANY_SAMPLES = 16
_LARGE_KERNEL = 3  # oneDNN does a kernel that is larger than this in both directions


def is_native(x: Any, weight: Any, stride: Any, dilation: Any, groups: int) -> bool:
    """Whether torch does the convolution itself."""
    kernel = tuple(weight.shape[2:])
    if threads() == 1 and weight.element_size() == 4 and _is_simple(x, kernel, stride, dilation):
        return True
    return bool(
        groups == 1
        and x.shape[0] == 1
        and weight.element_size() == 4
        and prod(x.shape[:4]) <= _SMALL
        and (len(kernel) == 1 or min(kernel[-2:]) <= _LARGE_KERNEL)
    )


def _is_simple(x: Any, kernel: tuple[int, ...], stride: Any, dilation: Any) -> bool:
    """A product of a matrix that no other thread helps with."""
    return x.shape[0] < _MANY_SAMPLES and max(kernel[-2:]) == 1 and max(stride) == 1 and max(dilation) == 1


def forward_bytes(x: Any, weight: Any, y: Any, stride: Any, padding: Any, transposed: bool) -> int:
    """Bytes of the columns, none where each is a position of the input as it stands; and of copies."""
    copied = copied_bytes(_are_channels_last(x, weight), x, weight)
    return copied + _columns(x, weight, y, stride, padding, transposed)


def _are_channels_last(x: Any, weight: Any) -> bool:
    return x.dim() == 4 and are_channels_last(x, weight)


def _is_plain(weight: Any, stride: Any, padding: Any, transposed: bool) -> bool:
    return prod(weight.shape[2:]) == 1 and max(stride) == 1 and not any(padding) and not transposed


def _columns(x: Any, weight: Any, y: Any, stride: Any, padding: Any, transposed: bool) -> int:
    if _is_plain(weight, stride, padding, transposed):
        return 0
    positions = prod((x if transposed else y).shape[2:])
    return int(weight.shape[1] * prod(weight.shape[2:]) * positions * weight.element_size())


def backward_bytes(
    x: Any,
    weight: Any,
    grad: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    wanted: Any,
) -> int:
    """As much; in up to two dimensions the gradient of the input alone is made without columns."""
    if weight.dim() == 5:
        return _backward_in_three(x, weight, grad, stride, padding, transposed, wanted)
    copied = copied_bytes(_are_channels_last(x, weight), x, weight, grad)
    if not wanted[1] and not transposed and max(dilation) == 1:
        return copied
    if wanted[2] and max(dilation) > 1:
        copied += int(grad.shape[1] * grad.element_size())  # the sums of the bias, once more
    return copied + _columns(x, weight, grad, stride, padding, transposed)


def _backward_in_three(
    x: Any, weight: Any, grad: Any, stride: Any, padding: Any, transposed: bool, wanted: Any
) -> int:
    """The gradient of the input is made with columns of every convolution, before that of the weight."""
    columns = _columns(x, weight, grad, stride, padding, transposed)
    made = weight.numel() * weight.element_size() if wanted[1] else 0
    for_input = columns or x.numel() * x.element_size()
    phases = [0]
    if wanted[0]:
        phases.append(copied_bytes(False, weight, grad) + int(for_input) - made)
    if wanted[1]:
        phases.append(copied_bytes(False, x, grad) + columns)
    return max(phases)
