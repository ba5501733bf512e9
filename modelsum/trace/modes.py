"""Training and evaluation mode of a model."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import nn

from modelsum.trace.torch_private import submodules_of


def set_mode(model: nn.Module, *, train: bool) -> None:
    """Switch a model and the modules inside it, as `nn.Module.train` does.

    A class's own `train(mode)` is called, which may keep its normalisation in evaluation mode, say; not one
    that means something else (a trainer's loop), or refuses (an exported program).
    """
    kind: Any = type(model)
    if _own_train(kind):
        try:
            model.train(train)
            return
        except NotImplementedError:
            pass
    if model.training is not train:
        # What a module's own does for a bool at last.
        plainly = kind.__setattr__ is nn.Module.__setattr__
        (object.__setattr__ if plainly else setattr)(model, "training", train)
    for child in submodules_of(model).values():
        if child is not None:
            set_mode(child, train=train)


@cache
def _own_train(kind: Any) -> bool:
    """Whether a class has a `train` of its own that takes a mode as torch's does."""
    if kind.train is nn.Module.train or issubclass(kind, torch.jit.ScriptModule):
        return False
    try:
        parameters = list(inspect.signature(kind.train).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    return bool(parameters) and parameters[0].name == "mode"
