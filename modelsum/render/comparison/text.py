"""Models side by side for people: as many columns as fit, the others in blocks below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelsum.baselines.comparison import SECTIONS
from modelsum.render import RenderOptions
from modelsum.render.comparison import words
from modelsum.render.comparison.words import Cell
from modelsum.render.layout import GAP, WIDTH, painted, wrapped
from modelsum.render.summary.facts import UNCOUNTED

if TYPE_CHECKING:
    from modelsum.baselines.comparison import Comparison

_COLORS = {words.LARGEST: "red", words.SMALLEST: "green"}


def render(comparison: Comparison, options: RenderOptions) -> str:
    """The comparison, as wide as the terminal or 80 columns."""
    width = options.width or WIDTH
    table = _Table(comparison, options.color)
    blocks = ["\n".join(table.lines(places, width)) for places in table.blocks(width)]
    below = [line for said in words.conditions(comparison) for line in wrapped(said, width, 2)]
    if len(comparison.names) > 1:
        reference = f"x is the ratio to {comparison.names[0]}; {words.LEGEND}."
        below = [*wrapped(reference, width, 2), *below]
    if uncounted := words.uncounted(comparison):
        below += wrapped(f"{UNCOUNTED}:", width, 2)
        below += [line for said in uncounted for line in wrapped(said, width, 2, first=2)]
    return "\n\n".join([*blocks, "\n".join(below)])


class _Table:
    def __init__(self, comparison: Comparison, color: bool) -> None:
        self._color = color
        self._names = comparison.names
        self._sections = [
            (words.title(comparison, section), comparison.section(section)) for section in SECTIONS
        ]
        figures = comparison.figures
        self._cells = {figure: words.cells(figure) for figure in figures}
        self._labels = max(len(words.figure_label(figure)) for figure in figures)
        # For each model the widths of value, ratio and mark.
        self._widths = [
            [max(len(self._cells[figure][place][part]) for figure in figures) for part in range(3)]
            for place in range(len(self._names))
        ]

    def _width(self, place: int) -> int:
        return max(
            sum(self._widths[place]) + sum(map(bool, self._widths[place])) - 1, len(self._names[place])
        )

    def blocks(self, width: int) -> Iterator[list[int]]:
        """The places of the models that stand beside each other."""
        block: list[int] = []
        room = width - self._labels
        for place in range(len(self._names)):
            taken = len(GAP) + self._width(place)
            if block and taken > room:
                yield block
                block, room = [], width - self._labels
            block.append(place)
            room -= taken
        yield block

    def lines(self, places: Sequence[int], width: int) -> Iterator[str]:
        """One block; headings are wrapped to `width`."""
        widths = [self._width(place) for place in places]
        rule = "-" * (self._labels + sum(widths) + len(GAP) * len(widths))
        names = (self._names[place].rjust(size) for place, size in zip(places, widths, strict=True))
        yield GAP.join((" " * self._labels, *names))
        for title, figures in self._sections:
            shown = [figure for figure in figures if any(self._cells[figure][p].value != "-" for p in places)]
            if not shown:
                continue
            yield rule
            if title:
                yield from wrapped(title, width, 2)
            for figure in shown:
                cells = (self._cell(place, self._cells[figure][place]) for place in places)
                yield GAP.join((words.figure_label(figure).ljust(self._labels), *cells)).rstrip()

    def _cell(self, place: int, cell: Cell) -> str:
        parts = [
            text.rjust(width) if part < 2 else text.ljust(width)
            for part, (text, width) in enumerate(zip(cell, self._widths[place], strict=True))
            if width
        ]
        text = " ".join(parts).rjust(self._width(place))
        if self._color and cell.mark:
            return text.replace(cell.mark, painted(cell.mark, _COLORS[cell.mark]))
        return text
