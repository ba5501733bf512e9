"""What torchvision's deformable convolution allocates on the CPU: a matrix product over columns.

Of as many samples at once as divide the batch, 32 at most (deform_conv2d_kernel.cpp). Measured by the
profiler's records of the CPU allocator, torchvision 0.29; tests/memory/test_deformable.py does it again.
"""

from __future__ import annotations

from typing import Any

from modelsum.memory.cpu.layouts import nbytes

_MOST_SAMPLES = 32


def forward(x: Any, weight: Any, offset: Any, mask: Any, bias: Any, *settings: Any, out: Any) -> int:
    """The columns, and the result twice: before the samples are in order, and before the bias.

    The settings are stride, padding and dilation, two each, groups, groups of offsets, and whether the mask
    is used.
    """
    copied = _copied(x, offset, weight, bias) + (_copied(mask) if settings[-1] else 0)
    return copied + _columns(x, weight, out) + 2 * nbytes(out)


def backward(
    grad: Any, x: Any, weight: Any, offset: Any, mask: Any, bias: Any, *settings: Any, out: Any
) -> int:
    """The columns with a part of the gradient; then with all of it and twice that of a group's weight."""
    groups: int = settings[6]
    columns = _columns(x, weight, grad)
    batch: int = x.shape[0]
    samples = _samples(batch)
    turned = nbytes(grad) if samples > 1 and grad.shape[1] > 1 else 0  # channels before samples
    for_input = columns + turned * samples // (batch * groups) - nbytes(weight)
    for_weight = columns + turned + 2 * nbytes(weight) // groups
    return _copied(x, offset, weight, mask, bias, grad) + max(for_input, for_weight) - nbytes(bias)


def _copied(*tensors: Any) -> int:
    return sum(nbytes(t) for t in tensors if not t.is_contiguous())


def _columns(x: Any, weight: Any, y: Any) -> int:
    rows = x.shape[1] * weight.shape[2] * weight.shape[3]
    positions = y.shape[2] * y.shape[3]
    return int(_samples(x.shape[0]) * rows * positions * x.element_size())


def _samples(batch: int) -> int:
    """How many are done at once."""
    return next(n for n in range(min(batch, _MOST_SAMPLES), 0, -1) if batch % n == 0)
