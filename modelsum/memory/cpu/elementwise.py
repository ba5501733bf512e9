"""Copies that CPU kernels make of whole operands: to a common type, to float32, to another layout.

Measured as those of `modelsum.memory.cpu.kernels`, whose table has these rules too.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

from modelsum.memory.cpu.convolution import nbytes

_FLOAT_BYTES = 4
_MOST_RESAMPLED_PIXELS = 128


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


def resample(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """Contiguous images are brought to channels_last and back: 10,485,760 bytes for [8, 64, 32, 32] x 2.

    Only up to a height and width of 128 together (UpSampleKernel.cpp, _use_vectorized_kernel_cond_2d).
    """
    is_small = sum(out.shape[2:]) <= _MOST_RESAMPLED_PIXELS
    return nbytes(x) + nbytes(out) if is_small and x.is_contiguous() and prod(x.shape[2:]) > 1 else 0


def resample_backward(grad: Any, *rest: Any, out: Any, **_: Any) -> int:
    """A copy of an expanded gradient, as that of a sum: 2,752,512 bytes for [8, 21, 64, 64]."""
    return nbytes(grad) if 0 in grad.stride() and grad.numel() > 1 else 0
