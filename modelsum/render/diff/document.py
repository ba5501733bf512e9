"""The diff as headings, tables and sentences, for a pull request or a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsum.baselines.changes.changes import Diff
from modelsum.baselines.changes.folding import Line, lines
from modelsum.render import RenderOptions
from modelsum.render.diff import words
from modelsum.render.document import Block, Heading, Listed, Said, Table
from modelsum.render.figure_words import change


def render(diff: Diff, options: RenderOptions) -> Iterator[Block]:
    """Totals, the layers that changed, and the biggest cause last."""
    yield Heading(f"{diff.names[0]} → {diff.names[1]}")
    if case := words.case(diff):
        yield Listed(tuple(case))
    yield from totals(diff)
    shown = [line for line in lines(diff, options.depth, every=options.every) if line.state != "same"]
    changed = [line for line in shown if not line.is_consequence]
    if changed:
        rows = [_row(line) for line in changed]
        yield Table(("Layer", "", "Params", "MACs", "What changed"), "llrrl", rows)
    else:
        yield Said(words.NO_LAYER)
    if said := words.consequences([line for line in shown if line.is_consequence]):
        yield Said(said)
    if said := words.uncounted(diff):
        yield Said(said, "Uncounted ops")
    if said := words.cause(diff):
        yield Said(said, "Biggest cause")


def totals(diff: Diff) -> Iterator[Block]:
    """The totals that changed, and the names of the others."""
    yield Table(("Figure", "Old", "New", "Difference", ""), "lrrrr", words.totals(diff))
    if same := words.unchanged(diff):
        yield Said(f"Unchanged: {same}")


def _row(line: Line) -> Sequence[str]:
    path, kind = words.layer(line)
    figures = ("", "") if line.state == "renamed" else _figures(line)
    return (f"`{path}` ({kind})" if path else kind, line.state, *figures, ", ".join(words.details(line)))


def _figures(line: Line) -> tuple[str, str]:
    params, macs = (line.differences.get(name, 0) for name in words.ALWAYS)
    return change("params", params), change("macs", macs)
