"""Functions that run one kernel on the target and are taken apart, or keep more, on meta.

torch asks where a tensor is before it takes the fused kernel, so for a while the functions are replaced:

- dropout: native_dropout keeps a mask of one byte a value (ATen/native/Dropout.cpp,
  is_fused_kernel_acceptable); elsewhere the noise is a tensor like the input.
- rms_norm: _fused_rms_norm keeps its input and a number for every row (ATen/native/layer_norm.cpp, since
  torch 2.9); elsewhere autograd keeps the results of half a dozen ops.
- linear: where its input is not contiguous, the bias is added in place, if no dispatch mode looks on
  (ATen/native/Linear.cpp).
- embedding_bag: the CPU's keeps which bag each index is in, and sorts the indices for the derivative
  (ATen/native/EmbeddingBag.cpp); meta's keeps other things.
- mish: its derivative is a kernel of the CPU's and of CUDA's.
- max_pool1d: the CPU's keeps no indices where nothing is derived (ATen/native/MaxPooling.cpp).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.step.autocast import as_cast
from modelsum.trace.step.embedding_bags import BagOptions, EmbeddingBag
from modelsum.trace.torch_private import (
    DROPOUT,
    EMBEDDING_BAG,
    HAS_FUSED_RMS_NORM,
    LINEAR,
    MAX_POOL1D,
    MISH,
    RMS_NORM,
    without_modes,
)

_aten = torch.ops.aten


@contextmanager
def fused_functions(target: str) -> Iterator[None]:
    """Have these functions run as they would on the target; torch's functions are put back."""
    plain_linear, plain_mish = LINEAR.value, MISH.value

    def mish(input: Tensor, inplace: bool = False) -> Any:
        return _Mish.apply(input) if input.is_meta and not inplace else plain_mish(input, inplace)

    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        if bias is None or input.is_contiguous() or input.dim() < 3 or not input.is_meta:
            return plain_linear(input, weight, bias)
        input, weight, bias = as_cast(_aten.linear.default, input, weight, bias)
        return torch.matmul(input, weight.t()).add_(bias)

    with (
        LINEAR.replaced(linear),
        MISH.replaced(mish),
        _fused_on_cuda() if target == "cuda" else _on_cpu(),
    ):
        yield


@contextmanager
def _fused_on_cuda() -> Iterator[None]:
    plain_dropout, plain_rms_norm = DROPOUT.value, RMS_NORM.value

    def dropout(input: Tensor, p: float, train: bool) -> Tensor:
        if train and 0 < p < 1 and input.is_meta and input.numel():
            masked: Tensor = torch.native_dropout(input, p, True)[0]
            return masked
        result: Tensor = plain_dropout(input, p, train)
        return result

    def rms_norm(
        input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
    ) -> Any:
        input, weight = as_cast(_aten.rms_norm.default, input, weight)
        if not _is_fused(input, weight):
            return plain_rms_norm(input, normalized_shape, weight, eps)
        return _RmsNorm.apply(input, len(normalized_shape), weight)

    with DROPOUT.replaced(dropout), RMS_NORM.replaced(rms_norm) if HAS_FUSED_RMS_NORM else nullcontext():
        yield


@contextmanager
def _on_cpu() -> Iterator[None]:
    plain = EMBEDDING_BAG.value

    def embedding_bag(
        weight: Tensor,
        indices: Tensor,
        offsets: Tensor,
        scaled: bool,
        mode: int,
        sparse: bool,
        per_sample: Tensor | None = None,
        last: bool = False,
        padding: int | None = None,
    ) -> Any:
        if not weight.is_meta:
            return plain(weight, indices, offsets, scaled, mode, sparse, per_sample, last, padding)
        if indices.dtype != offsets.dtype:
            indices, offsets = indices.long(), offsets.long()
        bags = len(offsets) - bool(last)
        options = BagOptions(bags, mode, sparse, padding is not None)
        return EmbeddingBag.apply(weight, per_sample, indices, offsets, options), None, None, None

    with EMBEDDING_BAG.replaced(embedding_bag), MAX_POOL1D.replaced(_without_indices(MAX_POOL1D.value)):
        yield


def _without_indices(plain: Callable[..., Any]) -> Callable[..., Any]:
    def max_pool1d(input: Tensor, *settings: Any, **named: Any) -> Any:
        if not input.is_meta or (input.requires_grad and torch.is_grad_enabled()):
            return plain(input, *settings, **named)
        with without_modes():
            shape = plain(
                torch.empty_like(input, memory_format=torch.contiguous_format), *settings, **named
            ).shape
        return input.contiguous().new_empty(shape)

    return max_pool1d


def _is_fused(input: Tensor, weight: Tensor | None) -> bool:
    """layer_norm.cpp, rms_norm_symint: not for channels last, and not for a weight of another dtype."""
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    same = weight is None or weight.dtype is input.dtype
    return input.is_meta and same and (not last or input.is_contiguous())


class _Mish(torch.autograd.Function):
    """mish, with a derivative that allocates its result."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        result: Tensor = torch.ops.aten.mish(input)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (input,) = ctx.saved_tensors
        return torch.empty_like(input)


class _RmsNorm(torch.autograd.Function):
    """What _fused_rms_norm and its derivative allocate."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dimensions: int, weight: Tensor | None) -> Tensor:
        rows = (*input.shape[: input.dim() - dimensions], *(1,) * dimensions)
        result = torch.empty_like(input)
        ctx.save_for_backward(input, weight, input.new_empty(rows, dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor | None]:
        input, weight, _ = ctx.saved_tensors
        return torch.empty_like(input), None, None if weight is None else torch.empty_like(weight)
