"""A model and the arguments that it is called with: what is traced, predicted and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.trace.copying import copy_to
from modelsum.trace.holders import rebuilt, tensors_held
from modelsum.trace.inputs import move


@dataclass(frozen=True, slots=True)
class Call:
    """`model(*args, **kwargs)`, all on one device.

    A call that is made keeps what the forward does to the model: whoever makes it more than once, or for
    somebody else's model, makes it anew with `on`.
    """

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        """Call the model. Raises what it raises."""
        return self.model(*self.args, **self.kwargs)

    def on(self, device: torch.device) -> Call:
        """The same call of a copy of the model, on a device. Raises BuildError where it cannot be there."""
        return Call(copy_to(self.model, device), *move((self.args, dict(self.kwargs)), device))

    def inputs(self) -> Iterator[Tensor]:
        """The tensors in the arguments, in order, those that objects hold too."""
        return tensors_held((self.args, self.kwargs))

    def renewed(self) -> Call:
        """The same call with containers and objects of its own, for a forward that writes into them.

        The tensors are the same: what a forward writes to those has no bearing on shapes.
        """
        if all(isinstance(value, Tensor) for value in (*self.args, *self.kwargs.values())):
            return self
        return Call(self.model, *rebuilt((self.args, dict(self.kwargs)), lambda tensor: tensor))

    @property
    def device_type(self) -> str:
        """That of the model's tensors, or else of the arguments'; "meta" where there are none."""
        for tensor in chain(self.model.parameters(), self.model.buffers(), self.inputs()):
            return str(tensor.device.type)
        return "meta"
