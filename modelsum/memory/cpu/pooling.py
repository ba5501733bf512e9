"""What pooling over images allocates inside itself on the CPU: copies, where a layout is not the kernel's.

A kernel works on tensors that are contiguous or laid out as channels_last: another input is copied, and of
a backward pass another gradient. Where the gradient has the other of these layouts than the input, the result
is made in that one first; a maximum's indices are then copied too. Measured by the profiler's records of the
CPU allocator, torch 2.14.1; tests/memory/test_plain_kernels.py does it again.
"""

from __future__ import annotations

from typing import Any

from modelsum.memory.cpu.layouts import nbytes


def is_channels_last(x: Any) -> bool:
    """Also of shapes whose layout is both, as of one channel: then it is no other one."""
    if x.dim() != 4:
        return False
    _, channels, rows, columns = x.shape
    return bool(x.stride() == (channels * rows * columns, 1, columns * channels, channels))


def _is_dense(x: Any) -> bool:
    return x.is_contiguous() or is_channels_last(x)


def pool(x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """A forward pass: [2, 8, 12, 16] transposed takes 12,288 bytes."""
    return 0 if _is_dense(x) else nbytes(x)


def pool_backward(grad: Any, x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """The gradient of an average."""
    return _of_layouts(grad, x, nbytes(x))


def max_pool_backward(grad: Any, x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """The gradient of a maximum; its last argument are the indices."""
    return _of_layouts(grad, x, nbytes(x) + nbytes(rest[-1]))


def adaptive_max_pool_backward(grad: Any, x: Any, *rest: Any, out: Any, **_: Any) -> int:
    """The gradient is copied to the input's layout."""
    return 0 if _fits(grad, x) else nbytes(grad)


def _of_layouts(grad: Any, x: Any, in_the_other: int) -> int:
    copied = 0 if _is_dense(grad) else nbytes(grad)
    if _fits(grad, x) or (copied and (x.is_contiguous() or not is_channels_last(x))):
        return copied
    return copied + in_the_other


def _fits(grad: Any, x: Any) -> bool:
    if x.is_contiguous() or not is_channels_last(x):
        return bool(grad.is_contiguous())
    return is_channels_last(grad)
