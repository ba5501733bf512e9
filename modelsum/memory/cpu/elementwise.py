"""Copies that CPU kernels make of whole operands: to a common type, to float32, to another layout.

Measured as those of `modelsum.memory.cpu.kernels`, whose table has these rules too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from modelsum.memory.cpu.layouts import nbytes

_FLOAT_BYTES = 4


def mixed_types(*operands: Any, out: Any, **_: Any) -> int:
    """Operands of another type than the result are cast first: 2 MiB for [8, 64, 32, 32] + float32.

    (TensorIterator's promote_inputs_to_common_dtype. On CUDA kernels read what they find.)
    """
    tensors = (t for t in operands if hasattr(t, "dtype"))
    return int(sum(t.numel() for t in tensors if t.dtype != out.dtype and t.dim()) * out.element_size())


def mean(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """From 16 bits, a copy in float32 and the sums: 2,099,200 bytes for [8, 64, 32, 32] over the last two."""
    return int(_FLOAT_BYTES * (x.numel() + out.numel())) if x.element_size() == 2 else 0


def sum_over(x: Any, dims: Any = None, *rest: Any, out: Any, **_: Any) -> int:
    """The same, where what is summed does not lie together: 2,097,408 bytes over all but the second."""
    if x.element_size() != 2 or not x.is_floating_point():
        return 0
    return float32_sums(x.shape, x.stride(), dims)


def float32_sums(shape: Sequence[int], strides: Sequence[int], dims: Sequence[int] | None) -> int:
    """A copy in float32 and the sums, of 16 bits that are summed in two runs or more.

    (ReduceOps.cpp, should_use_acc_buffer, after TensorIterator has put together what lies together.)
    """
    summed = {d % len(shape) for d in dims} if dims else set(range(len(shape)))
    runs, after = 0, -1
    for d in _by_stride([d for d in reversed(range(len(shape))) if d in summed and shape[d] > 1], strides):
        runs += strides[d] != after
        after = shape[d] * strides[d]
    if runs < 2:
        return 0
    return _FLOAT_BYTES * (prod(shape) + prod(n for d, n in enumerate(shape) if d not in summed))


def _by_stride(dims: list[int], strides: Sequence[int]) -> list[int]:
    """Sorted by insertion; a dimension that is expanded is passed over and keeps its place."""
    for start in range(1, len(dims)):
        at = start
        for before in reversed(range(start)):
            one, other = strides[dims[before]], strides[dims[at]]
            if one == 0 or other == 0:
                continue
            if one < other:
                break
            if one > other:
                dims[before], dims[at] = dims[at], dims[before]
                at = before
    return dims


def complex_size(x: Any, *, out: Any, **_: Any) -> int:
    """Of complex numbers, the result in their type first: 4,096 bytes for the sizes of [8, 64]."""
    return nbytes(x) if x.is_complex() else 0


def copy(target: Any, x: Any, *rest: Any, out: Any) -> int:
    """A tile for transposing a matrix: 14,400 bytes for [13, 512] (Copy.cpp, copy_same_type_transpose_)."""
    return _tile(target, x)


def clone(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """As copy."""
    return _tile(out, x)


def _tile(target: Any, x: Any) -> int:
    is_transposed = x.dim() == 2 and x.stride() == (1, x.shape[0]) and target.is_contiguous()
    same = target.dtype == x.dtype and target.shape == x.shape
    return _TILE * _TILE * int(x.element_size()) if is_transposed and same and x.numel() >= _TILE**2 else 0


_TILE = 60
