"""The summary for people: a torchsummary-style table, the totals, and where the figures come from.

In a pipe everything is printed complete. On a terminal the table is fitted: paths lose their beginning,
shapes are wrapped, and figures are never cut. The layout is worked out here: rich's table takes 1.5 s for
the 4000 rows of a deep network, longer than making the summary.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from modelsum.render.layout import GAP, aligned, cut_left, cut_right, painted, wrapped
from modelsum.render.summary import cells, facts
from modelsum.render.summary.cells import Column
from modelsum.render.summary.facts import Fact
from modelsum.render.summary.rows import Row, displayed
from modelsum.summary import Summary

if TYPE_CHECKING:
    from modelsum.render import RenderOptions

_HEADER = ("Layer", "Output shape")
_ELLIPSIS = "\u2026"
_SHAPE_LINES = 3  # of one row on a terminal; a cache of 24 layers would fill the screen
_MIN_LAYER, _MIN_SHAPE, _MIN_PATH = 12, 12, 16
_MIN_TABLE = len(facts.CONVENTION) + 1  # what stands below a small table should not jut out
_DIGITS = re.compile(r"[\d,.]+")
_MAX_RULE = 100  # below a table that a long output shape makes wide in a pipe


class Span(NamedTuple):
    """A piece of a line and its style."""

    text: str
    style: str = ""


Line = Sequence[Span]


def render(summary: Summary, options: RenderOptions) -> str:
    """The table of layers, the totals and their provenance; fitted to `width`, coloured if `color`."""
    modules = summary.memory.modules if summary.memory else None
    rows = displayed(summary.layers, options.depth, modules)
    table = _Table(rows, cells.columns(summary), options.width, outputs=summary.called)
    lines = [*table.lines(), *_below_table(summary, table.width, options.width)]
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
        self._titles = [column.title for column in columns]
        self._figures = [[column.cell(row) for column in columns] for row in rows]
        self._widths = [
            _widest(texts, title) for title, *texts in zip(self._titles, *self._figures, strict=True)
        ]
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
        titles = [Span(title, "bold") for title in self._titles]
        name, output = self._header
        yield self._line([Span(name, "bold")], len(name), Span(output, "bold"), titles)
        yield [Span("=" * self.width, "dim")]
        for texts in zip(self._rows, self._outputs, self._figures, strict=True):
            yield from self._row_lines(*texts)
        yield [Span("=" * self.width, "dim")]

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
    path, class_name = row.layer.path, row.layer.class_name
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


# ---- below the table


def _below_table(summary: Summary, table_width: int, terminal: int | None) -> Iterator[Line]:
    rule = [Span("-" * (table_width if terminal else min(table_width, _MAX_RULE)), "dim")]
    if unfinished := facts.unfinished(summary):
        yield from _wrapped(unfinished, terminal, "bold red")
        yield rule
    totals, convention = facts.totals(summary), facts.convention(summary) if summary.called else []
    memory = facts.memory(summary.memory) if summary.memory else []
    everything = (*totals, *memory, *convention)
    labels = max(len(fact.label) for fact in everything) + 1
    figures = max(len(fact.value) for fact in everything if "to" not in fact.value) + 2
    for fact in totals:
        yield from _figure(fact, labels, figures, terminal)
    yield rule
    if summary.memory:
        yield from _wrapped(f"{facts.memory_title(summary.memory)}:", terminal, "dim")
        for fact in memory:
            yield from _figure(fact, labels, figures, terminal)
        assumed = "; ".join(f"{fact.label}: {fact.value}" for fact in facts.assumptions(summary.memory))
        yield from _wrapped(f"Assumed:  {assumed}", terminal, "", indent=10)
        for notice in summary.memory.notices:
            yield from _wrapped(f"Notice: {notice}", terminal, "yellow", indent=8)
        yield rule
    if convention:
        yield from _wrapped(f"{facts.CONVENTION}:", terminal, "dim")
        for fact in convention:
            yield from _figure(fact, labels, figures, terminal)
        yield rule
    provenance = facts.provenance(summary)
    if line := facts.baseline_line(summary):
        provenance.append(Fact("Baseline", line))
    for fact in provenance:
        yield from _statement(fact, summary.baseline.status, terminal)
    yield from _uncounted(summary, rule, terminal)
    yield from _comparison(summary)
    if summary.notices:
        yield rule
    for notice in summary.notices:
        yield from _wrapped(f"Notice: {notice}", terminal, "yellow", indent=8)


def _figure(fact: Fact, labels: int, figures: int, terminal: int | None) -> Iterator[Line]:
    line = [Span(f"{fact.label}:".ljust(labels)), Span(fact.value.rjust(figures), "bold")]
    note = [Span(f"{GAP}({fact.note})", "dim")] if fact.note else []
    if terminal is not None and sum(len(span.text) for span in (*line, *note)) > terminal:
        yield line
        yield note
    else:
        yield [*line, *note]


def _statement(fact: Fact, baseline: str, terminal: int | None) -> Iterator[Line]:
    style = {"match": "green", "changed": "bold red"}.get(baseline, "") if fact.label == "Baseline" else ""
    yield from _wrapped(f"{fact.label + ':':10}{fact.value}", terminal, style, indent=10)


def _uncounted(summary: Summary, rule: Line, terminal: int | None) -> Iterator[Line]:
    ops = facts.uncounted(summary)
    if not ops:
        return
    yield rule
    yield from _wrapped(f"{facts.UNCOUNTED}:", terminal, "bold yellow")
    names = max(len(op.label) for op in ops)
    times = max(len(op.value) for op in ops)
    for op in ops:
        yield [Span(f"  {op.label:<{names}}{GAP}{op.value:>{times}}", "yellow")]


def _comparison(summary: Summary) -> Iterator[Line]:
    comparisons = facts.comparisons(summary)
    if not comparisons:
        return
    header, *lines = aligned([("Figure", "Documented", "Now", "Difference"), *comparisons])
    yield []
    yield [Span(header, "bold")]
    for line, comparison in zip(lines, comparisons, strict=True):
        yield [Span(line, "red" if comparison.difference != "0" else "")]


def _wrapped(text: str, terminal: int | None, style: str, indent: int = 0) -> Iterator[Line]:
    yield from ([Span(line, style)] for line in wrapped(text, terminal, indent))
