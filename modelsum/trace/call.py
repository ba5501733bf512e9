"""A model and the arguments that it is called with: what is traced, predicted and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.trace.copying import copy_to
from modelsum.trace.holders import rebuilt, tensors_held
from modelsum.trace.inputs import move


@dataclass(frozen=True, slots=True)
class Targets:
    """What a model takes after its arguments where it trains.

    Attributes:
        values: positional arguments.
        words: what they are, for the reader.
    """

    values: tuple[Any, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Call:
    """`model(*args, **kwargs)`, all on one device; in training mode with its targets after the arguments.

    A call that is made keeps what the forward does to the model: whoever makes it more than once, or for
    somebody else's model, makes it anew with `on`.
    """

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    targets: Targets | None = None

    def __call__(self) -> Any:
        """Call the model. Raises what it raises."""
        return self.model(*self.taken, **self.kwargs)

    @property
    def taken(self) -> tuple[Any, ...]:
        """The positional arguments in the mode that the model is in."""
        return (*self.args, *self.targets.values) if self.targets and self.model.training else self.args

    def on(self, device: torch.device) -> Call:
        """The same call of a copy of the model, on a device. Raises BuildError where it cannot be there."""
        values = self.targets.values if self.targets else ()
        args, kwargs, values = move((self.args, dict(self.kwargs), values), device, as_they_lie=True)
        targets = replace(self.targets, values=values) if self.targets else None
        return Call(copy_to(self.model, device), args, kwargs, targets)

    def inputs(self) -> Iterator[Tensor]:
        """The tensors in the arguments, in order, those that objects hold too."""
        return tensors_held((self.args, self.kwargs))

    def renewed(self) -> Call:
        """The same call with containers and objects of its own, for a forward that writes into them.

        The tensors are the same: what a forward writes to those has no bearing on shapes.
        """
        if all(isinstance(value, Tensor) for value in (*self.taken, *self.kwargs.values())):
            return self
        args, kwargs = rebuilt((self.args, dict(self.kwargs)), lambda tensor: tensor)
        return Call(self.model, args, kwargs, self.targets)

    @property
    def device_type(self) -> str:
        """That of the model's tensors, or else of the arguments'; "meta" where there are none."""
        for tensor in chain(self.model.parameters(), self.model.buffers(), self.inputs()):
            return str(tensor.device.type)
        return "meta"
