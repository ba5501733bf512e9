"""Context parallelism: every rank has a part of each sequence, and attention goes round among them.

It is torch's own, which is experimental (torch.distributed.tensor.experimental.context_parallel): it puts
ring attention in the place of scaled_dot_product_attention, for the fused kernels of CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import UsageError
from modelsum.trace.call import Call


def cut(call: Call, size: int) -> Call:
    """The call with the part of each sequence that one of so many ranks has.

    The sequence is the second dimension of token ids, or of the first tensor; of what else is as long along
    it there is a part too.

    Raises UsageError where there is no such dimension, or the ranks do not divide it.
    """
    tensors = [t for t in call.inputs() if t.dim() > 1]
    ids = next((t for t in tensors if not t.is_floating_point()), next(iter(tensors), None))
    if ids is None:
        raise UsageError("cp: the model is called with no tensor that has a sequence", "It is dimension 1.")
    length = ids.shape[1]
    if length % (2 * size):
        raise UsageError(
            f"cp={size} does not divide a sequence of {length:,} into 2 x {size} parts",
            "Each rank has one from its beginning and one from its end, so that all have as much to do.",
        )

    def part(value: Any) -> Any:
        is_long = isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == length
        return value[:, : length // size].clone() if is_long else value

    return Call(call.model, tuple(map(part, call.args)), {k: part(v) for k, v in call.kwargs.items()})


def going_round(mesh: Any) -> Callable[[], AbstractContextManager[Any]]:
    """What a pass, forward and backward, runs in; `mesh` is of one dimension."""
    from torch.distributed.tensor.experimental import context_parallel

    def within() -> AbstractContextManager[Any]:
        # It wants a buffer to share out; the inputs are shared out already.
        some = torch.empty(2 * mesh.size(), device="meta")
        around: AbstractContextManager[Any] = context_parallel(mesh, buffers=[some], buffer_seq_dims=[0])
        return around

    return within


def check_attention(kernels: str) -> None:
    """Refuse what cannot go round. Raises UsageError; `kernels` are those that ran, in words."""
    if kernels == "not used":
        raise UsageError(
            "cp shares scaled_dot_product_attention, which the model does not call", "Leave cp out."
        )
    if "math" in kernels:
        raise UsageError(
            "cp needs attention by a fused kernel, and here it is written out",
            "Fused kernels take bfloat16 without a mask: --dtype bf16.",
        )
