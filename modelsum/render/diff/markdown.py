"""The diff as GitHub-flavoured Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelsum.baselines.changes.folding import Line, lines
from modelsum.render import RenderOptions
from modelsum.render.diff import words
from modelsum.render.figure_words import change
from modelsum.render.layout import escaped, markdown_table

if TYPE_CHECKING:
    from modelsum.baselines.changes.changes import Diff


def render(diff: Diff, options: RenderOptions) -> str:
    """Totals, the layers that changed, and the biggest cause last."""
    blocks = [f"## {escaped(diff.names[0])} → {escaped(diff.names[1])}"]
    if case := words.case(diff):
        blocks.append("\n".join(f"- {escaped(said)}" for said in case))
    blocks.append(markdown_table(("Figure", "Old", "New", "Difference", ""), "lrrrr", words.totals(diff)))
    if same := words.unchanged(diff):
        blocks.append(f"Unchanged: {escaped(same)}")
    shown = [line for line in lines(diff, options.depth) if line.state != "same"]
    changed = [line for line in shown if not line.is_consequence]
    if changed:
        rows = [_row(line) for line in changed]
        blocks.append(markdown_table(("Layer", "", "Params", "MACs", "What changed"), "llrrl", rows))
    else:
        blocks.append(words.NO_LAYER)
    if said := words.consequences([line for line in shown if line.is_consequence]):
        blocks.append(escaped(said))
    if said := words.uncounted(diff):
        blocks.append(f"**Uncounted ops:** {escaped(said)}")
    if said := words.cause(diff):
        blocks.append(f"**Biggest cause:** {escaped(said)}")
    return "\n\n".join(blocks)


def _row(line: Line) -> Sequence[str]:
    path, kind = words.layer(line)
    figures = ("", "") if line.state == "renamed" else _figures(line)
    return (f"`{path}` ({kind})" if path else kind, line.state, *figures, ", ".join(words.details(line)))


def _figures(line: Line) -> tuple[str, str]:
    params, macs = (line.differences.get(name, 0) for name in words.ALWAYS)
    return change("params", params), change("macs", macs)
