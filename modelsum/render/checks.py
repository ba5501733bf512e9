"""The checks of a project as a list, for `modelsum check --list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.project import Baselines
from modelsum.render.layout import GAP, aligned
from modelsum.units import binary_bytes, short_count


def render_checks(checks: Sequence[Check], baselines: Baselines) -> str:
    """A line a check: name, model, input and whether it has a baseline; below it its limits, one a line."""
    return "\n".join(_lines(checks, baselines) if checks else ("no checks",)) + "\n"


def _lines(checks: Sequence[Check], baselines: Baselines) -> Iterator[str]:
    room = max(len(check.name) for check in checks)
    rows = [_cells(check, baselines) for check in checks]
    for check, line in zip(checks, aligned(rows, words=4), strict=True):
        yield line
        for figure, limit in check.limits.items():
            amount = binary_bytes(limit) if FIGURES[figure].is_bytes else short_count(limit)
            yield f"{' ' * room}{GAP}{figure} <= {amount}"


def _cells(check: Check, baselines: Baselines) -> tuple[str, str, str, str]:
    given = check.request
    inputs = ", ".join(map(str, given.inputs)) or given.inputs_from or "default input"
    known = "" if check.name in baselines.stored else "no baseline yet"
    said = "baseline cannot be read" if check.name in baselines.unreadable else known
    return check.name, str(check.model), inputs, said
