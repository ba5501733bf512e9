"""Copies that CPU kernels make of whole operands: to a common type, to float32, to another layout.

Measured as those of `modelsum.memory.cpu.kernels`, whose table has these rules too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelsum.memory.cpu.convolution import nbytes

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
    """The same, where what is summed does not lie together: 2,097,408 bytes over all but the second.

    (ReduceOps.cpp, should_use_acc_buffer.)
    """
    if x.element_size() != 2 or len(list(_stretches(x.shape, dims))) < 2:
        return 0
    return int(_FLOAT_BYTES * (x.numel() + out.numel()))


def _stretches(shape: Any, dims: Any) -> Iterable[int]:
    """The first of each run of neighbouring dimensions that are summed; those of one element do not count."""
    summed = {d % len(shape) for d in dims} if dims else set(range(len(shape)))
    long = [d for d, n in enumerate(shape) if n > 1]
    before = False
    for d in long:
        if d in summed and not before:
            yield d
        before = d in summed


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
