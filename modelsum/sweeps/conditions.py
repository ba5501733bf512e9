"""What is asked of rows: conditions that a figure has to keep to, and orders by a figure or an axis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelsum.baselines.figures import FIGURES, figure
from modelsum.baselines.quantity import Bound, parse_bound
from modelsum.errors import UsageError, did_you_mean
from modelsum.sweeps.rows import OF_FIGURES, Row

_CONDITION = re.compile(r"\s*([A-Za-z_]+)\s*((?:<=|>=|==|<|>).*)")


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, and the bound that it has to keep to."""

    figure: str
    bound: Bound

    def holds(self, row: Row) -> bool:
        """Whether the row is known to keep to it: of a figure that is at least so much, < is not known."""
        value = row.figures.get(self.figure)
        known = not row.is_bound(self.figure) or self.bound.relation in (">", ">=")
        return value is not None and known and self.bound.holds(value)

    def excess(self, row: Row) -> int:
        """By how much the row breaks it; 0 or less where it is known to keep to it."""
        value = row.figures.get(self.figure)
        if value is None or not self.holds(row):
            return max(1, abs((value or 0) - self.bound.amount))
        return -abs(value - self.bound.amount)

    def __str__(self) -> str:
        return f"{self.figure} {self.bound}"


def parse_condition(text: str) -> Condition:
    """Read "params < 5 M". Raises UsageError."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no condition", "Write 'params < 5 M' or 'training_peak <= 8 GiB'.")
    name = figure_name(match[1])
    return Condition(name, parse_bound(match[2], is_bytes=FIGURES[name].is_bytes))


@dataclass(frozen=True, slots=True)
class Order:
    """The values of a figure or of an axis, the smallest first.

    Attributes:
        name: of the figure or axis.
        descending: the largest first, being the best.
    """

    name: str
    descending: bool = False

    def value(self, row: Row) -> float | None:
        """The number that the row has there; None where there is none."""
        value = row.figures.get(self.name) if self.name in FIGURES else row.point.get(self.name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def cost(self, row: Row) -> float | None:
        """The number by which rows are ordered, the smallest being the best."""
        value = self.value(row)
        return -value if value is not None and self.descending else value

    def text(self, row: Row) -> str:
        """What rows are ordered by where the axis has texts; "" otherwise."""
        value = row.point.get(self.name)
        return value if isinstance(value, str) else ""

    def is_bound(self, row: Row) -> bool:
        """Whether the value is known as a lower bound alone."""
        return self.name in FIGURES and row.is_bound(self.name)

    def __str__(self) -> str:
        return f"-{self.name}" if self.descending else self.name


def parse_orders(text: str, axes: Sequence[str]) -> tuple[Order, ...]:
    """Read "macs,-args.width_mult": figures and axes, a minus where more is better. Raises UsageError."""
    orders = []
    for word in text.split(","):
        name = word.strip().removeprefix("-")
        orders.append(Order(name if name in axes else figure_name(name, axes), word.strip().startswith("-")))
    return tuple(orders)


def figure_name(name: str, others: Sequence[str] = ()) -> str:
    """The figure of a name, or of its column's. Raises UsageError with the nearest, also of `others`."""
    name = OF_FIGURES.get(name, name)
    if name not in FIGURES and (hint := did_you_mean(name, others)):
        raise UsageError(f"there is no figure or axis {name!r}", hint)
    return figure(name).name
