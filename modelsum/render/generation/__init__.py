"""What a generation takes, a function a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.generation_values import Generation
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Heading, Listed, Notice, Said, Table
from modelsum.render.generation import words
from modelsum.render.layout import WIDTH, Cells, aligned, all_stated, wrapped
from modelsum.render.summary.cells import model_name

_COLUMNS = (
    *("phase", "tokens", "cached", "peak_bytes", "weights", "cache", "activations", "macs", "read_bytes"),
    *("reserved_bytes", "need_bytes"),
)


def text(generation: Generation, options: RenderOptions) -> Iterator[str]:
    """The answer, what each pass takes, and what fits, as wide as the terminal or 80 columns."""
    width = max(options.width or WIDTH, 60)
    rule = "-" * min(width, 100)
    yield rule
    yield from wrapped(words.verdict(generation), width, 2)
    yield "=" * len(rule)
    facts = list(words.facts(generation))
    room = max(len(label) for label, _ in facts) + 3
    yield from all_stated(facts, width, room)
    yield rule
    yield from aligned([words.HEADER, *words.table(generation)])
    yield rule
    yield from all_stated(words.provenance(generation), width)
    yield from all_stated((("Notice", notice) for notice in generation.notices), width)


def document(generation: Generation, options: RenderOptions) -> Iterator[Block]:
    """The same, complete at any width."""
    yield Heading(f"{model_name(generation.model)} writes")
    yield Said(words.verdict(generation), strong=True)
    rows = [(name.strip(), *cells) for name, *cells in words.table(generation)]
    yield Table(words.HEADER, "lrr", rows)
    yield Listed.of((label.strip(), value) for label, value in words.facts(generation))
    yield Listed.of(words.provenance(generation))
    yield from map(Notice, generation.notices)


def csv(generation: Generation, options: RenderOptions) -> Iterator[Cells]:
    """A row for each pass."""
    yield _COLUMNS
    for name, phase in (("prefill", generation.prefill), ("decode", generation.decode)):
        figures = {each: getattr(phase, each) for each in _COLUMNS if hasattr(phase, each)}
        yield {"phase": name, "peak_bytes": phase.peak.bytes, **phase.peak.parts, **figures}
