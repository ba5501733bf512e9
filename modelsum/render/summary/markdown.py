"""The summary as GitHub-flavoured Markdown, for a README, an issue or a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsum.render.layout import escaped, markdown_list, markdown_notices, markdown_table
from modelsum.render.summary import cells, facts
from modelsum.render.summary.rows import Row, displayed
from modelsum.summary import Summary

if TYPE_CHECKING:
    from modelsum.render import RenderOptions


def render(summary: Summary, options: RenderOptions) -> str:
    """The table of layers, the totals, and what is said about them, complete at any width."""
    rows = displayed(summary.layers, options.depth, summary.memory.modules if summary.memory else None)
    figures = cells.columns(summary)
    outputs = ("Output shape",) if summary.called else ()
    header = ("Layer", *outputs, *(column.title for column in figures))
    blocks = [f"## {escaped(cells.model_name(summary.model))}"]
    if unfinished := facts.unfinished(summary):
        blocks.append(f"**{unfinished}**")
    body = [
        (_name(row), *(cells.output(row) for _ in outputs), *(column.cell(row) for column in figures))
        for row in rows
    ]
    blocks.append(markdown_table(header, "l" * (1 + len(outputs)) + "r" * len(figures), body))
    blocks.append(markdown_table(("Totals", "", ""), "lrl", facts.totals(summary)))
    if summary.memory:
        peaks = [(label.replace("  ", "&nbsp; "), *rest) for label, *rest in facts.memory(summary.memory)]
        blocks.append(markdown_table((facts.memory_title(summary.memory), "", ""), "lrl", peaks))
        blocks += markdown_notices(summary.memory.notices)
        assumed = facts.assumptions(summary.memory)
        blocks.append("Assumed: " + "; ".join(f"{f.label}: {escaped(f.value)}" for f in assumed))
    if summary.called:
        convention = [fact[:2] for fact in facts.convention(summary)]
        blocks.append(markdown_table((facts.CONVENTION, ""), "lr", convention))
    blocks.append(markdown_list(fact[:2] for fact in facts.provenance(summary)))
    if summary.uncounted_ops:
        blocks.append(f"**{facts.UNCOUNTED}:**")
        blocks.append("\n".join(f"- `{fact.label}`: {fact.value}" for fact in facts.uncounted(summary)))
    blocks += markdown_notices(summary.notices)
    if line := facts.baseline_line(summary):
        blocks.append(f"**Baseline:** {escaped(line)}")
    if comparisons := facts.comparisons(summary):
        blocks.append(markdown_table(("Figure", "Documented", "Now", "Difference"), "lrrr", comparisons))
    return "\n\n".join(blocks)


def _name(row: Row) -> str:
    layer = row.layer
    return f"`{layer.path}` ({layer.class_name})" if layer.path else layer.class_name
