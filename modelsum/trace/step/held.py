"""What a model's modules hold before anything runs, though a pass puts others in its place."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from modelsum.trace.census import modules_of
from modelsum.trace.copying import tensors_of


def held_by(model: nn.Module) -> list[Tensor]:
    """Parameters, buffers, and tensors that are attributes of the modules."""
    return [tensor for tensor, _ in tensors_of(modules_of(model).values())]


class Held:
    """The tensors that a model holds when this is made; it does not hold on to them itself."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first = [(weakref.ref(tensor), _kind(tensor)) for tensor in held_by(model)]

    def __iter__(self) -> Iterator[Tensor]:
        """Those tensors; for each that is gone one like it that the model holds now, if there is one."""
        gone: Counter[tuple[object, ...]] = Counter()
        first: set[int] = set()
        for reference, kind in self._first:
            tensor = reference()
            if tensor is None:
                gone[kind] += 1
            else:
                first.add(id(tensor))
                yield tensor
        if gone:
            for tensor in held_by(self._model):
                if id(tensor) not in first and gone[_kind(tensor)] > 0:
                    gone[_kind(tensor)] -= 1
                    yield tensor


def _kind(tensor: Tensor) -> tuple[object, ...]:
    known = not isinstance(tensor, UninitializedTensorMixin)
    return type(tensor), tensor.dtype, tuple(tensor.shape) if known else None
