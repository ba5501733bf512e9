"""The loss of a predicted training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from modelsum.trace.holders import tensors_held, tensors_in
from modelsum.trace.torch_private import below_dispatch


class Loss:
    """A number to derive: the sum of all outputs, or the cross-entropy of the first one."""

    def __init__(self, kind: str, on_targets: Callable[[Tensor], None]) -> None:
        """`kind` as in `modelsum.memory.options.LOSSES`; `on_targets` is told of the class numbers made."""
        self._kind = kind
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
        return functional.cross_entropy(scores, self._targets)


def _by_class(scores: Tensor) -> Tensor:
    """Scores with the classes in the second dimension, as cross_entropy wants them.

    [N, C] and [N, C, height, width] are that already. Of three dimensions, [N, tokens, C], the positions
    are joined: this is what language models do.
    """
    return scores.flatten(0, 1) if scores.dim() == 3 else scores
