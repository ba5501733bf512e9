"""What the CPU's kernels that resample images and volumes allocate inside themselves.

Measured as those of `modelsum.memory.cpu.kernels`, whose table has these rules too; tests/memory/
test_plain_kernels.py measures again. They need no vector instructions.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any

from modelsum.memory.cpu.layouts import nbytes

_MOST_RESAMPLED_PIXELS = 128
_TAP_BYTES = 8 + 4  # an index and a weight
_WINDOW_BYTES = 4 * 8  # of a filter with anti-aliasing: where it begins, its size, its stride, its weights
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


def pixels(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """Of nearest and bilinear: contiguous images are brought to channels_last and back.

    10,485,760 bytes for [8, 64, 32, 32] x 2. Only up to a height and width of 128 together
    (UpSampleKernel.cpp, _use_vectorized_kernel_cond_2d).
    """
    is_small = sum(out.shape[2:]) <= _MOST_RESAMPLED_PIXELS
    return nbytes(x) + nbytes(out) if is_small and x.is_contiguous() and prod(x.shape[2:]) > 1 else 0


def nearest(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """An index and a weight for each position along each dimension: 504 bytes for [2, 4, 6, 7, 8] x 2."""
    return _taps(x, out, "nearest")


def linear(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """The same for two neighbours: 1,008 bytes for [2, 4, 6, 7, 8] x 2. Nothing in channels last."""
    return _taps(x, out, "linear")


def cubic(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """The same for four neighbours: 3,168 bytes for [2, 4, 16, 17] x 2, in every layout."""
    return int(sum(out.shape[2:]) * _TAPS["cubic"] * _TAP_BYTES)


def _taps(x: Any, out: Any, kind: str) -> int:
    last = x.dim() > 3 and x.shape[1] > 1 and x.stride(1) == 1
    return 0 if last else int(sum(out.shape[2:]) * _TAPS[kind] * _TAP_BYTES)


def expanded_gradient(grad: Any, *rest: Any, out: Any, **_: Any) -> int:
    """A copy of an expanded gradient, as that of a sum: 2,752,512 bytes for [8, 21, 64, 64]."""
    return nbytes(grad) if 0 in grad.stride() and grad.numel() > 1 else 0


def contiguous_gradient(grad: Any, *rest: Any, out: Any, **_: Any) -> int:
    """A copy of a gradient that is not contiguous: 34,816 bytes for [2, 4, 32, 34] in channels_last."""
    return 0 if grad.is_contiguous() else nbytes(grad)


def antialiased_linear(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """As `_antialiased`: 22,796 bytes for [2, 4, 16, 17] to 40 x 41."""
    return _antialiased(x, out, support=1)


def antialiased_cubic(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """As `_antialiased`: 4,640 bytes for [2, 4, 16, 17] to 8 x 8."""
    return _antialiased(x, out, support=2)


def _antialiased(x: Any, out: Any, support: int) -> int:
    """Rows that are resampled first, and the windows of one direction (UpSampleKernel.cpp, separable)."""
    rows = prod(x.shape[:3]) * out.shape[3] * x.element_size()

    def windows(of: int, to: int) -> int:
        width = 2 * ceil(support * max(of / to, 1.0)) + 1
        return int(to * (_WINDOW_BYTES + width * x.element_size()))

    most = max(windows(of, to) for of, to in zip(x.shape[2:], out.shape[2:], strict=True))
    return int(rows + most)


def affine_grid(theta: Any, *rest: Any, out: Any) -> int:
    """The grid that is transformed, one number more for each place: 12,288 bytes for [4, 16, 16, 2]."""
    return int(nbytes(out) // out.shape[-1] * (out.shape[-1] + 1))
