"""The diff for people: totals, a line for what changed, and the biggest cause last.

In a pipe everything is printed complete. On a terminal paths lose their beginning where they must, and
sentences are wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsum.baselines.changes.changes import Diff
from modelsum.baselines.changes.folding import Line, lines
from modelsum.render import RenderOptions
from modelsum.render.diff import words
from modelsum.render.figure_words import change
from modelsum.render.layout import GAP, WIDTH, aligned, cut_left, painted, wrapped

_COLORS = {"added": "green", "removed": "red", "same": "dim", "renamed": "dim"}


def render(diff: Diff, options: RenderOptions) -> str:
    """The diff, at most as wide as the terminal or 80 columns where the paths allow it."""
    width = options.width or WIDTH
    blocks = [wrapped(f"{diff.names[0]} -> {diff.names[1]}", width)]
    if case := words.case(diff):
        blocks.append([line for said in case for line in wrapped(said, width, 2)])
    blocks.append(list(_totals(diff, width)))
    shown = lines(diff, options.depth, every=options.every)
    changed = [line for line in shown if not line.is_consequence]
    blocks.append(list(_layers(changed, options, width)) or [words.NO_LAYER])
    last: list[str] = []
    if said := words.consequences([line for line in shown if line.is_consequence]):
        last += wrapped(said, width)
    if said := words.uncounted(diff):
        last += wrapped(f"Uncounted ops: {said}", width, 2)
    if said := words.cause(diff):
        last += wrapped(f"Biggest cause: {said}", width, 2)
    blocks.append(last)
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _totals(diff: Diff, width: int) -> Iterator[str]:
    header, *rows = aligned([("Figure", "Old", "New", "Difference", ""), *words.totals(diff)])
    yield header
    yield "-" * max(map(len, (header, *rows)))
    yield from rows
    if same := words.unchanged(diff):
        yield from wrapped(f"Unchanged: {same}", width, 2)


def _layers(changed: Sequence[Line], options: RenderOptions, width: int) -> Iterator[str]:
    if not any(line.state != "same" for line in changed):
        return
    header = ("Params", "MACs")
    figures = [_figures(line) for line in changed]
    widths = [max(map(len, column)) for column in zip(header, *figures, strict=True)]
    names = [f"{words.mark(line)} {_name(line)}" for line in changed]
    room = width - sum(widths) - len(GAP) * len(widths)
    size = max(map(len, names))
    if options.width is not None:
        size = min(size, max(room, 16))
    yield GAP.join(("  Layer".ljust(size), *map(str.rjust, header, widths)))
    yield "-" * (size + sum(widths) + len(GAP) * len(widths))
    for line, name, cells in zip(changed, names, figures, strict=True):
        text = _cut(name, size).ljust(size)
        row = GAP.join((text, *map(str.rjust, cells, widths))).rstrip()
        yield painted(row, _COLORS.get(line.state, "") if options.color else "")
        if said := ", ".join(words.details(line)):
            yield from wrapped(said, width, 4, first=4)


def _name(line: Line) -> str:
    path, kind = words.layer(line)
    return f"{path} ({kind})" if path and kind else path or kind


def _figures(line: Line) -> tuple[str, str]:
    if line.state in ("same", "renamed"):
        return "", "+0"
    params, macs = (line.differences.get(name, 0) for name in words.ALWAYS)
    return change("params", params), change("macs", macs)


def _cut(name: str, width: int) -> str:
    """The name of a layer, its beginning left out where it is too long; the mark stays."""
    return name[:2] + cut_left(name[2:], width - 2)
