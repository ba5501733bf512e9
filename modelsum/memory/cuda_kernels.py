"""Memory that CUDA kernels allocate inside themselves, by op; and the searches of cuDNN.

A rule is called with the arguments of its op and `out=`, its result; it returns the most bytes that are
allocated while the kernel runs, beyond those of the result. Only shapes are looked at.

No GPU was at hand when these were written. What they say was chosen on one half of the models of
tests/oracles/gpu-training-memory.csv (real training processes on an A100) and confirmed on the other half
by tests/benchmarks/memory_gpu.py, which writes reports/memory-gpu.md.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[..., int | None]
Key: TypeAlias = Callable[..., Hashable | None]


def _nbytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _is_depthwise(x: Any, weight: Any, groups: int) -> bool:
    """Whether torch's own kernel runs (ATen/native/cuda/DepthwiseConv2d.cu), not cuDNN's."""
    return groups > 1 and groups == x.shape[1] and weight.shape[1] == 1


def _has_channels_last(tensor: Any) -> bool:
    return bool(tensor.dim() > 2 and tensor.stride(1) == 1 and tensor.shape[1] > 1)


def _in_channels_last(tensor: Any) -> int:
    """What a copy of the tensor with its channels last takes; nothing where they are last already."""
    return 0 if _has_channels_last(tensor) else _nbytes(tensor)


def convolution_backward(
    grad: Any,
    x: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Any,
    *,
    out: Any,
) -> int:
    """Input, gradient and weight with their channels last, where the kernel has more than one position.

    That is what cuDNN's kernels for tensor cores (TF32, which torch allows for convolutions, and halves)
    work on; the gradients of input and weight are two calls, the workspaces of which are about equal. On
    some 140 runs of convolutional networks of the training half, batches of 32 and 128, the median error of a
    fitted line goes from 2.4 to 1.5 % by this and the 90th percentile from 7.0 to 4.5 %. Twice these bytes
    are worse (2.1, 7.2), and so is the same for forward passes (2.5, 6.0); for convolutions of a single
    position it brings nothing.
    """
    if _is_depthwise(x, weight, groups) or prod(weight.shape[2:]) == 1:
        return 0
    copied = _in_channels_last(x) + _in_channels_last(grad)
    return copied + _in_channels_last(weight) if copied else 0


def columns_of_deformable(*arguments: Any, out: Any) -> None:
    """torchvision's kernel makes columns of a part of the batch, which part is not known here."""


KERNELS: dict[str, Rule] = {
    "convolution_backward": convolution_backward,
    "torchvision::deform_conv2d": columns_of_deformable,
    "torchvision::_deform_conv2d_backward": columns_of_deformable,
}


# ---- searches


def _search_forward(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, *rest: Any
) -> Hashable | None:
    transposed, _, groups = rest
    if _is_depthwise(x, weight, groups):
        return None
    shapes = (x.shape, weight.shape, _has_channels_last(x), _has_channels_last(weight))
    return (*shapes, tuple(stride), tuple(padding), tuple(dilation), transposed, groups)


def _search_backward(
    grad: Any, x: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any, *rest: Any
) -> Hashable | None:
    key = _search_forward(x, weight, None, stride, padding, dilation, *rest[:3])
    return None if key is None else (key, tuple(rest[3][:2]))


#: By op, what tells calls apart for which cuDNN searches an algorithm with torch.backends.cudnn.benchmark
#: (ConvolutionParams in ATen/native/cudnn/ConvShared.cpp). After each search torch empties the allocator's
#: cache (Conv_v8.cpp, run_single_conv): the first step leaves next to no fragmentation. What the search
#: itself takes, up to all of the device for a moment, cannot be told from shapes.
SEARCHES: dict[str, Key] = {"convolution": _search_forward, "convolution_backward": _search_backward}
