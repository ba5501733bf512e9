"""torch's own objects where a word of ours is wanted: an optimizer or a loss, as a class or an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from modelsum import objects
from modelsum.errors import UsageError
from modelsum.memory.options import LOSSES, OPTIMIZERS

_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "Adafactor": "adafactor"}
_LOSSES = {"CrossEntropyLoss": "cross-entropy", "cross_entropy": "cross-entropy"}
_DECAY_IN_PLACE = ("adamw", "adafactor")  # they have one by default
#: Settings that change what a step allocates, which are not predicted.
_UNKNOWN = ("amsgrad", "nesterov", "maximize", "capturable", "differentiable")


def optimizer(given: Any) -> Mapping[str, Any]:
    """The fields of `MemoryOptions` that an optimizer stands for: its name, implementation and weight decay.

    Args:
        given: a word, which stands for itself, None for the default, or a class or object of torch.optim.

    Raises UsageError for an optimizer whose step is not known.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        return {"optimizer": given}
    kind = given if inspect.isclass(given) else type(given)
    name = _OPTIMIZERS.get(kind.__name__) if kind.__module__.startswith("torch.optim") else None
    if name is None:
        raise UsageError(
            f"the memory of the optimizer {kind.__module__}.{kind.__name__} is not known",
            f"Known are {', '.join(OPTIMIZERS)}, and torch.optim's {', '.join(_OPTIMIZERS)}.",
        )
    if inspect.isclass(given):
        return {"optimizer": name}
    groups = given.param_groups
    for setting in _UNKNOWN:
        if any(group.get(setting) for group in groups):
            raise UsageError(
                f"the memory of {kind.__name__} with {setting}=True is not known", "Give one without it."
            )
    found: dict[str, Any] = {"optimizer": name}
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
