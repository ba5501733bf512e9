"""What a module of the user's says of its own input: one of transformers, of Lightning, one without any."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import nn

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


def example_of(model: nn.Module) -> Callable[[int, int | None, torch.device], Arguments] | None:
    """For a model of transformers what makes its arguments, as `Loaded.example`; None for any other."""
    loaded = sys.modules.get("transformers.modeling_utils")  # to ask transformers would load it, for seconds
    if loaded is None or not isinstance(model, loaded.PreTrainedModel):
        return None

    def example(batch: int, length: int | None, device: torch.device) -> Arguments:
        from modelsum.sources.transformers.inputs import example

        return (), example(model, batch, length, device)

    return example


def arguments_of(model: nn.Module) -> Arguments | None:
    """The arguments that a module names itself; None where it names none.

    They are Lightning's `example_input_array` (a tensor, a tuple of arguments, or a dict of them by name), or
    none for a forward without parameters.
    """
    given = getattr(model, "example_input_array", None)
    if isinstance(given, Mapping):
        return (), dict(given)
    if given is not None:
        return (given if isinstance(given, tuple) else (given,)), {}
    try:
        takes = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None
    return None if takes else ((), {})
