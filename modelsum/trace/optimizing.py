"""The optimizer of a training step: torch's own or a user's, made for a model's parameters."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from modelsum.errors import UsageError
from modelsum.memory.options import OwnOptimizer
from modelsum.objects import kind_of
from modelsum.raised import told
from modelsum.trace.census import modules_of

Make: TypeAlias = Callable[..., torch.optim.Optimizer]

# Nothing of memory or time depends on it, and weights that stay as they are keep thousands of steps on a
# made-up loss from ending in infinities, on which arithmetic takes another time.
_LEARNING_RATE = 0.0

_OF_TORCH = {
    "sgd": "SGD",
    "momentum": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "adafactor": "Adafactor",
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "adamax": "Adamax",
    "asgd": "ASGD",
    "muon": "Muon",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "rprop": "Rprop",
}


#: Those of other packages: package, class in its `optim`, and what installs it.
_FOREIGN = {
    "lion": ("timm", "Lion", "pip install 'modelsum[timm]'"),
    "bnb-adamw8bit": ("bitsandbytes", "AdamW8bit", "pip install bitsandbytes"),
    "torchao-adamw8bit": ("torchao", "AdamW8bit", "pip install torchao"),
}


def make_optimizers(
    model: nn.Module, optimizer: str | OwnOptimizer, implementation: str, *, weight_decay: bool = False
) -> Sequence[torch.optim.Optimizer]:
    """The optimizers that train a model: none, one, or for "muon" that and AdamW.

    Args:
        model: its parameters that take gradients are trained.
        optimizer: one of `modelsum.memory.options.OPTIMIZERS`, or a user's.
        implementation: "for-loop", "foreach" or "fused", where the optimizer has a choice.
        weight_decay: with one, where the optimizer has none by default.

    Raises UsageError where it is not installed, has not that implementation, or is a user's that fails.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if optimizer == "none" or not parameters:
        return ()
    if isinstance(optimizer, OwnOptimizer):
        return (_of_the_user(optimizer, parameters),)
    if optimizer != "muon":
        return (_made(optimizer, parameters, implementation, weight_decay),)
    matrices = {id(p) for p in parameters if p.dim() == 2} - _embeddings(model)
    groups = [[p for p in parameters if (id(p) in matrices) is chosen] for chosen in (True, False)]
    return [
        _made(name, group, implementation, weight_decay)
        for name, group in zip(("muon", "adamw"), groups, strict=True)
        if group
    ]


def _of_the_user(own: OwnOptimizer, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    try:
        made: torch.optim.Optimizer = own.make(parameters)
    except Exception as error:
        raise UsageError(
            f"the optimizer {own.text} could not be made: {told(error)}",
            "It is called with the parameters; what else it takes is given like 'nets.py:Lion(beta=0.9)'.",
        ) from error
    if not callable(getattr(made, "step", None)):
        raise UsageError(
            f"the optimizer {own.text} makes {kind_of(made)}, which has no step",
            "Give a class of optimizers, or a function that returns one.",
        )
    return made


def _embeddings(model: nn.Module) -> set[int]:
    lookups = (nn.Embedding, nn.EmbeddingBag)
    return {id(module.weight) for module in modules_of(model).values() if isinstance(module, lookups)}


def _made(
    name: str, parameters: Iterable[Tensor], implementation: str, weight_decay: bool
) -> torch.optim.Optimizer:
    make = _foreign(*_FOREIGN[name]) if name in _FOREIGN else _of_torch(name)
    takes = inspect.signature(make).parameters
    settings: dict[str, Any] = {"lr": _LEARNING_RATE}
    if "foreach" in takes:
        settings["foreach"] = implementation == "foreach"
    if implementation == "fused":
        settings["fused"] = True
    if name == "momentum":
        settings["momentum"] = 0.9
    if weight_decay and "weight_decay" in takes and not takes["weight_decay"].default:
        settings["weight_decay"] = 0.01
    return make(parameters, **settings)


def _of_torch(name: str) -> Make:
    found: Make | None = getattr(torch.optim, _OF_TORCH.get(name, ""), None)
    if found is None:
        raise UsageError(f"torch {torch.__version__} has no optimizer {name!r}", "Upgrade torch.")
    return found


def _foreign(package: str, attribute: str, install: str) -> Make:
    try:
        found: Make = getattr(importlib.import_module(f"{package}.optim"), attribute)
    except ImportError:
        raise UsageError(
            f"that optimizer is {package}'s {attribute}, and {package} is not installed", install
        ) from None
    return found
