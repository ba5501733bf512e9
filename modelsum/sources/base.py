"""What a source of models has to offer, and what it hands over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelsum.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modelsum.trace.call import Targets


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that a source has built.

    Attributes:
        model: on the device that was asked for; the caller may change it.
        source: the name of the source.
        default_inputs: what the model takes when the user names no input, without the batch; None: not known.
        example: makes the arguments (args, kwargs) of a call for a batch size, a sequence length (None: the
            model's usual one) and a device, where shapes alone do not say what the model takes.
        targets: makes what the model takes after these arguments where it trains.
        batches: those that the model takes, where that is known.
        changed: constructor arguments make it another model than its name stands for.
        notices: what the reader should know about how it was built.
    """

    model: nn.Module
    source: str
    default_inputs: tuple[InputSpec, ...] | None = None
    example: Callable[[int, int | None, torch.device], tuple[tuple[Any, ...], dict[str, Any]]] | None = None
    targets: Callable[[tuple[Any, ...]], Targets] | None = None
    batches: range | None = None
    changed: bool = False
    notices: tuple[str, ...] = ()


class Source(Protocol):
    """A provider of models.

    Attributes:
        name: the word before the slash of PROVIDER/NAME, and what the output says a model came from.
    """

    name: str

    def knows(self, spec: ModelSpec) -> bool:
        """Whether this source can load the model. Imports neither torch nor the provider's package."""
        ...

    def names(self) -> Collection[str]:
        """Names that can be offered to somebody who mistyped one; may be empty."""
        ...

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the model on `device` with the constructor arguments. Raises ModelsumError."""
        ...
