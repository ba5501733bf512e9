"""A file of rows as the budget of a family: what the row of a check's point has are the check's limits.

    [[tool.modelsum.check]]
    name = "mobilenet_v2-half"
    model = "mobilenet_v2"
    args = {width_mult = 0.5}
    budget = "budgets/mobilenets.csv"       # of `modelsum sweep`, from the project's folder
    tolerance = {macs = "1%"}               # on top of what the row has

Limits that the check sets itself stand. A memory that is known as a lower bound alone is no limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelsum.baselines.configuration.checks import FIELDS, Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.gate import DERIVED, FOLLOWS
from modelsum.baselines.quantity import Tolerance
from modelsum.errors import ConfigError, UsageError
from modelsum.request import Request
from modelsum.sweeps import files, grid
from modelsum.sweeps.rows import OK, Row


def with_budgets(config: Config, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks with the limits of their budgets. Raises ConfigError for a point that a budget has not."""
    read: dict[str, list[tuple[Request, Row]]] = {}

    def limited(check: Check) -> Check:
        if check.budget is None:
            return check
        where = f"{config.path.name}:{check.line('budget')}: budget: "
        if check.budget not in read:
            try:
                read[check.budget] = _rows(config.folder / check.budget, config.defaults)
            except UsageError as error:
                raise ConfigError(f"{where}{error.message}", error.hint) from error
        row = next((row for asked, row in read[check.budget] if _same(asked, check.request)), None)
        if row is None:
            nearest = _nearest(check.request, [asked for asked, _ in read[check.budget]])
            raise ConfigError(f"{where}{check.budget} has no row of this check's point", nearest)
        return _limited(check, row)

    return tuple(map(limited, checks))


def _rows(path: Path, defaults: Mapping[str, str]) -> list[tuple[Request, Row]]:
    """The rows with figures, each with what it answers."""
    rows = [row for row in files.read(path) if row.status == OK]
    return [(grid.of_point(row.point).request(row.point, defaults), row) for row in rows]


def _same(budget: Request, asked: Request) -> bool:
    """Whether a row answers what a check asks; of a row without memory its other figures count."""
    if budget.memory is None:
        asked = dataclasses.replace(asked, memory=None, target=budget.target)
    return budget == asked


def _nearest(asked: Request, rows: Sequence[Request]) -> str:
    def differing(row: Request) -> list[str]:
        keys = [key for key, field in FIELDS.items() if getattr(row, field) != getattr(asked, field)]
        return keys if keys or row.memory == asked.memory else ["training step"]

    if not rows:
        return "It has no rows with figures."
    nearest = min((differing(row) for row in rows), key=lambda keys: len(keys))
    return f"The nearest row has another {', '.join(nearest)}."


def _limited(check: Check, row: Row) -> Check:
    figures = {
        name: value + check.tolerance.get(name, Tolerance()).allowance(value)
        for name, value in row.figures.items()
        if value is not None
        and name not in (*DERIVED, *FOLLOWS)
        and not (FIGURES[name].of_memory and (check.request.memory is None or row.is_bound(name)))
    }
    lines = {f"limits.{name}": check.line("budget") for name in figures}
    return dataclasses.replace(check, limits={**figures, **check.limits}, lines={**lines, **check.lines})
