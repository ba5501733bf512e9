"""Models side by side as GitHub-flavoured Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsum.baselines.comparison import SECTIONS
from modelsum.render import RenderOptions
from modelsum.render.comparison import words
from modelsum.render.layout import escaped, markdown_table
from modelsum.render.summary.facts import UNCOUNTED

if TYPE_CHECKING:
    from modelsum.baselines.comparison import Comparison


def render(comparison: Comparison, options: RenderOptions) -> str:
    """A table a section; ratios are to the first model."""
    names = comparison.names
    blocks = [f"## {escaped(', '.join(names))}"]
    for section in SECTIONS:
        if figures := comparison.section(section):
            rows = [
                (words.figure_label(f), *(" ".join(filter(None, c)) for c in words.cells(f))) for f in figures
            ]
            blocks.append(
                markdown_table((words.title(comparison, section), *names), "l" + "r" * len(names), rows)
            )
    blocks.append(f"x is the ratio to {escaped(names[0])}; {words.LEGEND}.")
    blocks.append("\n".join(f"- {escaped(said)}" for said in words.conditions(comparison)))
    if uncounted := words.uncounted(comparison):
        blocks.append(f"**{UNCOUNTED}:**")
        blocks.append("\n".join(f"- {escaped(said)}" for said in uncounted))
    return "\n\n".join(blocks)
