"""Cross-entropy in chunks and fused with the head: what both keep, and that they are the same number."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import modelsum
from modelsum.trace.step.losses import CHUNKED, FUSED, Loss

TOKENS, WIDTH, CLASSES = 64, 32, 512


class Writer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES, bias=False)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def test_chunks_have_the_value_and_gradient_of_the_whole() -> None:
    scores = torch.randn(2, TOKENS, CLASSES, requires_grad=True)
    value = Loss(CHUNKED, lambda targets: None, nn.Identity()).of(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    whole = functional.cross_entropy(scores.flatten(0, 1), torch.zeros(2 * TOKENS, dtype=torch.int64))
    torch.testing.assert_close(value, whole)
    torch.testing.assert_close(gradient, torch.autograd.grad(whole, scores)[0])


def test_fused_with_the_head_the_value_and_the_gradients_are_the_same() -> None:
    model, x = Writer(), torch.randn(3, TOKENS, WIDTH)
    loss = Loss(FUSED, lambda targets: None, model)
    with loss.without_head():
        value = loss.of(model(x))
    value.backward()
    fused = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    whole = functional.cross_entropy(model(x).flatten(0, 1), torch.zeros(3 * TOKENS, dtype=torch.int64))
    whole.backward()
    torch.testing.assert_close(value, whole)
    for gradient, parameter in zip(fused, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_fused_with_the_head_no_scores_of_all_tokens_are_there() -> None:
    """Of the plain loss two tensors of all scores are there at the peak; here parts of them."""
    x = torch.zeros(2, 8 * TOKENS, WIDTH)
    options = {"optimizer": "none", "target": "cpu"}
    peaks = {
        loss: modelsum.summarize(Writer(), x, loss=loss, **options).memory.training.bytes
        for loss in ("cross-entropy", FUSED)
    }
    scores = 4 * 2 * 8 * TOKENS * CLASSES
    assert peaks["cross-entropy"] > 2 * scores
    assert peaks[FUSED] < scores


def test_a_loss_is_fused_with_a_head_alone() -> None:
    with pytest.raises(modelsum.UsageError, match="has no linear head"):
        modelsum.summarize(nn.Linear(4, 4), torch.zeros(2, 4), loss=FUSED)
