"""Models side by side as a page: every figure a row, every model a column with a bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelsum.baselines.comparison import SECTIONS, TOTALS, Comparison, Figure
from modelsum.render import RenderOptions
from modelsum.render.comparison import words
from modelsum.render.document import Block, Listed, Said
from modelsum.render.figure_words import amount, label
from modelsum.render.page import Page, Section
from modelsum.render.summary.facts import UNCOUNTED


def page(comparison: Comparison, options: RenderOptions) -> Page:
    """The page of a comparison."""
    return Page(
        title=", ".join(comparison.names),
        about=list(words.conditions(comparison)),
        answer=[_card(comparison, place) for place in range(len(comparison.names))],
        sections=list(_sections(comparison)),
    )


def _card(comparison: Comparison, place: int) -> tuple[str, str, str]:
    known = {
        f.name: amount(f.name, f.values[place], 4) for f in comparison.figures if "kind" not in f.section
    }
    said = [f"{label(name)} {known[name]}" for name in ("macs", "inference_peak_bytes") if name in known]
    if "process_least_bytes" in known:
        said.append(f"training {known['process_least_bytes']} to {known['process_most_bytes']}")
    elif "training_peak_bytes" in known:
        said.append(f"{label('training_peak_bytes')} {known['training_peak_bytes']}")
    return comparison.names[place], f"{known.get('params', '-')} parameters", ", ".join(said)


def _sections(comparison: Comparison) -> Iterator[Section]:
    for number, section in enumerate(SECTIONS):
        figures = comparison.section(section)
        if figures:
            title = "Totals" if section == TOTALS else words.title(comparison, section) or "Memory"
            data = {"names": comparison.names, "label": title, "rows": [_row(figure) for figure in figures]}
            yield Section("bars", f"section-{number}", title, data)
    notes: list[Block] = [Said(f"x is the ratio to {comparison.names[0]}; {words.LEGEND}.")]
    if uncounted := words.uncounted(comparison):
        notes += [Said("", UNCOUNTED), Listed(tuple(uncounted))]
    yield Section("words", "notes", "How to read it", words=notes, words_title="Notes", is_open=True)


def _row(figure: Figure) -> dict[str, Any]:
    """A figure, with the length of each model's bar in percent of the longest."""
    most = max((value for value in figure.values if value), default=0)
    bars = [None if value is None or not most else round(100 * value / most, 2) for value in figure.values]
    cells = [
        (cell.value, " ".join(filter(None, (cell.ratio, cell.mark))), length)
        for cell, length in zip(words.cells(figure), bars, strict=True)
    ]
    return {"label": words.figure_label(figure), "cells": cells}
