"""The checks of a project as a list, for `modelsum check --list`."""

from __future__ import annotations

from collections.abc import Sequence

from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.project import Baselines
from modelsum.units import binary_bytes, short_count


def render_checks(checks: Sequence[Check], baselines: Baselines) -> str:
    """A line a check: name, model, input and whether it has a baseline; below it its limits, one a line."""
    if not checks:
        return "no checks\n"
    name, model, given = (max(map(len, column)) for column in zip(*map(_cells, checks), strict=True))
    lines = []
    for check in checks:
        cells = _cells(check)
        said = _baseline(check.name, baselines)
        lines.append(f"{cells[0]:<{name}}  {cells[1]:<{model}}  {cells[2]:<{given}}  {said}".rstrip())
        lines += (f"{'':<{name}}  {figure} <= {_amount(figure, n)}" for figure, n in check.limits.items())
    return "\n".join(lines) + "\n"


def _cells(check: Check) -> tuple[str, str, str]:
    given = check.request
    inputs = ", ".join(map(str, given.inputs)) or given.inputs_from or "default input"
    return check.name, str(check.model), inputs


def _baseline(name: str, baselines: Baselines) -> str:
    if name in baselines.unreadable:
        return "baseline cannot be read"
    return "" if name in baselines.stored else "no baseline yet"


def _amount(name: str, limit: int) -> str:
    return binary_bytes(limit) if FIGURES[name].is_bytes else short_count(limit)
