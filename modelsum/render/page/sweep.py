"""A sweep as a page: a scatter of two figures with their front, each point linked to its row of the table."""

from __future__ import annotations

import dataclasses

from modelsum.baselines.figures import FIGURES
from modelsum.render import RenderOptions
from modelsum.render import sweep as words
from modelsum.render.figure_words import amount, label
from modelsum.render.page import Page, Section
from modelsum.render.page.chart import Chart, Series
from modelsum.sweeps.conditions import Order
from modelsum.sweeps.reading import Sweep, front
from modelsum.sweeps.rows import Row
from modelsum.units import binary_unit, count


def page(sweep: Sweep, options: RenderOptions) -> Page:
    """The page of a sweep: of all its rows, those that were asked for first."""
    every = dataclasses.replace(sweep, rows=(*sweep.rows, *sweep.others), others=())
    x, y = _axes(every)
    best = sweep.rows if sweep.objectives else front(sweep.rows, (x, y))
    is_front = set(map(id, best))
    section = Section("scatter", "points", f"{_name(y)} against {_name(x)}", _scatter(every, x, y, is_front))
    return Page(
        title=f"A sweep of {count(len(every.rows))} points",
        about=[f"{name}: {said}" for name, said in (*words.facts(sweep), *words.reasons(every))],
        answer=[_card(every, order, best) for order in (sweep.objectives or (x, y)) if best],
        sections=[section] if every.rows else [],
        notices=sweep.notices,
    )


def _axes(sweep: Sweep) -> tuple[Order, Order]:
    """What is drawn: the first two that were asked for, and else what costs most."""
    peak = "training_peak" if any(row.figures.get("training_peak") for row in sweep.rows) else "params"
    asked = {order.name: order for order in (*sweep.objectives, *sweep.orders, Order("macs"), Order(peak))}
    numbers = [order for order in asked.values() if any(order.value(row) is not None for row in sweep.rows)]
    return (*numbers, Order("macs"), Order(peak))[0], (*numbers, Order("macs"), Order(peak))[1]


def _card(sweep: Sweep, order: Order, best: list[Row] | tuple[Row, ...]) -> tuple[str, str, str]:
    row = min(best, key=lambda row: order.cost(row) or 0)
    what = "Most" if order.descending else "Least"
    return f"{what} {_name(order)}", _said(order, order.value(row)), words.point(sweep, row)


def _scatter(sweep: Sweep, x: Order, y: Order, is_front: set[int]) -> dict[str, object]:
    drawn: dict[bool, list[tuple[float, float, int]]] = {True: [], False: []}
    rows = []
    for number, (row, cells) in enumerate(zip(sweep.rows, words.table(sweep), strict=True)):
        of_front = id(row) in is_front
        across, up = x.value(row), y.value(row)
        is_drawn = across is not None and up is not None
        if across is not None and up is not None:
            drawn[of_front].append((across, up, number))
        rows.append({"number": number, "cells": cells, "is_front": of_front, "is_drawn": is_drawn})

    def series(of_front: bool) -> Series:
        points = sorted(drawn[of_front])
        said = [f"{words.point(sweep, sweep.rows[n])}: {_said(x, a)}, {_said(y, b)}" for a, b, n in points]
        told = [(a, b, text) for (a, b, _), text in zip(points, said, strict=True)]
        return Series("front" if of_front else "", told, (), [n for _, _, n in points], is_line=of_front)

    size = binary_unit(int(max((up for _, up, _ in (*drawn[True], *drawn[False])), default=1)))[0]
    chart = Chart(
        label=f"{_name(y)} of {count(len(sweep.rows))} points against {_name(x)}, and the front of both",
        series=[series(False), series(True)],
        x=_name(x),
        y=_name(y),
        x_words=lambda value: _said(x, value, 3),
        y_words=lambda value: _said(y, value, 3),
        y_unit=size if _is_bytes(y) else 1.0,
    )
    return {**chart.drawn(), "header": words.header(sweep), "sides": words.alignment(sweep), "rows": rows}


def _name(order: Order) -> str:
    return label(FIGURES[order.name].json_name) if order.name in FIGURES else order.name


def _is_bytes(order: Order) -> bool:
    return order.name in FIGURES and FIGURES[order.name].is_bytes


def _said(order: Order, value: float | None, digits: int | None = None) -> str:
    if value is None:
        return "-"
    if order.name not in FIGURES:
        return f"{value:g}"
    return amount(FIGURES[order.name].json_name, round(value), digits)
