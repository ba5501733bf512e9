"""Which kernel oneDNN takes for a convolution in float32 with AVX2: the first in its list that can do it.

The order is that of cpu_convolution_list.cpp.
"""

from __future__ import annotations

from collections.abc import Callable

from modelsum.memory.cpu.avx2 import batches, direct, products
from modelsum.memory.cpu.avx2.shape import Kernel, Shape

_FORWARD = (
    batches.depthwise_forward,
    direct.depthwise_forward,
    batches.forward,
    direct.pointwise_forward,
    direct.forward,
    products.forward,
)
_INPUT_GRADIENT = (
    batches.input_gradient,
    batches.strided_input_gradient,
    direct.depthwise_input_gradient,
    direct.pointwise_input_gradient,
    direct.input_gradient,
    products.input_gradient,
)
_WEIGHT_GRADIENT = (
    direct.depthwise_weight_gradient,
    direct.pointwise_weight_gradient,
    direct.weight_gradient,
    products.weight_gradient,
)


def forward(shape: Shape) -> Kernel:
    """The kernel of a forward pass."""
    return _first(_FORWARD, shape)


def input_gradient(shape: Shape) -> Kernel:
    """The kernel that derives the input."""
    return _first(_INPUT_GRADIENT, shape)


def weight_gradient(shape: Shape) -> Kernel:
    """The kernel that derives the weight."""
    return _first(_WEIGHT_GRADIENT, shape)


def _first(kernels: tuple[Callable[[Shape], Kernel | None], ...], shape: Shape) -> Kernel:
    return next(kernel for candidate in kernels if (kernel := candidate(shape)) is not None)
