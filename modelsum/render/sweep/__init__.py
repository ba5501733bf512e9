"""Rows of a sweep, a function a format: axes that are the same for all are said once, below the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from modelsum.baselines.figures import FIGURES
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Listed, Notice, Table
from modelsum.render.figure_words import amount, label
from modelsum.render.layout import WIDTH, aligned, all_stated, painted
from modelsum.sweeps.reading import Sweep
from modelsum.sweeps.rows import OK, Row
from modelsum.units import count

#: Figures that a table has in any case, besides those that it is chosen or ordered by.
_SHOWN = ("params", "macs", "inference_peak", "training_peak")
_NONE = "-"


def text(sweep: Sweep, options: RenderOptions) -> Iterator[str]:
    """A line a row, and below what is the same for all."""
    if sweep.rows:
        titles, *lines = aligned([header(sweep), *table(sweep)], words=len(_axes(sweep)))
        yield from (painted(titles, "bold" if options.color else ""), *lines, "")
    said = [*facts(sweep), *reasons(sweep), *(("Notice", notice) for notice in sweep.notices)]
    room = max(len(name) for name, _ in said) + 2
    yield from all_stated(said, options.width or WIDTH, room)


def document(sweep: Sweep, options: RenderOptions) -> list[Block]:
    """The same as a table and what is said of it."""
    blocks: list[Block] = [Listed.of([*facts(sweep), *reasons(sweep)]), *map(Notice, sweep.notices)]
    return [Table(header(sweep), alignment(sweep), list(table(sweep))), *blocks] if sweep.rows else blocks


def csv(sweep: Sweep, options: RenderOptions) -> str:
    """A line a row, with all columns, as in a file of rows."""
    from modelsum.sweeps.files.forms import CSV

    return CSV.head(sweep.axes) + "".join(CSV.line(row, sweep.axes) for row in sweep.rows)


def point(sweep: Sweep, row: Row) -> str:
    """A row's point, by the axes that differ."""
    return ", ".join(f"{name} {_word(row.point[name])}" for name in _axes(sweep) if name in row.point)


def _axes(sweep: Sweep) -> tuple[str, ...]:
    """The axes that differ, and the first one in any case."""
    every = {name: {_word(row.point.get(name)) for row in sweep.rows} for name in sweep.axes}
    return tuple(n for place, n in enumerate(sweep.axes) if not place or len(every[n]) > 1)


def _figures(sweep: Sweep) -> tuple[str, ...]:
    asked = (
        *(order.name for order in (*sweep.objectives, *sweep.orders)),
        *(c.figure for c in sweep.conditions),
    )
    known = [name for name in _SHOWN if any(row.figures.get(name) is not None for row in sweep.rows)]
    return tuple(dict.fromkeys((*known, *(name for name in asked if name in FIGURES))))


def alignment(sweep: Sweep) -> str:
    """The sides of the columns: "l" or "r" for each."""
    axes = len(_axes(sweep))
    return "l" * axes + "r" * (len(header(sweep)) - axes)


def header(sweep: Sweep) -> list[str]:
    """The titles of the columns: the axes that differ, figures, and the status where not all are known."""
    names = [label(FIGURES[name].json_name) for name in _figures(sweep)]
    return [*_axes(sweep), *names, *(["Status"] if _has_failures(sweep) else [])]


def table(sweep: Sweep) -> Iterator[list[str]]:
    """The cells of each row."""
    axes, figures, failures = _axes(sweep), _figures(sweep), _has_failures(sweep)
    for row in sweep.rows:
        values = [_word(row.point.get(name)) for name in axes]
        yield [*values, *(_amount(row, name) for name in figures), *([row.status] if failures else [])]


def _amount(row: Row, figure: str) -> str:
    least = ">= " if row.is_bound(figure) and row.figures.get(figure) is not None else ""
    return least + amount(FIGURES[figure].json_name, row.figures.get(figure))


def _has_failures(sweep: Sweep) -> bool:
    return any(row.status != OK for row in sweep.rows)


def facts(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """What is said of all rows."""
    shown = len(sweep.rows)
    of_all = f"{count(shown)} of {count(shown + len(sweep.others))}" if sweep.others else count(shown)
    yield "Points", of_all
    if sweep.objectives:
        yield "Front of", ", ".join(map(str, sweep.objectives))
    if sweep.conditions:
        yield "Where", " and ".join(map(str, sweep.conditions))
    if sweep.orders:
        yield "Order", ", ".join(map(str, sweep.orders))
    if shown:
        same = [name for name in sweep.axes if name not in _axes(sweep)]
        for name in same:
            yield name, _word(sweep.rows[0].point.get(name))


def reasons(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Why rows have no figures, or not all, the most frequent reason first."""
    told = Counter(
        row.reason if row.status == OK else f"{row.status}: {row.reason}" for row in sweep.rows if row.reason
    )
    for reason, times in told.most_common():
        yield "Not known", f"{count(times)} x {reason}" if times > 1 else reason


def _word(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
