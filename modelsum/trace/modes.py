"""Training and evaluation mode of a model."""

from __future__ import annotations

from torch import nn


def set_mode(model: nn.Module, *, train: bool) -> None:
    """Switch a model as its own `train` does it; an exported one, which refuses, module by module."""
    try:
        model.train(train)
    except NotImplementedError:
        for module in model.modules():
            module.training = train
