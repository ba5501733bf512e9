"""Which arrangements of several GPUs fit, a function a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory.ranks.arrangements import Arrangements
from modelsum.render import RenderOptions
from modelsum.render.arrangements import words
from modelsum.render.document import Block, Heading, Listed, Notice, Said, Table
from modelsum.render.layout import WIDTH, Cells, all_stated, filled, wrapped
from modelsum.render.summary.cells import model_name

_COLUMNS = (
    *("words", "mesh", "samples", "needs_bytes", "bound", "peak_bytes", "sent_bytes"),
    *("sent_bytes_per_sample", "room_bytes", "fits"),
)


def text(found: Arrangements, options: RenderOptions) -> Iterator[str]:
    """The answer, and what was tried, as wide as the terminal or 80 columns."""
    width = max(options.width or WIDTH, 60)
    rule = "-" * min(width, 100)
    yield rule
    yield from wrapped(words.verdict(found), width, 2)
    yield "=" * len(rule)
    if rows := words.table(found):
        yield from filled([words.HEADER, *rows], len(rule))
        yield rule
    yield from all_stated((("Not", reason) for reason in words.refused(found)), width)
    yield from all_stated(words.provenance(found), width)
    yield from all_stated((("Notice", notice) for notice in found.notices), width)


def document(found: Arrangements, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Heading(f"{model_name(found.model)} on {words.room(found)}")
    yield Said(words.verdict(found), strong=True)
    yield table(found)
    if refused := tuple(words.refused(found)):
        yield Said("", "Not possible")
        yield Listed(refused)
    yield Listed.of(words.provenance(found))
    yield from map(Notice, found.notices)


def table(found: Arrangements) -> Table:
    """A row for everything that was tried."""
    rows = [(f"`{name}`", *cells) for name, *cells in words.table(found)]
    return Table(words.HEADER, "lrrrl", rows)


def csv(found: Arrangements, options: RenderOptions) -> Iterator[Cells]:
    """A row for everything that was tried."""
    yield _COLUMNS
    for each in found.tried:
        known: tuple[int | None, ...] = (None, None, None)
        if each.need:
            known = (each.need.peak.bytes, each.sent_bytes, each.sent_bytes_per_sample)
        yield (
            *(each.words, each.mesh, each.samples, each.least_bytes, each.bound, *known),
            *(found.room.bytes, each.fits),
        )
