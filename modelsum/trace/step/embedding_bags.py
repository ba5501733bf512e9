"""What an embedding bag and its derivative allocate on the CPU (ATen/native/EmbeddingBag.cpp).

Which bag each index is in, how many a bag has, which were largest; for the derivative the indices are sorted.
meta's kernels keep other things. What is named is alive; the rest is made and gone at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

_SUM, _MEAN, _MAX = range(3)  # modes of torch.embedding_bag
_FAST = (torch.float32, torch.float16, torch.bfloat16)  # sums of these are made by FBGEMM


class BagOptions(NamedTuple):
    """How an embedding bag works: `has_padding` says that one index does not count."""

    bags: int
    mode: int
    sparse: bool
    has_padding: bool


class EmbeddingBag(torch.autograd.Function):
    """weight [rows, features], weights of samples or None, indices and offsets in one dimension."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        per_sample: Tensor | None,
        indices: Tensor,
        offsets: Tensor,
        options: BagOptions,
    ) -> Tensor:
        """The result alone, [bags, features]."""
        bags, mode = options.bags, options.mode
        result = weight.new_empty(bags, weight.shape[1])
        is_fast = mode == _SUM and not options.has_padding and weight.dtype in _FAST
        of_index = offsets.new_empty(0) if is_fast else _bag_of_index(indices, offsets)
        bag_size = offsets.new_empty(bags)
        offsets.new_empty(bags)
        largest = offsets.new_empty(bags)
        if mode != _MAX and weight.element_size() == 2:
            _in_float32(result, per_sample, options.has_padding)
        if mode == _MEAN:
            _ = offsets.new_empty(bags), offsets.new_empty(bags), weight.new_empty(bags)
        if mode == _MAX:
            largest = offsets.new_empty(result.shape)
        ctx.save_for_backward(indices, offsets, of_index, bag_size, largest, per_sample)
        ctx.weight, ctx.options = weight, options
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Of the table and of the weights of samples."""
        indices, offsets, of_index, bag_size, _, per_sample = ctx.saved_tensors
        for_weight, for_samples = ctx.needs_input_grad[:2]
        of_samples = result = None
        if for_samples:
            of_samples = torch.empty_like(per_sample)
            if not len(of_index):
                _bag_of_index(indices, offsets)
        if for_weight:
            if ctx.options.mode != _MAX and not len(of_index):
                of_index = _bag_of_index(indices, offsets)
            if ctx.options.sparse:
                result = _sparse(grad, ctx.weight, indices, ctx.options)
            elif ctx.options.mode == _MAX:
                result = _largest(grad, ctx.weight, indices, bag_size)
            else:
                result = _dense(grad, ctx.weight, indices, per_sample)
        return result, of_samples, None, None, None


def _in_float32(result: Tensor, per_sample: Tensor | None, has_padding: bool) -> tuple[Tensor, ...]:
    """What is summed in float32: FBGEMM does so by itself, but for the weights of samples."""
    if has_padding:
        rows = result[:0] if per_sample is not None else result[:1]
        return torch.empty_like(result, dtype=torch.float32), torch.empty_like(rows, dtype=torch.float32)
    return () if per_sample is None else (torch.empty_like(per_sample, dtype=torch.float32),)


def _bag_of_index(indices: Tensor, offsets: Tensor) -> Tensor:
    result = offsets.new_empty(len(indices) + 1)
    offsets.new_empty(len(offsets))
    offsets.new_empty(len(indices) + 1)
    return result


def _dense(grad: Tensor, weight: Tensor, indices: Tensor, per_sample: Tensor | None) -> Tensor:
    grad = grad.contiguous()
    result = grad.new_empty(weight.shape)
    _ = torch.empty_like(indices), _places(indices)  # sorted, and where each was
    _places(indices)
    _ = *_, torch.empty_like(indices), None if per_sample is None else torch.empty_like(per_sample)
    return result


def _largest(grad: Tensor, weight: Tensor, indices: Tensor, bag_size: Tensor) -> Tensor:
    grad = grad.contiguous()
    result = grad.new_empty(weight.shape)
    _ = indices.new_empty(grad.shape), torch.empty_like(grad), _places(bag_size)
    return result


def _sparse(grad: Tensor, weight: Tensor, indices: Tensor, options: BagOptions) -> Tensor:
    if options.has_padding:
        raise NotImplementedError("how much of a sparse gradient of an embedding bag is padding is not known")
    values = grad.new_empty(len(indices), weight.shape[1])
    if options.mode == _MEAN:
        _ = grad.new_empty(options.bags), grad.new_empty(options.bags), grad.new_empty(len(indices))
    return torch.sparse_coo_tensor(indices.unsqueeze(0), values, weight.shape, check_invariants=False)


def _places(of: Tensor) -> Tensor:
    return of.new_empty(len(of), dtype=torch.int64)
