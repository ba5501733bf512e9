"""Losses and their derivatives, as a training step runs them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import FLOATS, empty
from modelsum.trace.metakernels.table import rule

_NONE = 0  # at::Reduction


@rule("nll_loss_forward")
def nll_loss(
    log_probabilities: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> Any:
    """[N, classes] and [N] -> the loss, and the weight that it was divided by."""
    if log_probabilities.dim() != 2 or target.shape != log_probabilities.shape[:1]:
        return NotImplemented
    if not log_probabilities.shape[1]:
        return NotImplemented
    if log_probabilities.dtype not in FLOATS or target.dtype is not torch.int64 or weight is not None:
        return NotImplemented
    dtype = log_probabilities.dtype
    return empty(target.shape if reduction == _NONE else (), dtype), empty((), dtype)


@rule("nll_loss_backward")
def nll_loss_backward(
    grad: Tensor, log_probabilities: Tensor, target: Tensor, weight: Tensor | None, *settings: Any
) -> Any:
    """The gradient of the log-probabilities."""
    if log_probabilities.dim() != 2 or not log_probabilities.is_contiguous() or weight is not None:
        return NotImplemented
    return empty(log_probabilities.shape, log_probabilities.dtype)
