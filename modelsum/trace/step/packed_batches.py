"""A batch without its padding, as nn.TransformerEncoder hands it to its layers at inference: a nested tensor.

It does so where a mask of padding is given, and no other one, and the positions that are kept come first in
each sample. Meta has no kernels for nested tensors. Here what is kept is a plain tensor [1, kept positions,
width] that knows how many positions each sample has, and what torch's kernels for the CPU allocate is written
out after ATen/native/nested/NestedTensor{Math,TransformerFunctions}.cpp (torch 2.14), in their order. CUDA
has kernels of its own for it: a lower bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from modelsum.memory.cpu.machine import machine
from modelsum.trace.torch_private import IS_LEFT_ALIGNED, NESTED_FROM_MASK, TO_PADDED
from modelsum.trace.values.contents import value_of

NO_PADDING = "no position is padding"
_ATTRIBUTE = "_modelsum_samples"
_GRAIN = 32768  # elements from which on threads share work: at::internal::GRAIN_SIZE


class Samples(NamedTuple):
    """How many positions the samples of a packed batch have, and the tensors in which torch says so."""

    lengths: tuple[int, ...]
    sizes: Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """What became of the masks of a pass.

    Attributes:
        presumed: of their values, in words.
        unmeasured: ops on packed batches whose kernels are not known, by name.
    """

    presumed: set[str] = field(default_factory=set)
    unmeasured: Counter[str] = field(default_factory=Counter)


@contextmanager
def packed_batches(target: str, packing: Packing) -> Iterator[None]:
    """Have encoders on meta pack their batches inside, as they do on the target."""
    is_aligned, pack, unpack = IS_LEFT_ALIGNED.value, NESTED_FROM_MASK.value, TO_PADDED.value

    def aligned(src: Tensor, kept: Tensor) -> bool:
        if not src.is_meta:
            return bool(is_aligned(src, kept))
        value = value_of(kept)
        return value is None or bool((value.long().cumprod(1) == value).all())

    def packed(src: Tensor, kept: Tensor, mask_check: bool = True) -> Tensor:
        if not src.is_meta:
            made: Tensor = pack(src, kept, mask_check)
            return made
        value = value_of(kept)
        if value is None:
            packing.presumed.add(NO_PADDING)
        lengths = [src.shape[1]] * len(src) if value is None else value.sum(1).tolist()
        if target == "cuda":
            packing.unmeasured["aten._nested_tensor_from_mask"] += 1
        return as_packed(_from_padded(src, sum(lengths), target), lengths)

    def padded(batch: Tensor, padding: float, output_size: Sequence[int] | None = None) -> Tensor:
        samples = samples_of(batch)
        if samples is None:
            made: Tensor = unpack(batch, padding, output_size)
            return made
        return _to_padded(batch, samples, target, output_size)

    with ExitStack() as changed:
        for name, value in ((IS_LEFT_ALIGNED, aligned), (NESTED_FROM_MASK, packed), (TO_PADDED, padded)):
            if name.value is not None:
                changed.enter_context(name.replaced(value))
        yield


def samples_of(tensor: Tensor) -> Samples | None:
    """Those of a packed batch; None of any other tensor."""
    found: Samples | None = getattr(tensor, _ATTRIBUTE, None)
    return found


def as_packed(tensor: Tensor, lengths: Sequence[int]) -> Tensor:
    """A tensor [..., kept positions, width] as a packed batch of so many positions a sample."""
    packed = tensor.view(1, -1, tensor.shape[-1])
    sizes = torch.empty(
        (len(lengths), 3), dtype=torch.int64, device=tensor.device
    )  # with their strides, offsets
    setattr(packed, _ATTRIBUTE, Samples(tuple(lengths), sizes))
    return packed


def packed_attention(
    x: Tensor, heads: int, weights: Sequence[Tensor], samples: Samples, target: str
) -> Tensor:
    """Self-attention of a packed batch [1, kept positions, width] -> the same, without samples."""
    width = x.shape[-1]
    qkv = functional.linear(x, weights[0], weights[1] if target == "cuda" else None)
    if target == "cuda":
        y = torch.empty_like(x)
        del qkv
        return functional.linear(y, weights[2], weights[3])
    batch, longest = len(samples.lengths), max(samples.lengths)
    whole = _to_padded(qkv, samples, target)
    parts = whole.new_empty(
        (3, batch * heads, longest, width // heads)
    )  # with their bias, and the first scaled
    del whole, qkv
    a, b, c = parts.unbind()
    scores = torch.bmm(a, b.transpose(1, 2))
    shares = torch.empty_like(scores)
    # The softmax goes sample by sample, each with a result of its own, and a copy of what is short.
    most = max(heads * n * n * (1 if n == longest else 2) for n in samples.lengths)
    of_one = scores.new_empty(most)
    del scores, of_one
    torch.bmm(shares, c, out=a)
    del shares
    y = a.view(batch, heads, longest, -1).transpose(1, 2).reshape(batch, longest, width)
    y = _from_padded(y, x.shape[1], target)
    return functional.linear(y, weights[2], weights[3]).view(x.shape)


def _from_padded(x: Tensor, kept: int, target: str) -> Tensor:
    """[samples, positions, width] -> [kept positions, width], selected by a mask of every element."""
    if target == "cuda":
        return x.new_empty((kept, x.shape[-1]))
    masks = x.new_empty(x.shape, dtype=torch.bool)
    mask = torch.empty_like(masks)
    counted = x.new_empty(x.shape, dtype=torch.int64)
    del counted
    out = x.new_empty((kept, x.shape[-1]))
    if x.numel() >= _GRAIN and machine().threads > 1:  # else one after the other
        places = x.new_empty((2, *x.shape), dtype=torch.int64)
        del places
    del masks, mask
    return out


def _to_padded(x: Tensor, samples: Samples, target: str, size: Sequence[int] | None = None) -> Tensor:
    """[1, kept positions, width] -> [samples, positions of the longest or as `size` has it, width]."""
    shape = (len(samples.lengths), max(samples.lengths), x.shape[-1])
    if target == "cuda":
        return x.new_empty(shape if size is None else tuple(size))
    each = x.new_empty(shape)
    out = torch.empty_like(each)
    if size is not None:
        out = out.new_empty(tuple(size))
    del each
    return out
