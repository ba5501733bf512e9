"""The checks of a project as a list, for `modelsum check --list`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from modelsum.baselines.figures import FIGURES
from modelsum.units import binary_bytes, short_count

if TYPE_CHECKING:
    from modelsum.baselines.configuration.checks import Check


def render_checks(checks: Sequence[Check], with_baseline: Collection[str]) -> str:
    """A line a check: name, model and input, and below it its limits; whether it has a baseline."""
    if not checks:
        return "no checks\n"
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        given = ", ".join(check.input) or check.inputs_from or "default input"
        baseline = "" if check.name in with_baseline else "   no baseline yet"
        lines.append(f"{check.name:<{width}}  {check.model}  {given}{baseline}")
        if check.limits:
            limits = ", ".join(f"{name} {_amount(name, n)}" for name, n in check.limits.items())
            lines.append(f"{'':<{width}}  limits: {limits}")
    return "\n".join(lines) + "\n"


def _amount(name: str, limit: int) -> str:
    return binary_bytes(limit) if FIGURES[name].is_bytes else short_count(limit)
