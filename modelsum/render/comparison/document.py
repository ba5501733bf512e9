"""Models side by side as headings, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.baselines.comparison import SECTIONS, Comparison
from modelsum.render import RenderOptions
from modelsum.render.comparison import words
from modelsum.render.document import Block, Heading, Listed, Said, Table
from modelsum.render.summary.facts import UNCOUNTED


def render(comparison: Comparison, options: RenderOptions) -> Iterator[Block]:
    """A table a section; ratios are to the first model."""
    names = comparison.names
    yield Heading(", ".join(names))
    for section in SECTIONS:
        if figures := comparison.section(section):
            rows = [
                (words.figure_label(f), *(" ".join(filter(None, c)) for c in words.cells(f))) for f in figures
            ]
            yield Table((words.title(comparison, section), *names), "l" + "r" * len(names), rows)
    yield Said(f"x is the ratio to {names[0]}; {words.LEGEND}.")
    yield Listed(tuple(words.conditions(comparison)))
    if uncounted := words.uncounted(comparison):
        yield Said("", UNCOUNTED)
        yield Listed(tuple(uncounted))
