"""Published tables of widths, resolutions and depths, each from the one grid file beside its figures."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from every_day import every_nth

import modelsum
from modelsum.sweeps.rows import Row

TABLES = Path(__file__).with_name("tables")

# What the papers and pages print otherwise, looked into one by one (tests/zoo/test_papers.py).
OTHERWISE = {
    ("mobilenet_v1", "macs"): {("0.75", s) for s in (224, 192, 160, 128)} | {("0.5", 224), ("0.25", 192)},
    ("mobilenet_v1", "params"): {(w, s) for w in ("1.0", "0.5") for s in (224, 192, 160, 128)},
}


def prints_as(value: int, printed: str) -> bool:
    """Whether it rounds or truncates to what is printed: "0.47M"."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?M", printed)
    assert match is not None
    scaled = value / 1e6 * 10 ** len(match[2] or "")
    return int(match[1] + (match[2] or "")) in (int(scaled), round(scaled))


def swept(table: str) -> list[tuple[dict[str, str], Row]]:
    """The printed rows, each with that of the grid's point; there are no others."""
    rows = modelsum.sweep(TABLES / f"{table}.toml").rows
    with (TABLES / f"{table}.csv").open(newline="") as file:
        printed = list(csv.DictReader(file))
    axes = [name for name in printed[0] if name not in ("params", "trainable_params", "macs")]
    by_point = {tuple(str(row.point.get(axis, "")) for axis in axes): row for row in rows}
    assert len(by_point) == len(rows) == len(printed)
    return [(line, by_point[tuple(line[axis] for axis in axes)]) for line in printed]


@pytest.mark.parametrize("table", every_nth(["mobilenet_v1", "mobilenet_v2", "densenet"], 3))
def test_a_published_table_is_the_rows_of_a_grid(table: str) -> None:
    for line, row in swept(table):
        for figure in ("params", "trainable_params", "macs"):
            if figure in line:
                point = (line.get("args.width_mult"), int(line["input"].rpartition("x")[2]))
                agrees = point not in OTHERWISE.get((table, figure), ())
                assert prints_as(row.figures[figure] or 0, line[figure]) is agrees, (
                    line,
                    row.figures[figure],
                )


@pytest.mark.slow
def test_mnasnets_table_is_the_rows_of_a_grid_but_that_it_counts_something_more() -> None:
    """Its page prints 312 M, and in the table of multipliers 315.2 M for the same network."""
    for line, row in swept("mnasnet"):
        macs = row.figures["macs"] or 0
        assert prints_as(row.figures["params"] or 0, line["params"])
        assert prints_as(macs, line["macs"]) or 0.97 < macs / 1e6 / float(line["macs"].rstrip("M")) < 1
