"""What convolutions in float32 allocate with AVX2, beyond the tensors that they are given and return.

torch brings its tensors to one layout, channels last where input or weight has them so; oneDNN's kernel says
what layout it wants of each (`modelsum.memory.cpu.avx2`), and what is not so is copied; then the result is
copied back. Measured op by op with the profiler's records of the allocator, torch 2.14.1, 1 and 2 threads
(tests/memory/test_cpu_avx2.py does it again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelsum.memory.cpu.avx2 import choice
from modelsum.memory.cpu.avx2.shape import Kernel, Shape, Three, booked
from modelsum.memory.cpu.layouts import are_channels_last, copied_bytes
from modelsum.memory.cpu.machine import AtLeast

_FLOAT_BYTES = 4
_NESTED_BYTES = 128  # around the scratchpad of a kernel that another one uses


def forward(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    out: Any,
) -> int:
    """A forward pass."""
    settings = stride, padding, dilation, groups
    shape = _shape(x, weight, out, *settings, bias=bias is not None)
    copied = copied_bytes(shape.channels_last, x, weight)
    kernel = choice.forward(shape)
    return _most([_bounded(lambda kernel: _for_result(kernel, shape), kernel)], copied)


def backward(
    grad: Any,
    x: Any,
    weight: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> int:
    """A backward pass: first for the input, then for weight and bias."""
    settings = stride, padding, dilation, groups
    shape = _shape(x, weight, grad, *settings, bias=wanted[2])
    copied = copied_bytes(shape.channels_last, x, weight, grad)
    bias = _FLOAT_BYTES * shape.outputs * shape.groups if wanted[2] else 0
    made = (shape.weight if wanted[1] else 0) + bias
    figures = [0]
    if wanted[0]:
        figures.append(
            _bounded(lambda kernel: _for_input(kernel, shape) - made, choice.input_gradient(shape))
        )
    if wanted[1]:
        kernel = choice.weight_gradient(shape)
        figures.append(_bounded(lambda kernel: _for_weight(kernel, shape, bias) - made, kernel))
    return _most(figures, copied)


def transposed_forward(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    out: Any,
) -> int:
    """A forward pass of a transposed convolution: as the gradient of an input, from result to input.

    A bias is added to a result beside the one that is returned, where the kernel cannot.
    """
    shape = _shape(out, weight, x, stride, padding, dilation, groups, bias=False)
    kernel = _nested(choice.input_gradient(shape))
    if bias is not None and not kernel.adds_bias:
        kernel = kernel._replace(scratch=kernel.scratch + booked(kernel.source))
    copied = copied_bytes(shape.channels_last, x, weight)
    return _most([_bounded(lambda kernel: _for_input(kernel, shape), kernel)], copied)


def transposed_backward(
    grad: Any,
    x: Any,
    weight: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> int:
    """Its backward pass: for the input as a convolution goes forward."""
    shape = _shape(grad, weight, x, stride, padding, dilation, groups, bias=False)
    bias = _FLOAT_BYTES * shape.inputs * shape.groups if wanted[2] else 0
    made = (shape.weight if wanted[1] else 0) + bias
    figures = [0]
    if wanted[0]:
        kernel = _nested(choice.forward(shape))
        figures.append(_bounded(lambda kernel: _for_result(kernel, shape) - made, kernel))
    if wanted[1]:
        kernel = _nested(choice.weight_gradient(shape))
        figures.append(_bounded(lambda kernel: _for_weight(kernel, shape, bias) - made, kernel))
    return _most(figures, copied_bytes(shape.channels_last, x, weight, grad))


def _nested(kernel: Kernel) -> Kernel:
    return kernel._replace(scratch=kernel.scratch + _NESTED_BYTES) if kernel.scratch else kernel


def _most(figures: list[int], copied: int) -> int:
    most = copied + max(figures)
    highest = max(
        figure + (figure.spare or 0) if isinstance(figure, AtLeast) else figure for figure in figures
    )
    return AtLeast(most, highest + copied - most) if highest + copied > most else most


def _for_result(kernel: Kernel, shape: Shape) -> int:
    running = _inputs(kernel.source, kernel.copies_source) + kernel.scratch
    running += _inputs(kernel.weight, kernel.copies_weight) + kernel.result - shape.results
    if shape.channels_last:
        return running
    at_end = kernel.result + (shape.results if kernel.turned else 0)
    return max(running, at_end)


def _for_input(kernel: Kernel, shape: Shape) -> int:
    running = _inputs(kernel.result, kernel.copies_result) + kernel.scratch
    running += _inputs(kernel.weight, kernel.copies_weight) + kernel.source - shape.source
    if shape.channels_last:
        return running
    at_end = kernel.source + (shape.source if kernel.turned else 0)
    return max(running, at_end)


def _for_weight(kernel: Kernel, shape: Shape, bias: int) -> int:
    running = _inputs(kernel.result, kernel.copies_result) + kernel.scratch + bias
    running += _inputs(kernel.source, kernel.copies_source) + kernel.weight
    copies = 2 if shape.channels_last else 1
    return max(running, kernel.weight + copies * shape.weight + 2 * bias)


def _inputs(nbytes: int, is_copied: bool) -> int:
    return nbytes if is_copied else 0


def _bounded(bytes_of: Callable[[Kernel], int], kernel: Kernel) -> int:
    """The figure, a lower bound where the kernel may take more."""
    least = int(bytes_of(kernel))
    most = int(bytes_of(kernel._replace(scratch=kernel.scratch + kernel.spare)))
    return AtLeast(least, most - least) if most > least else least


def _shape(
    x: Any,
    weight: Any,
    y: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    bias: bool,
) -> Shape:
    return Shape(
        batch=x.shape[0],
        inputs=x.shape[1] // groups,
        outputs=weight.shape[0] // groups,
        groups=groups,
        size=_three(x.shape[2:], 1),
        result=_three(y.shape[2:], 1),
        kernel=_three(weight.shape[2:], 1),
        stride=_three(stride, 1),
        padding=_three(padding, 0),
        dilation=_three(dilation, 1),
        bias=bias,
        channels_last=are_channels_last(x, weight),
        dimensions=max(weight.dim() - 2, 2),
    )


def _three(values: Sequence[int], fill: int) -> Three:
    d, h, w = (*(fill,) * (3 - len(values)), *values)
    return d, h, w
