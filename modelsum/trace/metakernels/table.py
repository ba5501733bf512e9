"""Op -> shape rule.

A rule has the signature of its op, in torch's order and with torch's defaults. It is entered under the
op's name without its namespace, "add.Tensor" or "gelu", so that an op that this version of torch does
not have costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Rule: TypeAlias = Callable[..., Any]

RULES: dict[str, Rule] = {}

_cache: dict[Any, Rule | None] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Enter the decorated function as the rule of these aten ops."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return enter


def rule_for(op: Any) -> Rule | None:
    """The rule of an op (a torch._ops.OpOverload), or None."""
    try:
        return _cache[op]
    except KeyError:
        namespace, _, name = op.name().partition("::")
        found = _cache[op] = RULES.get(name) if namespace == "aten" else None
        return found
