"""What the kernels of torch have in common: which tensors are plain, and the strides of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

META = torch.device("meta")
CONTIGUOUS = torch.contiguous_format
CHANNELS_LAST = torch.channels_last
CHANNELS_LAST_3D = torch.channels_last_3d

FLOATS = frozenset((torch.float32, torch.float64, torch.float16, torch.bfloat16))


def is_plain_meta(value: Any) -> bool:
    """Whether a value is a dense meta tensor and of no subclass that could override what an op does."""
    kind = type(value)
    return (kind is Tensor or kind is nn.Parameter) and value.is_meta and value.layout is torch.strided


def are_plain_meta(values: Any) -> bool:
    """`is_plain_meta` for every element of a list that is an argument."""
    return all(map(is_plain_meta, values))


def empty(
    shape: Sequence[int], dtype: torch.dtype, memory_format: torch.memory_format = CONTIGUOUS
) -> Tensor:
    """A meta tensor."""
    return torch.empty(tuple(shape), dtype=dtype, device=META, memory_format=memory_format)


def suggested_format(x: Tensor) -> torch.memory_format:
    """Tensor.suggest_memory_format of ATen: channels_last where the strides say so without ambiguity."""
    if x.dim() == 4:
        if _has_strides_of_channels_last(x, (1, 3, 2, 0)):
            return CHANNELS_LAST
    elif x.dim() == 5 and _has_strides_of_channels_last(x, (1, 4, 3, 2, 0)):
        return CHANNELS_LAST_3D
    return CONTIGUOUS


def _has_strides_of_channels_last(x: Tensor, inner_to_outer: tuple[int, ...]) -> bool:
    # c10/core/MemoryFormat.h, is_channels_last_strides_2d_s4; it says why [N, C, 1, 1] needs a choice.
    sizes, strides = x.shape, x.stride()
    if strides[1] == 0:
        return False
    least = 0
    for d in inner_to_outer:
        if sizes[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d]
        if sizes[d] > 1:
            least *= sizes[d]
    return True


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill their memory without gap or overlap, in whatever order of dimensions."""
    if x.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(x.stride(), x.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def is_expanded(x: Tensor) -> bool:
    """Whether several elements share memory because a dimension was expanded."""
    return not x.is_contiguous() and any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape, strict=True))


def empty_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """torch.empty_like with torch.preserve_format: the strides of x, without its gaps and overlaps."""
    if is_dense(x):
        return torch.empty_strided(x.shape, x.stride(), dtype=dtype or x.dtype, device=META)
    return laid_out_as((x,), x.shape, dtype or x.dtype)


# ---- elementwise results


def broadcast_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """The common shape under numpy's rules, or None where there is none."""
    common: list[int] = []
    for shape in shapes:
        if len(shape) > len(common):
            common[:0] = shape[: len(shape) - len(common)]
        offset = len(common) - len(shape)
        for i, size in enumerate(shape, offset):
            if common[i] == 1:
                common[i] = size
            elif size not in (1, common[i]):
                return None
    return tuple(common)


def elementwise(dtype: torch.dtype, *operands: Tensor) -> Any:
    """The result of an elementwise op over `operands`, in the order in which its kernel looks at them.

    Source: ATen/TensorIterator.cpp. Operands of one shape and layout pass it on; otherwise the dimensions
    are ordered by the strides of the operands, the first operand first, and laid out densely.
    """
    first = operands[0]
    shape = first.shape
    if all(x.shape == shape for x in operands):
        if all(x.is_contiguous() for x in operands):
            return empty(shape, dtype)
        if all(x.is_contiguous(memory_format=CHANNELS_LAST) for x in operands):
            return empty(shape, dtype, CHANNELS_LAST)
        strides = first.stride()
        if all(x.stride() == strides for x in operands) and is_dense(first):
            return torch.empty_strided(shape, strides, dtype=dtype, device=META)
    else:
        common = broadcast_shape([x.shape for x in operands])
        if common is None:
            return NotImplemented
        shape = torch.Size(common)
    return NotImplemented if 0 in shape else laid_out_as(operands, shape, dtype)


def elementwise_with_number(dtype: torch.dtype, x: Tensor) -> Any:
    """The result of an op whose kernel has a number for its second operand.

    A tensor of no dimensions beside another one keeps torch from passing on the layout of that as it is,
    which shows in the strides of dimensions of size 1 alone.
    """
    if 0 in x.shape:
        return NotImplemented
    if x.is_contiguous() and 1 not in x.shape:
        return empty(x.shape, dtype)
    return laid_out_as((x,), x.shape, dtype)


def laid_out_as(operands: Sequence[Tensor], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Dense, the dimensions in the order that the strides of the operands, broadcast to the shape, have.

    Not for shapes without elements: what strides those get is another matter.
    """
    order = _inner_to_outer([_broadcast_strides(x, shape) for x in operands], shape)
    strides = [0] * len(shape)
    step = 1
    for d in order:
        strides[d] = step
        step *= shape[d]
    return torch.empty_strided(tuple(shape), strides, dtype=dtype, device=META)


def _broadcast_strides(x: Tensor, shape: Sequence[int]) -> list[int]:
    offset = len(shape) - x.dim()
    own = [
        0 if size == 1 and shape[i] != 1 else stride
        for i, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True), offset)
    ]
    return [0] * offset + own


def _inner_to_outer(strides: Sequence[Sequence[int]], shape: Sequence[int]) -> list[int]:
    """TensorIteratorBase::reorder_dimensions: an insertion sort, whose comparison may be ambiguous."""
    order = list(reversed(range(len(shape))))
    for i in range(1, len(order)):
        outer = i
        for inner in reversed(range(i)):
            comparison = _compare(order[inner], order[outer], strides, shape)
            if comparison > 0:
                order[inner], order[outer] = order[outer], order[inner]
                outer = inner
            elif comparison < 0:
                break
    return order


def _compare(d0: int, d1: int, strides: Sequence[Sequence[int]], shape: Sequence[int]) -> int:
    """1 where d0 belongs outside of d1, -1 where inside, 0 where no operand tells."""
    for operand in strides:
        s0, s1 = operand[d0], operand[d1]
        if s0 == 0 or s1 == 0:  # broadcast along one of them
            continue
        if s0 != s1:
            return -1 if s0 < s1 else 1
        if shape[d0] > shape[d1]:
            return 1
    return 0
