"""What is said of a summary as headings, tables and sentences, for a README, a pull request or a notebook."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.render import RenderOptions
from modelsum.render.document import Block, Heading, Listed, Notice, Said, Table
from modelsum.render.summary import cells, facts
from modelsum.render.summary.rows import Row
from modelsum.render.summary.table import Table as Chosen
from modelsum.render.summary.table import table_of
from modelsum.summary import Summary


def render(summary: Summary, options: RenderOptions) -> Iterator[Block]:
    """The answer, the table of layers, the totals, and what is said about them, complete at any width."""
    table = table_of(summary, options)
    yield Heading(cells.model_name(summary.model))
    if unfinished := facts.unfinished(summary):
        yield Said(unfinished, strong=True)
    if answer := facts.answer(summary):
        yield Listed.of(answer)
    yield layers(summary, table)
    if table.note:
        yield Said(table.note)
    yield from figures(summary)
    yield Listed.of(facts.provenance(summary))
    yield from map(Notice, facts.notices(summary))


def figures(summary: Summary) -> Iterator[Block]:
    """The totals, the memory and what it takes for granted, the stored table, and what is not counted."""
    yield Table(("Totals", "", ""), "lrl", facts.totals(summary))
    if summary.memory:
        yield Table((facts.memory_title(summary.memory), "", ""), "lrl", facts.memory(summary.memory))
        if rows := facts.ranks(summary.memory):
            yield Table(facts.RANKS_HEADER, "ll" + "r" * 6, rows)
        yield Said(facts.assumptions(summary.memory, whole=True), "Assumed")
    if summary.called:
        yield Table((facts.CONVENTION, ""), "lr", [fact[:2] for fact in facts.convention(summary)])
    if line := facts.baseline_line(summary):
        yield Said(line, "Baseline")
    if comparisons := facts.comparisons(summary):
        yield Table(("Figure", "Documented", "Now", "Difference"), "lrrr", comparisons)
    if summary.uncounted_ops:
        yield Said("", facts.UNCOUNTED)
        yield Listed.of((f"`{fact.label}`", fact.value) for fact in facts.uncounted(summary))


def layers(summary: Summary, table: Chosen) -> Table:
    """The rows of a table of layers."""
    outputs = ("Output shape",) if summary.called else ()
    return Table(
        ("Layer", *outputs, *(column.whole_title for column in table.columns)),
        "l" * (1 + len(outputs)) + "r" * len(table.columns),
        [
            (
                _name(row),
                *(cells.output(row) for _ in outputs),
                *(column.cell(row) for column in table.columns),
            )
            for row in table.rows
        ],
    )


def _name(row: Row) -> str:
    path, kind = cells.name(row)
    return f"`{path}` ({kind})" if path else kind
