"""What the CPU's kernels that order, select and sum along a dimension allocate inside themselves.

Measured as those of `modelsum.memory.cpu.kernels`, whose table has these rules too; tests/memory/
test_plain_kernels.py measures again. They need no vector instructions.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from modelsum.memory.cpu.layouts import nbytes
from modelsum.memory.cpu.machine import AtLeast

_INDEX_BYTES = 8


def softmax(x: Any, *rest: Any, out: Any) -> int:
    """A contiguous copy of the input: 24,576 bytes for [4, 32, 48] transposed."""
    return 0 if x.is_contiguous() else nbytes(x)


def softmax_backward(grad: Any, result: Any, *rest: Any, out: Any) -> int:
    """Contiguous copies of both: 1 MiB for a gradient of [4, 256, 256] transposed."""
    return sum(nbytes(t) for t in (grad, result) if not t.is_contiguous())


def logsumexp(x: Any, *rest: Any, out: Any) -> int:
    """The exponentials, and the largest of each row: 124,800 bytes for [8, 64, 60] over the second."""
    return nbytes(x) + nbytes(out)


def cumsum(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """A copy in the result's type: 245,760 bytes for the positions of a mask of 30,720."""
    return 0 if x.dtype == out.dtype else nbytes(out)


def sort(x: Any, dim: int = -1, *rest: Any, out: Any, **_: Any) -> int:
    """Indices of one row: 40,000 bytes for rows of 5,000."""
    return int(_INDEX_BYTES * x.shape[dim]) if x.dim() else 0


def median(x: Any, dim: int | None = None, *rest: Any, out: Any) -> int:
    """A copy in which the rows lie together: 122,880 bytes for [8, 64, 60] over the second dimension."""
    return 0 if dim is not None and x.dim() and x.stride(dim) <= 1 else nbytes(x)


def kthvalue(x: Any, *rest: Any, out: Any) -> int:
    """A copy that is put into order, with its indices: 368,640 bytes for [8, 64, 60]."""
    return int(nbytes(x) + _INDEX_BYTES * x.numel())


def trilinear(
    a: Any, b: Any, c: Any, of_a: Any, of_b: Any, of_c: Any, summed: Any, unrolled: int = 1, *, out: Any
) -> int:
    """Of one step along the unrolled dimension: the product of the first two, then of all three.

    38,800 bytes for nn.Bilinear(96, 96, 6) of 100 samples (Linear.cpp, _trilinear). The lists name the
    dimensions that each operand lacks.
    """
    shapes = [_with_ones(t.shape, lacks) for t, lacks in ((a, of_a), (b, of_b), (c, of_c))]
    first = second = 1
    for d in range(len(shapes[0])):
        if d == unrolled:
            continue
        both, third = max(shapes[0][d], shapes[1][d]), shapes[2][d]
        first *= 1 if d in summed and d in of_c else both
        second *= 1 if d in summed else max(both, third)
    return int((first + second) * a.element_size())


def _with_ones(shape: Any, lacks: Any) -> list[int]:
    sizes = list(shape)
    for d in sorted(lacks):
        sizes.insert(d, 1)
    return sizes


def fourier(x: Any, dims: Any, *rest: Any, out: Any) -> int | None:
    """A copy where the other dimensions do not lie together: 4,096 bytes for [2, 16, 32] over the second.

    One dimension, or the last ones of a contiguous tensor; others were not measured.
    """
    dims = sorted(d % x.dim() for d in dims)
    if x.is_contiguous() and dims == list(range(x.dim() - len(dims), x.dim())):
        return 0
    if len(dims) > 1:
        return None
    order = [d for d in range(x.dim()) if d not in dims]
    order.sort(key=lambda d: -x.stride(d))
    long = [d for d in order if x.shape[d] > 1]
    together = all(x.stride(outer) == x.stride(inner) * x.shape[inner] for outer, inner in pairwise(long))
    return 0 if together else nbytes(x)


def fourier_to_real(x: Any, dims: Any, *rest: Any, out: Any) -> int:
    """As `fourier` over one dimension; over several the complex values of the others first."""
    if len(dims) == 1:
        copied = fourier(x, dims, out=out)
        assert copied is not None  # one dimension was measured in every layout
        return copied
    return AtLeast(nbytes(x), nbytes(x))


def distances(a: Any, b: Any, *, out: Any) -> int:
    """A product of the rows with their squares beside: 24,000 bytes for [2, 200, 8] and [2, 100, 8]."""
    squares = [nbytes(t) // max(t.shape[-1], 1) for t in (a, b)]
    beside = [nbytes(t) + 2 * n for t, n in zip((a, b), squares, strict=True)]
    numbers = 8 + a.element_size()  # by which the first is multiplied
    made = 2 * sum(squares) + nbytes(a) + max(beside[0], numbers), 2 * squares[1] + sum(beside)
    second = 2 * squares[0] + nbytes(b) + squares[1]
    return int(max(*made, second, sum(beside) + nbytes(out)) - nbytes(out))


def ctc_loss_backward(
    grad: Any, scores: Any, targets: Any, of_x: Any, of_y: Any, loss: Any, alpha: Any, *_: Any, out: Any
) -> int:
    """As many numbers as the forward pass kept: 16,800 bytes for [4, 50, 21] of them."""
    return nbytes(alpha)
