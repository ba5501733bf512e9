"""torch's own objects where a word of ours is wanted: an optimizer or a loss, as a class or an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from modelsum import objects
from modelsum.errors import UsageError
from modelsum.memory.options import LOSSES, OPTIMIZERS, OwnOptimizer

_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "Adafactor": "adafactor"}
_LOSSES = {"CrossEntropyLoss": "cross-entropy", "cross_entropy": "cross-entropy"}
_DECAY_IN_PLACE = ("adamw", "adafactor")  # they have one by default
#: Settings that change what a step allocates: with one of them it is traced.
_OTHERWISE = ("amsgrad", "nesterov", "maximize", "capturable", "differentiable")
#: What nothing of memory depends on.
_RATES = ("lr", "initial_lr", "swa_lr", "params")


def optimizer(given: Any) -> Mapping[str, Any]:
    """The fields of `MemoryOptions` that an optimizer stands for: its name, implementation and weight decay.

    Args:
        given: a word, which stands for itself, None for the default, or an optimizer's class or object: one
            of torch.optim that is known in closed form is its word, any other is made anew and traced.

    Raises UsageError for what is no optimizer, or has different settings in its groups.
    """
    if given is None:
        return {}
    if isinstance(given, (str, OwnOptimizer)):
        return {"optimizer": given}
    kind = given if inspect.isclass(given) else type(given)
    if not hasattr(kind, "step"):
        raise UsageError(f"the optimizer is {objects.kind_of(given)}", "Give a word, or a class with a step.")
    if kind.__name__ == "LBFGS":
        raise UsageError(
            "LBFGS calls a closure as often as it likes in a step: what that takes is not predicted",
            f"Known are {', '.join(OPTIMIZERS)}, and optimizers of your own.",
        )
    groups = [] if inspect.isclass(given) else given.param_groups
    name = _OPTIMIZERS.get(kind.__name__) if kind.__module__.startswith("torch.optim") else None
    if name is None or any(group.get(setting) for group in groups for setting in _OTHERWISE):
        return {"optimizer": _own(kind, groups)}
    return {"optimizer": name, **(_settings(name, groups) if groups else {})}


def _own(kind: type, groups: Sequence[Mapping[str, Any]]) -> OwnOptimizer:
    """One of that class, with the settings of these groups."""
    settings: dict[str, Any] = {}
    for group in groups:
        these = {name: value for name, value in group.items() if name not in _RATES}
        if settings and these != settings:
            raise UsageError(
                f"the groups of {kind.__name__} have different settings",
                "Give its class, or one whose groups differ in their learning rates alone.",
            )
        settings = these
    takes = inspect.signature(kind).parameters
    settings = {name: value for name, value in settings.items() if name in takes}
    if "lr" in takes and takes["lr"].default is takes["lr"].empty:
        settings["lr"] = 0.0
    return OwnOptimizer(kind.__name__, lambda parameters: kind(parameters, **settings))


def _settings(name: str, groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What its groups say of an optimizer that is known in closed form."""
    found: dict[str, Any] = {}
    if name not in _DECAY_IN_PLACE:
        found["weight_decay"] = any(group.get("weight_decay") for group in groups)
    momenta = {bool(group.get("momentum")) for group in groups}
    if len(momenta) > 1:
        raise UsageError("some groups of the optimizer have a momentum and some have none", "Give one kind.")
    if True in momenta:
        found["optimizer"] = "momentum"
    for setting, implementation in (("fused", "fused"), ("foreach", "foreach")):
        if any(group.get(setting) for group in groups):
            found["implementation"] = implementation
            return found
    if any(group.get("foreach") is False for group in groups):
        found["implementation"] = "for-loop"
    return found


def loss(given: Any) -> str:
    """The word for a loss: itself, or that of torch.nn.CrossEntropyLoss, the class or an object.

    Raises UsageError for another loss.
    """
    if isinstance(given, str):
        return given
    kind = given if inspect.isclass(given) or inspect.isroutine(given) else type(given)
    name = _LOSSES.get(getattr(kind, "__name__", ""))
    if name is None or not kind.__module__.startswith("torch.nn"):
        raise UsageError(
            f"the loss is {objects.kind_of(given)}",
            f"Known are {', '.join(LOSSES)}, and torch.nn.CrossEntropyLoss; a model whose forward "
            "returns its own loss takes the sum.",
        )
    return name
