"""Lines over two axes, as the numbers of a picture: for `sections/chart.html`, which needs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

_WIDTH, _HEIGHT = 860.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84.0, 16.0, 26.0, 46.0


@dataclass(frozen=True, slots=True)
class Series:
    """Points from left to right.

    Attributes:
        points: x, y and what is said of each.
        least: below each point how low it may be, for a band; empty for none.
        rows: of each point the number of the row that it is linked to, in the table of its section.
        is_line: a line goes through the points.
    """

    name: str
    points: Sequence[tuple[float, float, str]]
    least: Sequence[float] = ()
    rows: Sequence[int] = ()
    is_line: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Series over axes that begin at 0.

    Attributes:
        label: what the picture is, for who does not see it.
        x, y: what the axes are.
        x_words, y_words: a number of the axis in words.
        y_unit: what a y is divided by, so that its ticks are round: 2**30 for GiB.
        line: a height that all is measured by, a card's memory, and what it is called.
    """

    label: str
    series: Sequence[Series]
    x: str
    y: str
    x_words: Callable[[float], str]
    y_words: Callable[[float], str]
    y_unit: float = 1.0
    line: tuple[float, str] | None = None

    def drawn(self) -> dict[str, Any]:
        """Where everything is."""
        points = [point for series in self.series for point in series.points]
        right = max((x for x, _, _ in points), default=1.0) or 1.0
        line = self.line[0] if self.line else 0.0
        top = 1.08 * max(line, *(y for _, y, _ in points), 1e-9)

        def across(x: float) -> float:
            return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * x / right, 1)

        def up(y: float) -> float:
            return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / top, 1)

        def path(xy: Sequence[tuple[float, float]]) -> str:
            return " ".join(f"{across(x)},{up(y)}" for x, y in xy)

        return {
            "label": self.label,
            "width": _WIDTH,
            "height": _HEIGHT,
            "frame": {"left": _LEFT, "right": _WIDTH - _RIGHT, "bottom": _HEIGHT - _BOTTOM, "top": _TOP},
            "x": self.x,
            "y": self.y,
            "x_ticks": [(across(x), self.x_words(x)) for x in ticks(right)],
            "y_ticks": [
                (up(y), self.y_words(y)) for y in (self.y_unit * t for t in ticks(top / self.y_unit))
            ],
            "line": (up(line), self.line[1]) if self.line else None,
            "series": [
                {
                    "name": each.name,
                    "path": path([(x, y) for x, y, _ in each.points]) if each.is_line else "",
                    "band": path(_around(each)) if each.least else "",
                    "points": [
                        (across(x), up(y), said, row)
                        for (x, y, said), row in zip_longest(each.points, each.rows)
                    ],
                }
                for each in self.series
            ],
        }


def _around(series: Series) -> list[tuple[float, float]]:
    upper = [(x, y) for x, y, _ in series.points]
    lower = [(x, y) for (x, _, _), y in zip(series.points, series.least, strict=True)]
    return [*upper, *reversed(lower)]


def ticks(most: float, about: int = 5) -> list[float]:
    """Round numbers from 0 to `most`, about so many.

    >>> ticks(214)
    [0.0, 50.0, 100.0, 150.0, 200.0]
    """
    power = 10 ** math.floor(math.log10(most / about))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= most / about)
    return [step * n for n in range(math.floor(most / step) + 1)]
