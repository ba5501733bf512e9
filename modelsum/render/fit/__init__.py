"""What fits into some memory, in every format."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from modelsum.errors import UsageError
from modelsum.render.fit import words

if TYPE_CHECKING:
    from modelsum.memory.fitting.fit import Fit, Need

FORMATS = ("text", "json", "csv", "markdown")

_GAP = "  "
_WIDTH = 80  # of the text where there is no terminal
_COLUMNS = (
    *("kind", "words", "batch", "samples", "needs_bytes", "least_bytes", "peak_bytes", "room_bytes"),
    *("fits", "cost"),
)


def render_fit(fit: Fit, format: str, width: int | None) -> str:
    """The result as text, json, csv or markdown; text is fitted to `width` columns, None: 80.

    Raises UsageError for the formats that show a table of layers.
    """
    if format == "json":
        return json.dumps(fit.to_dict(), indent=2) + "\n"
    if format == "csv":
        return _csv(fit)
    if format in FORMATS:
        lines = _markdown(fit) if format == "markdown" else _text(fit, max(width or _WIDTH, 60))
        return "\n".join(line.rstrip() for line in lines) + "\n"
    raise UsageError(
        f"format {format!r} shows layers, which this answer does not", f"Valid are {', '.join(FORMATS)}."
    )


# ---- text


def _text(fit: Fit, width: int) -> Iterator[str]:
    rule = "-" * min(width, 100)
    yield rule
    yield from _wrapped(words.verdict(fit), width, 2)
    yield "=" * len(rule)
    yield from _aligned([words.NEEDS, *words.needs(fit)])
    for label, value in words.reasons(fit):
        yield from _wrapped(f"{label + ':':10}{value}", width, 10)
    if fit.ways:
        yield rule
        yield from _ways(fit, len(rule))
    yield rule
    for label, value in words.provenance(fit):
        yield from _wrapped(f"{label + ':':10}{value}", width, 10)
    for notice in fit.notices:
        yield from _wrapped(f"Notice:   {notice}", width, 10)


def _ways(fit: Fit, width: int) -> Iterator[str]:
    rows = words.ways(fit)
    if rows:
        header = words.ways_header(fit)
        table = [header, *((row.words, row.needs, row.batch, row.gain) for row in rows)]
        widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[1:]]
        first = width - sum(widths) - len(_GAP) * len(widths)
        for name, *cells in table:
            line, *rest = textwrap.wrap(name, first, subsequent_indent="  ", break_on_hyphens=False)
            figures = (_GAP + cell.rjust(size) for cell, size in zip(cells, widths, strict=True))
            yield line.ljust(first) + "".join(figures)
            yield from rest
        yield from _wrapped(f"Cost:     {words.costs(fit)}", width, 10)
    if little := words.little(fit):
        yield from _wrapped(f"Under 1 %: {little}", width, 11)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield _GAP.join(
            cell.rjust(size) if place else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        )


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)


# ---- markdown


def _markdown(fit: Fit) -> Iterator[str]:
    yield f"## {_escaped(words.name(fit))} in {_escaped(words.room(fit))}"
    yield ""
    yield f"**{_escaped(words.verdict(fit))}**"
    yield ""
    yield from _table(words.NEEDS, words.needs(fit))
    yield ""
    yield from (f"- {label}: {_escaped(value)}" for label, value in words.reasons(fit))
    if fit.ways:
        yield ""
        cells = [(f"`{row.words}`", *row[1:]) for row in words.ways(fit)]
        yield from _table((*words.ways_header(fit), "Cost"), cells)
        if little := words.little(fit):
            yield ""
            yield f"Under 1 %: {_escaped(little)}"
    yield ""
    yield from (f"- {label}: {_escaped(value)}" for label, value in words.provenance(fit))
    for notice in fit.notices:
        yield ""
        yield f"> **Notice:** {_escaped(notice)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| :--- |{' ---: |' * (len(header) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")


# ---- csv


def _csv(fit: Fit) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for kind, need in (("below", fit.below), ("above", fit.above), ("asked", fit.asked)):
        if need is not None:
            writer.writerow({"kind": kind, **_need(fit, need)})
    for way in fit.ways:
        row = _need(fit, way.need) | {
            "batch": way.batch,
            "samples": way.samples,
            "words": way.words,
            "cost": way.cost,
        }
        writer.writerow({"kind": "way", **row})
    return out.getvalue()


def _need(fit: Fit, need: Need) -> dict[str, object]:
    return {
        "batch": need.batch,
        "samples": need.batch,
        "needs_bytes": need.bytes,
        "least_bytes": need.least_bytes,
        "peak_bytes": need.peak.bytes,
        "room_bytes": fit.room.bytes,
        "fits": "true" if need.bytes <= fit.room.bytes else "false",
    }
