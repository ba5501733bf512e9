"""What fits into some memory, a function a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory.fitting.fit import Fit, Need
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Heading, Listed, Notice, Said, Table
from modelsum.render.fit import words
from modelsum.render.layout import WIDTH, Cells, aligned, all_stated, filled, stated, wrapped
from modelsum.render.summary.cells import model_name

_COLUMNS = (
    *("kind", "words", "batch", "samples", "needs_bytes", "least_bytes", "peak_bytes", "room_bytes"),
    *("fits", "cost"),
)


def text(fit: Fit, options: RenderOptions) -> Iterator[str]:
    """The answer, what it needs, and the ways to fit more, as wide as the terminal or 80 columns."""
    width = max(options.width or WIDTH, 60)
    rule = "-" * min(width, 100)
    yield rule
    yield from wrapped(words.verdict(fit), width, 2)
    yield "=" * len(rule)
    yield from aligned([words.NEEDS, *words.needs(fit)])
    yield from all_stated(words.reasons(fit), width)
    if fit.ways:
        yield rule
        yield from _ways(fit, len(rule))
    yield rule
    yield from all_stated(words.provenance(fit), width)
    yield from all_stated((("Notice", notice) for notice in fit.notices), width)


def _ways(fit: Fit, width: int) -> Iterator[str]:
    rows = words.ways(fit)
    if rows:
        yield from filled([words.ways_header(fit), *(row[:-1] for row in rows)], width)
        yield from stated("Cost", words.costs(fit), width)
    if little := words.little(fit):
        yield from stated("Under 1 %", little, width, 11)


def document(fit: Fit, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Heading(f"{model_name(fit.model)} in {words.room(fit)}")
    yield Said(words.verdict(fit), strong=True)
    yield Table(words.NEEDS, "lrrrr", words.needs(fit))
    yield Listed.of(words.reasons(fit))
    if fit.ways:
        rows = [(f"`{row.words}`", *row[1:]) for row in words.ways(fit)]
        yield Table((*words.ways_header(fit), "Cost"), "lrrrr", rows)
        if little := words.little(fit):
            yield Said(f"Under 1 %: {little}")
    yield Listed.of(words.provenance(fit))
    yield from map(Notice, fit.notices)


def csv(fit: Fit, options: RenderOptions) -> Iterator[Cells]:
    """A row for each batch that was asked about, and for each way."""
    yield _COLUMNS
    for kind, need in (("below", fit.below), ("above", fit.above), ("asked", fit.asked)):
        if need is not None:
            yield {"kind": kind, **_need(fit, need)}
    for way in fit.ways:
        own = {
            "kind": "way",
            "batch": way.batch,
            "samples": way.samples,
            "words": way.words,
            "cost": way.cost,
        }
        yield _need(fit, way.need) | own


def _need(fit: Fit, need: Need) -> dict[str, object]:
    return {
        "batch": need.batch,
        "samples": need.batch,
        "needs_bytes": need.bytes,
        "least_bytes": need.least_bytes,
        "peak_bytes": need.peak.bytes,
        "room_bytes": fit.room.bytes,
        "fits": need.bytes <= fit.room.bytes,
    }
