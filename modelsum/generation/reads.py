"""The work of a pass: MACs as everywhere, and the bytes of weights and cache that its ops read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.trace.call import Call
from modelsum.trace.ops import Verdict, rule_for
from modelsum.trace.recorder import Recorder
from modelsum.trace.torch_private import HigherOrderOperator
from modelsum.trace.values.op_facts import facts_of, tensors_among

_LOOKUPS = ("embedding", "index_select", "index", "gather")


class Work(Recorder):
    """A recorder that also counts what is read: of each storage once, however often, and at most all of it.

    An op that looks rows up reads as much as it returns; a grouped matmul the experts that there can be rows
    for; all others whole what they are given. What an op only makes a view of is read by who uses that.
    """

    repeats = False

    def __init__(self, call: Call, device: torch.device, held: Iterable[Tensor]) -> None:
        """`held`: weights and cache."""
        super().__init__(call, device)
        self._followed = {id(s): s for tensor in held for s in (tensor.untyped_storage(),)}
        self._read: dict[int, int] = {}

    @contextmanager
    def _following(self, model: nn.Module) -> Iterator[None]:
        yield  # which module an op is of is not asked

    @property
    def read_bytes(self) -> int:
        """Of all storages that are followed."""
        return sum(self._read.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        whole = isinstance(func, HigherOrderOperator) or rule_for(func) is Verdict.COMPOSITE
        if not whole and not facts_of(func).is_view:
            self._note(func, args, kwargs or {}, out)
        return out

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        name = func.name().partition("::")[2].partition(".")[0]
        written = {id(args[place]) for place, _ in facts_of(func).writes if place < len(args)}
        for tensor in tensors_among((*args, *kwargs.values())):
            if tensor.is_meta and id(tensor) not in written:
                storage = tensor.untyped_storage()
                if id(storage) in self._followed:
                    read = self._read.get(id(storage), 0) + _read_of(name, tensor, args, out)
                    self._read[id(storage)] = min(read, storage.nbytes())


def _read_of(name: str, tensor: Tensor, args: tuple[Any, ...], out: Any) -> int:
    whole = min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
    if name in _LOOKUPS and isinstance(out, Tensor):
        return min(whole, out.numel() * tensor.element_size())
    if name == "_grouped_mm" and tensor.dim() == 3:
        rows = prod(args[0].shape[:-1])
        return int(whole * min(rows, tensor.shape[0]) // tensor.shape[0])
    return whole
