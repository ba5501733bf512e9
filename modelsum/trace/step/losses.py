"""The loss of a predicted training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelsum.errors import UsageError
from modelsum.trace.holders import tensors_held, tensors_in
from modelsum.trace.torch_private import below_dispatch, replaced

CHUNKED, FUSED = "chunked-cross-entropy", "fused-cross-entropy"
#: Parts of the tokens, as torchtune's CEWithChunkedOutputLoss has them.
CHUNKS = 8


class Loss:
    """A number to derive: the sum of all outputs, or the cross-entropy of the first one."""

    def __init__(self, kind: str, on_targets: Callable[[Tensor], None], model: nn.Module) -> None:
        """Set up a loss.

        Args:
            kind: as in `modelsum.memory.options.LOSSES`.
            on_targets: is told of the class numbers that are made.
            model: whose head the fused one does the work of.

        Raises UsageError where that model has none.
        """
        self._kind = kind
        self._head = _head(model) if kind == FUSED else None
        self._on_targets = on_targets
        self._targets: Tensor | None = None

    def of(self, output: Any) -> Tensor | None:
        """The loss of a model's output; None where nothing in it depends on what is trained."""
        tensors = [t for t in tensors_in(output) if t.requires_grad]
        # A distribution, say: what it holds. Beside tensors, an object is no output but a cache.
        tensors = tensors or [t for t in tensors_held(output) if t.requires_grad]
        if not tensors:
            return None
        if self._kind == "sum":
            loss = tensors[0].sum()
            for tensor in tensors[1:]:
                loss = loss + tensor.sum()
            return loss
        named = output.get("logits") if isinstance(output, Mapping) else None
        scores = _by_class(named if isinstance(named, Tensor) and named.requires_grad else tensors[0])
        if self._targets is None:
            shape = (scores.shape[0], *scores.shape[2:])
            with below_dispatch():  # they come from the data, not from the step
                self._targets = torch.zeros(shape, dtype=torch.int64, device=scores.device)
            self._on_targets(self._targets)
        if self._head is not None:
            fused: Tensor = _Fused.apply(scores, self._head.weight, self._targets)
            return fused
        if self._kind == CHUNKED:
            pairs = zip(scores.chunk(CHUNKS), self._targets.chunk(CHUNKS), strict=True)
            parts = [functional.cross_entropy(part.float(), t, reduction="sum") for part, t in pairs]
            return torch.stack(parts).sum() / self._targets.numel()
        return functional.cross_entropy(scores, self._targets)

    @contextmanager
    def without_head(self) -> Iterator[None]:
        """Have the model give what its head would take, where the loss does the head's work."""
        if self._head is None:
            yield
            return
        with replaced(self._head, "forward", _as_it_is):
            yield


def _by_class(scores: Tensor) -> Tensor:
    """Scores with the classes in the second dimension, as cross_entropy wants them.

    [N, C] and [N, C, height, width] are that already. Of three dimensions, [N, tokens, C], the positions
    are joined: this is what language models do.
    """
    return scores.flatten(0, 1) if scores.dim() == 3 else scores


def _as_it_is(hidden: Tensor) -> Tensor:
    return hidden


def _head(model: nn.Module) -> nn.Linear:
    get = getattr(model, "get_output_embeddings", lambda: None)
    head = get()
    if not isinstance(head, nn.Linear):
        raise UsageError(
            f"{type(model).__name__} has no linear head that a loss could be fused with",
            "Ask for --task causal-lm, or another loss.",
        )
    return head


class _Fused(torch.autograd.Function):
    """Head and cross-entropy of a part of the tokens after the other, with the gradients right away.

    So many tokens at a time as keep the scores as large as what goes into the head (Liger Kernel,
    ops/fused_linear_cross_entropy.py; arXiv 2410.10989).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        tokens, inputs = hidden.shape
        classes = weight.shape[0]
        parts = -(-classes // inputs)
        size = 1 << (-(-tokens // parts) - 1).bit_length()
        of_hidden = torch.zeros_like(hidden)
        of_weight = torch.zeros_like(weight) if weight.requires_grad else None
        losses = torch.zeros(tokens, dtype=torch.float32, device=hidden.device)
        for start in range(0, tokens, size):
            some = slice(start, start + size)
            part, wanted = hidden[some], targets[some, None]
            scores = part @ weight.t()
            scores -= scores.amax(1, keepdim=True)
            losses[some] = -scores.gather(1, wanted)[:, 0].float()
            total = scores.exp_().sum(1, keepdim=True)
            losses[some] += total[:, 0].float().log()
            # The derivative takes the place of the scores: their softmax, less 1 where the class is right.
            scores.div_(total).scatter_add_(1, wanted, torch.full_like(total, -1)).div_(tokens)
            torch.mm(scores, weight, out=of_hidden[some])
            if of_weight is not None:
                of_weight.addmm_(scores.t(), part)
        ctx.save_for_backward(of_hidden, of_weight)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor | None, None]:
        of_hidden, of_weight = ctx.saved_tensors
        return of_hidden.mul_(outputs[0]), None if of_weight is None else of_weight.mul_(outputs[0]), None
