"""What a generation takes, a function a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.generation_values import Generation
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Heading, Listed, Notice, Said, Table
from modelsum.render.generation import words
from modelsum.render.layout import WIDTH, aligned, csv_text, stated, wrapped
from modelsum.render.summary.cells import model_name

_COLUMNS = (
    *("phase", "tokens", "cached", "peak_bytes", "weights", "cache", "activations", "macs", "read_bytes"),
    *("reserved_bytes", "need_bytes"),
)


def text(generation: Generation, options: RenderOptions) -> str:
    """The answer, what each pass takes, and what fits, as wide as the terminal or 80 columns."""
    return "\n".join(_lines(generation, max(options.width or WIDTH, 60)))


def _lines(generation: Generation, width: int) -> Iterator[str]:
    rule = "-" * min(width, 100)
    yield rule
    yield from wrapped(words.verdict(generation), width, 2)
    yield "=" * len(rule)
    facts = list(words.facts(generation))
    room = max(len(label) for label, _ in facts) + 3
    for label, value in facts:
        yield from stated(label, value, width, room)
    yield rule
    yield from aligned([words.HEADER, *words.table(generation)])
    yield rule
    for label, value in words.provenance(generation):
        yield from stated(label, value, width)
    for notice in generation.notices:
        yield from stated("Notice", notice, width)


def document(generation: Generation, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Heading(f"{model_name(generation.model)} writes")
    yield Said(words.verdict(generation), strong=True)
    rows = [(name.strip(), *cells) for name, *cells in words.table(generation)]
    yield Table(words.HEADER, "lrr", rows)
    yield Listed.of((label.strip(), value) for label, value in words.facts(generation))
    yield Listed.of(words.provenance(generation))
    yield from map(Notice, generation.notices)


def csv(generation: Generation, options: RenderOptions) -> str:
    """A row for each pass."""
    rows = [
        {
            "phase": name,
            "tokens": phase.tokens,
            "cached": phase.cached,
            "peak_bytes": phase.peak.bytes,
            **phase.peak.parts,
            "macs": phase.macs,
            "read_bytes": phase.read_bytes,
            "reserved_bytes": phase.reserved_bytes,
            "need_bytes": phase.need_bytes,
        }
        for name, phase in (("prefill", generation.prefill), ("decode", generation.decode))
    ]
    return csv_text(_COLUMNS, rows)
