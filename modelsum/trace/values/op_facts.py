"""What an op does to tensors, as far as its schema and tags tell: writes, views, random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.torch_private import schema_of

_aten = torch.ops.aten


class OpFacts:
    """Facts of an op that decide what can be known of its results.

    Attributes:
        writes: place and name of the arguments that it changes.
        is_view: its results are views of its first argument.
        forgets: leaves what it writes, or makes, without known values: random numbers, unfilled memory.
        reads: its result is no tensor but depends on values, like `.item()`.
        resizes: the shape of its result depends on values, like `nonzero`.
        overwrites: decides every element of what it writes to, whatever it held.
        places: writes values to elements of its first argument and leaves the others as they are.
        unfilled: makes a tensor that holds whatever was in memory.
        uncounted: torch counts no new version of what it writes to: foreach ops.
        shape_only: takes nothing but the shape and dtype of its first argument.
    """

    __slots__ = (
        "forgets",
        "is_view",
        "overwrites",
        "places",
        "reads",
        "resizes",
        "shape_only",
        "uncounted",
        "unfilled",
        "writes",
    )

    def __init__(self, func: Any) -> None:
        arguments = schema_of(func).arguments
        self.writes = tuple(
            (place, argument.name)
            for place, argument in enumerate(arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        )
        self.is_view = any(
            r.alias_info is not None and not r.alias_info.is_write for r in schema_of(func).returns
        )
        tags = func.tags
        self.forgets = func in _UNFILLED or torch.Tag.nondeterministic_seeded in tags
        returns = schema_of(func).returns
        no_tensor = bool(returns) and not any("Tensor" in str(r.type) for r in returns)
        self.reads = torch.Tag.data_dependent_output in tags or no_tensor
        self.resizes = torch.Tag.dynamic_output_shape in tags
        results_only = all(arguments[place].kwarg_only for place, _ in self.writes)  # "out=" of an overload
        self.overwrites = func in _OVERWRITES or (bool(self.writes) and results_only)
        self.places = func in _OVERWRITES or func in _PLACES
        self.unfilled = func in _UNFILLED and not self.writes
        self.uncounted = func.name().startswith("aten::_foreach_")
        self.shape_only = func in _SHAPE_ONLY

    def written(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
        """The tensors that a call changes."""
        return tensors_among(args[i] if i < len(args) else kwargs.get(name) for i, name in self.writes)


# They make tensors whose values are whatever was in memory, or leave some so: nothing to know.
_UNFILLED = frozenset(
    (
        _aten.empty.memory_format,
        _aten.empty_strided.default,
        _aten.empty_like.default,
        _aten.new_empty.default,
        _aten.new_empty_strided.default,
        _aten.resize_.default,
        _aten.resize_as_.default,
        *(getattr(_aten.set_, overload) for overload in _aten.set_.overloads()),
    )
)
_OVERWRITES = frozenset((_aten.fill_.Scalar, _aten.fill_.Tensor, _aten.zero_.default, _aten.copy_.default))
_PLACES = frozenset(
    (
        _aten.index_put_.default,
        _aten.scatter_.src,
        _aten.scatter_.value,
        _aten.masked_fill_.Scalar,
        _aten.masked_fill_.Tensor,
        _aten.index_copy_.default,
        _aten.index_fill_.int_Scalar,
    )
)
_SHAPE_ONLY = frozenset(
    (
        _aten.zeros_like.default,
        _aten.ones_like.default,
        _aten.full_like.default,
        _aten.new_zeros.default,
        _aten.new_ones.default,
        _aten.new_full.default,
    )
)

_cache: dict[Any, OpFacts] = {}


def facts_of(func: Any) -> OpFacts:
    """The facts of an op (a torch._ops.OpOverload)."""
    found = _cache.get(func)
    if found is None:
        found = _cache[func] = OpFacts(func)
    return found


def tensors_among(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments of an op, in order, lists of tensors included."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_among(value)
    return found
