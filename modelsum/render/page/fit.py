"""A fit as a page: memory against batch with the line of the card, and what would let more fit."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory.fitting.fit import Fit
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Listed, Said, Table
from modelsum.render.fit import words
from modelsum.render.page import Page, Section
from modelsum.render.page.chart import Chart, Series
from modelsum.render.summary.cells import model_name
from modelsum.units import binary_bytes, binary_unit, count


def page(fit: Fit, options: RenderOptions) -> Page:
    """The page of a fit."""
    name, room = model_name(fit.model), words.room(fit)
    largest = "none" if fit.batch is None else f"{'more than ' * fit.bounded}{count(fit.batch)}"
    answer = [("Largest batch that fits", largest, f"{fit.task} in {room}")]
    need = fit.at_reference
    answer.append((f"Batch {count(need.batch)} needs", binary_bytes(need.bytes), "at most"))
    best = next((way for way in fit.ways if way.batch is not None), None)
    if best is not None and best.batch is not None:
        answer.append(("The way that brings most", count(best.batch), best.words))
    return Page(
        title=f"{name} in {room}",
        about=[words.verdict(fit)],
        answer=answer,
        sections=list(_sections(fit)),
        notices=fit.notices,
        made_with=fit.made_with,
    )


def _sections(fit: Fit) -> Iterator[Section]:
    table: list[Block] = [Table(words.NEEDS, "lrrrr", words.needs(fit)), Listed.of(words.reasons(fit))]
    yield Section("chart", "curve", "Memory against batch", _chart(fit).drawn(), table, is_open=True)
    if fit.ways:
        rows = [(f"`{row.words}`", *row[1:]) for row in words.ways(fit)]
        ways: list[Block] = [Table((*words.ways_header(fit), "Cost"), "lrrrl", rows)]
        if little := words.little(fit):
            ways.append(Said(f"Under 1 %: {little}"))
        yield Section("words", "ways", "Ways to fit more", words=ways, words_title="Table", is_open=True)
    about = [Listed.of(words.provenance(fit))]
    yield Section("words", "about", "What was asked", words=about, words_title="List", is_open=True)


def _chart(fit: Fit) -> Chart:
    needs = fit.curve or tuple(need for need in (fit.below, fit.above) if need is not None)
    size, unit = binary_unit(fit.room.bytes)

    def said(batch: int, least: int, most: int) -> str:
        return f"batch {count(batch)}: {binary_bytes(least)} to {binary_bytes(most)}"

    # Far above the line nothing is read: a search looks there too.
    near = [need for need in needs if need.bytes <= 1.25 * fit.room.bytes] or list(needs)
    points = [(need.batch, need.bytes, said(need.batch, need.least_bytes, need.bytes)) for need in near]
    return Chart(
        label=f"What batches of {model_name(fit.model)} need, from {count(near[0].batch)} to "
        f"{count(near[-1].batch)}, and the line of {words.room(fit)}",
        series=[Series("needs", points, [need.least_bytes for need in near])],
        x="Batch",
        y="Memory, from the least to the most that it may take",
        x_words=lambda x: count(round(x)),
        y_words=lambda y: f"{y / size:,.4g} {unit}",
        y_unit=size,
        line=(fit.room.bytes, words.room(fit)),
    )
