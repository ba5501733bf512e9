"""The table of layers that was asked for: which rows, in which order, with which figures."""

from __future__ import annotations

from typing import NamedTuple

from modelsum.errors import UsageError
from modelsum.render import RenderOptions
from modelsum.render.layout import bar
from modelsum.render.summary import cells, facts
from modelsum.render.summary.cells import Column
from modelsum.render.summary.rows import Row, displayed, folded_at
from modelsum.summary import Summary
from modelsum.units import count

_FIELDS = {"params": "params", "macs": "macs", "saved": "saved_bytes", "peak": "peak_bytes"}
_ROOM = 110  # columns of a terminal that has room for all figures beside a bar
_WORDS = {"params": "params", "macs": "MACs", "saved": "bytes saved for backward"}
_TITLES = {"params": "Params", "macs": "MACs", "saved": "Saved", "peak": "Peak"}


class Table(NamedTuple):
    """Rows and columns.

    Attributes:
        note: what the rows leave out, and what shows it; empty where they leave nothing out.
    """

    rows: list[Row]
    columns: list[Column]
    note: str


def table_of(summary: Summary, options: RenderOptions) -> Table:
    """The rows that the options ask for. Raises UsageError where a figure to sort by is not known."""
    memory = summary.memory.modules if summary.memory else None
    columns = cells.columns(summary)
    if options.top is not None or options.sort is not None:
        rows = folded_at(summary.layers, options.depth, memory, every=options.every)
        return _ranked(rows, columns, options)
    # Where the forward failed, the row that it failed in is what people look for.
    levels = max((layer.depth for layer in summary.layers), default=0) if facts.unfinished(summary) else None
    depth = levels if options.depth is None else options.depth
    shown = displayed(summary.layers, depth, memory, every=options.every)
    if len(shown.rows) == shown.every:
        return Table(shown.rows, columns, "")
    level = "" if shown.depth is None else f"down to level {shown.depth}"
    said = ", ".join(filter(None, (level, "" if options.every else "equal blocks as one")))
    note = f"{count(len(shown.rows))} of {count(shown.every)} rows: {said}; --all shows every row."
    return Table(shown.rows, columns, note)


def _ranked(rows: list[Row], columns: list[Column], options: RenderOptions) -> Table:
    """The costliest rows first, with a bar each for their share of the whole, or of the highest peak."""
    known = [name for name, title in _TITLES.items() if title in [column.title for column in columns]]
    figure = options.sort or ("macs" if "macs" in known else "params")
    if figure not in known:
        raise UsageError(f"{figure!r} is not known here", f"Rows can be sorted by {', '.join(known)}.")
    amounts = {id(row): getattr(row, _FIELDS[figure]) or 0 for row in rows}
    whole = max(amounts.values(), default=0) if figure == "peak" else sum(amounts.values())
    ranked = sorted(rows, key=lambda row: -amounts[id(row)])
    top = [row for row in ranked if amounts[id(row)]][: options.top] if options.top else ranked

    def share(row: Row) -> str:
        part = amounts[id(row)] / whole if whole else 0.0
        return f"{100 * part:5.1f} % {bar(part, 12)}"

    title = "Of the peak" if figure == "peak" else f"Of all {_TITLES[figure]}"
    note = ""
    if len(top) < len(rows):
        part = sum(amounts[id(row)] for row in top) / whole if whole else 0.0
        said = (
            "the highest peaks"
            if figure == "peak"
            else f"the most {_WORDS[figure]}: {100 * part:.1f} % of all"
        )
        note = f"{count(len(top))} of {count(len(rows))} rows, those with {said}."
    if options.width is not None and options.width < _ROOM:
        columns = [column for column in columns if column.title == _TITLES[figure]]
    return Table(top, [*columns, Column(title, share)], note)
