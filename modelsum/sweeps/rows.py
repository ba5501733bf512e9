"""A row: a point of a sweep, what it costs or why that is not known; and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelsum.baselines.figures import FIGURES
from modelsum.plain import plain

#: What can have become of a point: its figures are known; it could not be built or run; its process ended; it
#: took too long.
OK, ERROR, LOST, TIMEOUT = STATUSES = ("ok", "error", "lost", "timeout")

#: The columns of figures, and the figure of each.
OF_FIGURES = {figure.json_name: name for name, figure in FIGURES.items()}
OF_TEXTS = ("memory_bound", "status", "reason", "key")
#: The columns behind those of the axes.
COLUMNS = (*OF_FIGURES, *OF_TEXTS)


@dataclass(frozen=True, slots=True)
class Row:
    """A point and what became of it.

    Attributes:
        point: the values by axis, as JSON has them.
        status: one of `STATUSES`.
        key: of the question, the versions and the sources that answered it (modelsum.sweeps.keys).
        figures: by name; None for what is not known.
        memory_bound: "exact", or "lower" where the memory is at least so much; "" where there is none.
        reason: why there are no figures, or none of the memory or of the training step.
    """

    point: Mapping[str, Any]
    status: str
    key: str
    figures: Mapping[str, int | None] = field(default_factory=dict)
    memory_bound: str = ""
    reason: str = ""

    @property
    def question(self) -> str:
        """The part of the key that is known before the point is done."""
        return self.key.partition("-")[0]

    @property
    def sources(self) -> str:
        """The part that says on which sources of the user's the answer depended; "" for none."""
        return self.key.partition("-")[2]

    def is_bound(self, figure: str) -> bool:
        """Whether a figure is known as a lower bound alone."""
        return self.memory_bound == "lower" and FIGURES[figure].of_memory and FIGURES[figure].is_bytes

    def to_dict(self) -> dict[str, Any]:
        """The columns of the row: those of its own axes, then `COLUMNS`."""
        figures = {column: self.figures.get(name) for column, name in OF_FIGURES.items()}
        texts = {name: getattr(self, name) for name in OF_TEXTS}
        return {**{name: plain(value) for name, value in self.point.items()}, **figures, **texts}

    @classmethod
    def from_dict(cls, columns: Any) -> Row:
        """The row of these columns. Raises ValueError where they are no row."""
        if not isinstance(columns, dict):
            raise ValueError("no row of a sweep")
        status, key = columns.get("status"), columns.get("key")
        if status not in STATUSES or not isinstance(key, str) or not key:
            raise ValueError("no row of a sweep")
        figures = {name: columns.get(column) for column, name in OF_FIGURES.items()}
        if not all(value is None or type(value) is int for value in figures.values()):
            raise ValueError("a figure is no whole number")
        texts = {name: columns.get(name) or "" for name in ("memory_bound", "reason")}
        point = {name: value for name, value in columns.items() if name not in COLUMNS}
        return cls(point, status, key, figures if status == OK else {}, **texts)


def axes_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """The names of the axes that rows have, in the order in which they come."""
    return tuple(dict.fromkeys(name for row in rows for name in row.point))
