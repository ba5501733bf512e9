"""Models side by side for people; where there is too little room in fewer digits, and then without ratios.

What has no room even so is in blocks below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsum.baselines.comparison import SECTIONS, Comparison
from modelsum.render import RenderOptions
from modelsum.render.comparison import words
from modelsum.render.comparison.words import Cell
from modelsum.render.layout import GAP, WIDTH, cut_left, painted, wrapped
from modelsum.render.summary.facts import UNCOUNTED

_FULL, _SHORT, _BARE = None, 4, 3  # digits of a figure, None for all; the least without ratios
_LEAST_NAME = 8  # columns that a name keeps, its end
_COLORS = {words.LARGEST: "red", words.SMALLEST: "green"}


def render(comparison: Comparison, options: RenderOptions) -> str:
    """The comparison, fitted to the terminal; in a pipe complete."""
    width = options.width or WIDTH
    whole = _Table(comparison, options.color)
    tables = (_Table(comparison, options.color, digits) for digits in (_FULL, _SHORT, _BARE))
    table = next((each for each in tables if options.width is None or each.width <= width), whole)
    room = width if options.width else table.width
    blocks = ["\n".join(table.lines(places, width)) for places in table.blocks(room)]
    below = [line for said in words.conditions(comparison) for line in wrapped(said, width, 2)]
    if len(comparison.names) > 1:
        ratio = "" if table.digits == _BARE else f"x is the ratio to {comparison.names[0]}; "
        rounded = "" if table.digits == _FULL else f"; figures are rounded to {table.digits} digits"
        reference = f"{ratio}{words.LEGEND}{rounded}."
        below = [*wrapped(reference, width, 2), *below]
    if uncounted := words.uncounted(comparison):
        below += wrapped(f"{UNCOUNTED}:", width, 2)
        below += [line for said in uncounted for line in wrapped(said, width, 2, first=2)]
    return "\n\n".join([*blocks, "\n".join(below)])


class _Table:
    """The columns.

    Attributes:
        digits: of a figure; None for all.
        width: of all models side by side.
    """

    def __init__(self, comparison: Comparison, color: bool, digits: int | None = _FULL) -> None:
        self.digits = digits
        self._color = color
        self._sections = [
            (words.title(comparison, section), comparison.section(section)) for section in SECTIONS
        ]
        figures = comparison.figures
        self._cells = {figure: words.cells(figure, digits) for figure in figures}
        if digits == _BARE:
            without = {
                figure: [cell._replace(ratio="") for cell in self._cells[figure]] for figure in figures
            }
            self._cells = without
        self._labels = max(len(words.figure_label(figure)) for figure in figures)
        # For each model the widths of value, ratio and mark.
        self._widths = [
            [max(len(self._cells[figure][place][part]) for figure in figures) for part in range(3)]
            for place in range(len(comparison.names))
        ]
        self._names = list(comparison.names)
        if digits != _FULL:
            self._names = [
                cut_left(n, max(self._figures_width(p), _LEAST_NAME)) for p, n in enumerate(self._names)
            ]
        self.width = self._labels + sum(len(GAP) + self._width(place) for place in range(len(self._names)))

    def _width(self, place: int) -> int:
        return max(self._figures_width(place), len(self._names[place]))

    def _figures_width(self, place: int) -> int:
        return sum(self._widths[place]) + sum(map(bool, self._widths[place])) - 1

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
