"""The summary for people: a torchsummary-style table, the totals, the memory, and the answer in a few lines.

In a pipe no cell is cut. On a terminal the table is fitted: paths lose their beginning,
shapes are wrapped, and figures are never cut. The layout is worked out here: rich's table takes 1.5 s for
the 4000 rows of a deep network, longer than making the summary.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from modelsum.memory_values import Memory
from modelsum.render import RenderOptions
from modelsum.render.layout import GAP, WIDTH, aligned, cut_left, cut_right, painted, stated, wrapped
from modelsum.render.summary import cells, facts
from modelsum.render.summary.cells import Column
from modelsum.render.summary.facts import Fact
from modelsum.render.summary.rows import Row
from modelsum.render.summary.table import table_of
from modelsum.summary import Summary

_HEADER = ("Layer", "Output shape")
_ELLIPSIS = "\u2026"
_NO_BREAK = "\u00a0"
_SHAPE_LINES = 3  # of one row on a terminal; a cache of 24 layers would fill the screen
_MIN_LAYER, _MIN_SHAPE, _MIN_PATH = 12, 12, 16
_MIN_TABLE = len(facts.CONVENTION) + 1  # what stands below a small table should not jut out
_DIGITS = re.compile(r"[\d,.]+")
_MAX_RULE = 100  # below a table that is wider than sentences are read


class Span(NamedTuple):
    """A piece of a line and its style."""

    text: str
    style: str = ""


Line = Sequence[Span]


def render(summary: Summary, options: RenderOptions) -> str:
    """Where it comes from, the table of layers and what that comes to, for a `width`, coloured if `color`."""
    chosen = table_of(summary, options)
    table = _Table(chosen.rows, chosen.columns, options.width, outputs=summary.called)
    rule = [Span("-" * min(table.width, _MAX_RULE), "dim")]
    page = _Page(options.width, rule)
    lines = [
        *chain.from_iterable(page.statement(fact) for fact in facts.provenance(summary)),
        *table.lines(),
        *page.below(summary, chosen.note, whole=options.every),
    ]
    return "\n".join(
        "".join(painted(*span) if options.color else span.text for span in line).rstrip() for line in lines
    )


# ---- the table


class _Table:
    """The rows laid out in columns.

    Attributes:
        width: columns that the table takes, at most those of the terminal unless figures need more.
    """

    def __init__(
        self, rows: Sequence[Row], columns: Sequence[Column], terminal: int | None, *, outputs: bool
    ) -> None:
        self._rows = rows
        self._header = _HEADER if outputs else (_HEADER[0], "")
        # Of each row the lines in that column.
        self._outputs = [[cells.output(row) if outputs else ""] for row in rows]
        self._columns = columns
        self._titles = [column.title for column in columns]
        self._figures = [[column.cell(row) for column in columns] for row in rows]
        self._widths = [
            _widest(texts, title) for title, *texts in zip(self._titles, *self._figures, strict=True)
        ]
        for group, places in self._groups():
            self._widths[places[0]] += max(len(group) - self._width_of(places), 0)
        layers = _widest(("".join(_layer_cell(row, None)) for row in rows), self._header[0])
        shapes = _widest(chain(*self._outputs), self._header[1])
        figures = len(GAP) + sum(len(GAP) + width for width in self._widths)
        layers += max(min(_MIN_TABLE, terminal or _MIN_TABLE) - layers - shapes - figures, 0)
        self._fitted = terminal is not None and layers + shapes + figures > terminal
        if terminal is not None and self._fitted:
            layers, shapes = self._fit(terminal - figures, layers, shapes)
        self._layer_width, self._shape_width = layers, shapes
        self.width = layers + shapes + figures

    def _fit(self, room: int, layers: int, shapes: int) -> tuple[int, int]:
        """Share what the figures leave free: shapes of single tensors whole if possible, names the rest."""
        whole = (lines[0] for row, lines in zip(self._rows, self._outputs, strict=True) if _is_single(row))
        shapes = min(shapes, max(_widest(whole, self._header[1]), room - layers, room * 2 // 5))
        shapes = max(min(shapes, room - _MIN_LAYER), _MIN_SHAPE)
        self._outputs = [
            _wrapped_output(row, lines[0], shapes)
            for row, lines in zip(self._rows, self._outputs, strict=True)
        ]
        shapes = _widest(chain(*self._outputs), self._header[1])
        return max(min(layers, room - shapes), _MIN_LAYER), shapes

    def lines(self) -> Iterator[Line]:
        """The header and the rows between rules."""
        yield [Span("-" * self.width, "dim")]
        for group, places in self._groups():
            left = self.width - sum(len(GAP) + size for size in self._widths[places[-1] + 1 :])
            yield [Span(group.rjust(left), "bold")]
        titles = [Span(title, "bold") for title in self._titles]
        name, output = self._header
        yield self._line([Span(name, "bold")], len(name), Span(output, "bold"), titles)
        yield [Span("=" * self.width, "dim")]
        for texts in zip(self._rows, self._outputs, self._figures, strict=True):
            yield from self._row_lines(*texts)
        yield [Span("=" * self.width, "dim")]

    def _groups(self) -> list[tuple[str, list[int]]]:
        """What neighbouring columns are of, and which these are."""
        groups: dict[str, list[int]] = {}
        for place, column in enumerate(self._columns):
            if column.group:
                groups.setdefault(column.group, []).append(place)
        return list(groups.items())

    def _width_of(self, places: Sequence[int]) -> int:
        return sum(self._widths[place] for place in places) + len(GAP) * (len(places) - 1)

    def _row_lines(self, row: Row, output: list[str], figures: list[str]) -> Iterator[Line]:
        path, class_name = _layer_cell(row, self._layer_width if self._fitted else None)
        style = _row_style(row) if self._header[1] or row.failure else ""
        first, *rest = output
        name = [Span(path, style or "cyan"), Span(class_name, style or "dim")]
        quiet = ["" if _DIGITS.fullmatch(text) else "dim" for text in figures]
        yield self._line(
            name,
            len(path) + len(class_name),
            Span(first, style),
            [Span(text, style or dim) for text, dim in zip(figures, quiet, strict=True)],
        )
        for text in rest:
            yield [Span(" " * (self._layer_width + len(GAP)) + text, style)]

    def _line(self, name: Line, name_length: int, shape: Span, figures: Sequence[Span]) -> Line:
        return [
            *name,
            Span(" " * (self._layer_width - name_length) + GAP),
            Span(shape.text.ljust(self._shape_width), shape.style),
            *(
                Span(GAP + figure.text.rjust(width), figure.style)
                for figure, width in zip(figures, self._widths, strict=True)
            ),
        ]


def _widest(texts: Iterable[str], header: str) -> int:
    return max(len(header), max(map(len, texts), default=0))


def _is_single(row: Row) -> bool:
    return row.failure is None and not isinstance(row.layer.output_shapes, (list, dict))


def _row_style(row: Row) -> str:
    if row.failure:
        return "bold red"
    return "dim" if row.layer.call == 0 else ""


def _layer_cell(row: Row, width: int | None) -> tuple[str, str]:
    """The row's path and class: "layer1.0.conv1", " (Conv2d)". The root has no path, only a class.

    Where there is no room for both, the class goes first: the path says which row it is.
    """
    path, class_name = cells.name(row)
    if not path:
        return "", cut_right(class_name, width)
    class_name = f" ({class_name})"
    if width is None or min(len(path), _MIN_PATH) + len(class_name) <= width:
        return cut_left(path, None if width is None else width - len(class_name)), class_name
    return cut_left(path, width), ""


def _wrapped_output(row: Row, text: str, width: int) -> list[str]:
    """An output in lines that break between tensors, and inside one only where it is wider than a line."""
    if len(text) <= width:
        return [text]
    lines: list[str] = []
    for piece in re.split(r"(?<=[\])}],) |(?<=input) ", text):
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines += textwrap.wrap(piece, width, break_on_hyphens=False)
    if len(lines) > _SHAPE_LINES and not row.failure:
        tensors = cells.tensor_count(row.layer.output_shapes)
        more = f"{_ELLIPSIS} {tensors} tensors" if tensors > 1 else _ELLIPSIS
        lines = [*lines[: _SHAPE_LINES - 1], more[:width]]
    return lines


# ---- around the table


class _Page:
    """What is said above and below the table, in lines as wide as the terminal or about as the table."""

    def __init__(self, terminal: int | None, rule: Line) -> None:
        self._terminal = terminal
        self._rule = rule
        readable = max(len(rule[0].text), WIDTH)
        self._width = min(terminal or readable, readable)

    def below(self, summary: Summary, note: str, *, whole: bool) -> Iterator[Line]:
        unfinished = facts.unfinished(summary)
        yield from self.wrapped(note, "dim")
        yield from self.wrapped(unfinished or "", "bold red")
        if note or unfinished:
            yield self._rule
        totals = facts.totals(summary)
        counts = [fact for fact in totals if "params" in fact.label]
        step = [fact for fact in totals if fact.label == facts.TRAINING_MACS]
        yield from self._beside(counts, [fact for fact in totals if fact not in (*counts, *step)])
        yield from self._figures(step)
        if summary.memory:
            yield self._rule
            yield from self._memory(summary.memory, whole=whole)
        if summary.called:
            yield self._rule
            yield from self._convention(summary)
        if ops := facts.uncounted(summary):
            yield self._rule
            yield from self.wrapped(f"{facts.UNCOUNTED}:", "bold yellow")
            yield from ([Span(f"  {line}", "yellow")] for line in aligned([fact[:2] for fact in ops]))
        if summary.notices:
            yield self._rule
        for notice in summary.notices:
            yield from self._notice(notice)
        if answer := facts.answer(summary):
            yield self._rule
            for fact in answer:
                yield from self.statement(fact, 13, bold=True)

    def statement(self, fact: Fact, room: int = 10, *, bold: bool = False, style: str = "") -> Iterator[Line]:
        """ "Label:    value", the value in a column of its own."""
        first, *rest = stated(fact.label, fact.value, self._width, room)
        label = first[: len(fact.label) + 1]
        yield [Span(label, "bold" if bold else style), Span(first[len(label) :], style)]
        yield from ([Span(line, style)] for line in rest)

    def wrapped(self, text: str, style: str, further: int = 0, first: int = 0) -> Iterator[Line]:
        yield from ([Span(line, style)] for line in wrapped(text, self._width, further, first) if text)

    def _notice(self, text: str) -> Iterator[Line]:
        """Whole in a pipe, where others look for it."""
        yield from ([Span(line, "yellow")] for line in wrapped(f"Notice: {text}", self._terminal, 8))

    def _beside(self, left: Sequence[Fact], right: Sequence[Fact]) -> Iterator[Line]:
        """Figures in two columns where there is room for them."""
        first, second = (list(self._figures(facts)) for facts in (left, right))
        column, rest = (
            max((sum(len(span.text) for span in line) for line in lines), default=0)
            for lines in (first, second)
        )
        column += 2 * len(GAP)
        if column + rest > self._width:
            yield from (*first, *second)
            return
        for one, other in zip_longest(first, second, fillvalue=()):
            taken = sum(len(span.text) for span in one)
            yield [*one, Span(" " * (column - taken)), *other]

    def _figures(self, figures: Sequence[Fact]) -> Iterator[Line]:
        """A figure a line, below each other, with what is said of it."""
        labels = max((len(fact.label) for fact in figures), default=0) + 2
        values = max((len(fact.value) for fact in figures), default=0)
        for fact in figures:
            if not fact.label:
                yield from self.wrapped(fact.note, "dim", 2, first=2)
                continue
            line = [Span(f"{fact.label}:".ljust(labels)), Span(fact.value.rjust(values), "bold")]
            note = [Span(f"{GAP}({fact.note})", "dim")] if fact.note else []
            if sum(len(span.text) for span in (*line, *note)) > self._width:
                yield line
                yield note
            else:
                yield [*line, *note]

    def _memory(self, memory: Memory, *, whole: bool) -> Iterator[Line]:
        yield from self.wrapped(f"{facts.memory_title(memory)}:", "dim")
        yield from self._figures(facts.memory(memory))
        if rows := facts.ranks(memory):
            header, *lines = aligned([facts.RANKS_HEADER, *rows], words=2)
            yield [Span(header, "bold")]
            yield from ([Span(line)] for line in lines)
        if memory.assumptions:
            said = facts.assumptions(memory, whole=whole)
            yield from self.wrapped(f"{facts.ASSUMED}: {said}", "", 2)
        for notice in memory.notices:
            yield from self._notice(notice)

    def _convention(self, summary: Summary) -> Iterator[Line]:
        """The sizes of that table on a line, and how they stand to the one that is stored."""
        yield from self.wrapped(f"{facts.CONVENTION}:", "dim")
        sizes = (f"{fact.label}: {fact.value}".replace(" ", _NO_BREAK) for fact in facts.convention(summary))
        for line in wrapped("  ".join(sizes), self._width):
            yield [Span(line.replace(_NO_BREAK, " "))]
        if said := facts.baseline_line(summary):
            style = {"match": "green", "changed": "bold red"}.get(summary.baseline.status, "")
            yield from self.statement(Fact("Baseline", said), style=style)
        if comparisons := facts.comparisons(summary):
            header, *lines = aligned([("Figure", "Documented", "Now", "Difference"), *comparisons])
            yield [Span(header, "bold")]
            for line, comparison in zip(lines, comparisons, strict=True):
                yield [Span(line, "red" if comparison.difference != "0" else "")]
