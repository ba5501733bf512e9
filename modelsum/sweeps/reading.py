"""What a reader asks of rows: those that keep to conditions, the front of figures, an order, the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelsum.plain import plain
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION
from modelsum.sweeps.conditions import Condition, Order
from modelsum.sweeps.rows import OK, Row


@dataclass(frozen=True, slots=True, repr=False)
class Sweep(Printed):
    """Rows of a sweep, chosen and ordered.

    Attributes:
        axes: the names of the axes.
        rows: those that are shown.
        others: those that are not.
        objectives: what `rows` are the front of, if they are one.
        orders: what they are ordered by.
        conditions: what they keep to.
        notices: what a reader should know.
    """

    axes: tuple[str, ...]
    rows: tuple[Row, ...]
    others: tuple[Row, ...] = ()
    objectives: tuple[Order, ...] = ()
    orders: tuple[Order, ...] = ()
    conditions: tuple[Condition, ...] = ()
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Sweep of {len(self.rows) + len(self.others):,} points>"

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON values, schema version 1: the rows that are shown by their columns."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "sweep",
            "axes": list(self.axes),
            "rows": [row.to_dict() for row in self.rows],
            "rows_left_out": len(self.others),
            "pareto": list(map(str, self.objectives)),
            "sort": list(map(str, self.orders)),
            "where": list(map(str, self.conditions)),
            "notices": plain(self.notices),
        }

    def where(self, *conditions: Condition) -> Sweep:
        """The rows that are known to keep to the conditions."""
        failed = [[each for each in conditions if not each.holds(row)] for row in self.rows]
        kept = [row for row, wrong in zip(self.rows, failed, strict=True) if not wrong]
        bounds = sum(
            any(row.is_bound(each.figure) for each in wrong)
            for row, wrong in zip(self.rows, failed, strict=True)
        )
        notice = f"{_rows(bounds)} left out: their memory is at least so much, and may be more"
        shown = self._showing(kept, conditions=(*self.conditions, *conditions))
        unknown = self._unknown([each.figure for each in conditions])
        return dataclasses.replace(shown, notices=(*self.notices, *([notice] if bounds else []), *unknown))

    def pareto(self, *objectives: Order) -> Sweep:
        """The front: the rows that no other one is better than in one objective and as good in all."""
        notices = (*self.notices, *self._unknown([order.name for order in objectives]))
        return self._showing(front(self.rows, objectives), objectives=objectives, notices=notices)

    def sorted(self, *orders: Order) -> Sweep:
        """The rows in an order: numbers, texts, and at the end rows that have neither."""

        def place(row: Row) -> list[tuple[bool, bool, float, str]]:
            values = [(order.cost(row), order.text(row)) for order in orders]
            return [(value is None, not text, value or 0, text) for value, text in values]

        return self._showing(sorted(self.rows, key=place), orders=orders)

    def top(self, most: int) -> Sweep:
        """The first rows."""
        return self._showing(self.rows[:most])

    def _unknown(self, asked: Iterable[str]) -> Iterator[str]:
        """Says which of the figures that are asked for are not known of rows, though others are."""
        for name in dict.fromkeys(asked):
            without = [row for row in self.rows if row.status == OK and row.figures.get(name, 0) is None]
            if without:
                reasons = "; ".join(dict.fromkeys(row.reason for row in without if row.reason))
                because = f" ({reasons})" if reasons else ""
                yield f"{_rows(len(without))} left out: {name} is not known{because}"

    def _showing(self, rows: Sequence[Row], **changes: Any) -> Sweep:
        shown = set(map(id, rows))
        others = (*self.others, *(row for row in self.rows if id(row) not in shown))
        return dataclasses.replace(self, rows=tuple(rows), others=others, **changes)


def front(rows: Sequence[Row], objectives: Sequence[Order]) -> list[Row]:
    """The rows with figures that no other row dominates, the best of the first objective first.

    A figure that is known as a lower bound alone is no figure here.
    """
    known: list[tuple[tuple[float, ...], Row]] = []
    for row in rows:
        values = [order.cost(row) for order in objectives if not order.is_bound(row)]
        numbers = tuple(value for value in values if value is not None)
        if row.status == OK and len(numbers) == len(objectives):
            known.append((numbers, row))
    known.sort(key=lambda each: each[0])
    found: list[tuple[tuple[float, ...], Row]] = []
    for numbers, row in known:  # what comes later dominates nothing before it
        if not any(best != numbers and _as_good(best, numbers) for best, _ in found):
            found.append((numbers, row))
    return [row for _, row in found]


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count:,} rows are"
