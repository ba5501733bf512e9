"""What to do at each op: what it does to storages, which rules it has, what it is called."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch

from modelsum.trace.ops import Verdict, rule_for, spelled
from modelsum.trace.parallel.collectives import is_collective
from modelsum.trace.rules import Rule
from modelsum.trace.torch_private import TO_COPY, WAITING, HigherOrderOperator, has_kernel, schema_of
from modelsum.trace.values.known_values import shortcut_of

#: Bytes that a kernel has allocated at most while it runs, on top of its arguments and results; None where
#: that was never measured; `AtLeast` so many. Called with the op's own arguments and `out=`, its result.
KernelRule = Callable[..., int | None]

#: What tells calls of an op apart whose algorithm the library searches for at the first one of each kind;
#: None where it does not. Called with the op's own arguments.
SearchKey = Callable[..., Hashable | None]

_aten = torch.ops.aten
# What autograd does in place, if no dispatch mode looks on: add gradients of one tensor, and write into zeros
# the gradient of what was picked from a tensor (torch's input_buffer.cpp and FunctionsManual.cpp).
IN_PLACE_UNSEEN = frozenset(
    (
        *(_aten.add.Tensor, _aten.scatter_add.default, _aten.index_add.default, _aten.index_put.default),
        *(_aten.scatter.src, _aten.scatter.value, _aten.index_copy.default, _aten.put.default),
        *(_aten.index_fill.int_Scalar, _aten.masked_scatter.default),
    )
)
#: Namespaces of ops whose kernels were looked at, or that have none.
_LOOKED_INTO = frozenset(
    (
        *("aten", "prims", "prim", "profiler", "torchvision", "transformers"),
        *("c10d", "_c10d_functional", "c10d_functional", "_dtensor", "fsdp", "streams"),
    )
)
#: Zeros without memory, which derivatives forward begin with.
_NO_MEMORY = "aten::_efficientzerotensor"
_RESIZING = frozenset(("aten::resize_", "aten::resize_as_", "aten::set_", "aten::_resize_output_"))

#: What an op may do to storages, as far as its schema tells.
NOTHING = 0
ALLOCATES = 1
DECOMPOSES = 2
COMMUNICATES = 4
WAITS = 8
LEAVES = 16  # may go to the host
HIDES = 32  # is of higher order, and fused where it is compiled


class Plan(NamedTuple):
    """What to do at an op.

    Attributes:
        name: as torch spells it.
        does: what it does to storages.
        shortcut: as `known_values.shortcut_of`.
        inside: the memory inside its kernel.
        work: the work it does.
        is_unseen: it is one of `IN_PLACE_UNSEEN`.
        searched: what tells its searches apart.
    """

    name: str
    does: int
    shortcut: Callable[..., Any] | None = None
    inside: KernelRule | None = None
    work: Rule | Verdict = Verdict.IGNORED
    is_unseen: bool = False
    searched: SearchKey | None = None


def plan_of(func: Any, kernels: Mapping[str, KernelRule], searches: Mapping[str, SearchKey]) -> Plan:
    """What to do at an op; `kernels` and `searches` are by op, like "add.Tensor".

    Raises NotImplementedError for an op of higher order that nobody wrote out.
    """
    name = spelled(func)
    rule = rule_for(func)
    if isinstance(func, HigherOrderOperator):
        if rule is Verdict.UNKNOWN:
            raise NotImplementedError(f"what torch allocates inside of {func.name()} is not known")
        return Plan(name, DECOMPOSES if rule is Verdict.COMPOSITE else HIDES, work=rule)
    does = ALLOCATES if _may_allocate(func) else NOTHING
    if rule is Verdict.COMPOSITE and not _has_kernel(func):
        does = DECOMPOSES
    if is_collective(func):
        does |= COMMUNICATES
    elif func.name() in WAITING:
        does = WAITS
    if func is TO_COPY:
        does |= LEAVES
    key = func.name().removeprefix("aten::")
    inside = kernels.get(key)
    if inside is None and func.namespace not in _LOOKED_INTO:
        inside = _not_measured
    return Plan(
        name,
        does,
        shortcut_of(func),
        inside,
        Verdict.IGNORED if rule is Verdict.COMPOSITE else rule,
        func in IN_PLACE_UNSEEN,
        searches.get(key),
    )


def _has_kernel(func: Any) -> bool:
    """Whether an op that could be done by others has a kernel of its own on a real device: silu_backward."""
    return has_kernel(func.name(), "CPU")


def _may_allocate(func: Any) -> bool:
    """Whether an op may return a new storage, or give one that exists another size."""
    schema = schema_of(func)
    if schema.name in _RESIZING:
        return True
    if schema.name == _NO_MEMORY:
        return False
    return any(r.alias_info is None for r in schema.returns)


def _not_measured(*arguments: Any, out: Any, **named: Any) -> None:
    """The kernel of an op of somebody's own: what it allocates besides its results is not known."""
