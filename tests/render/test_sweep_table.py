"""What is shown of a sweep: its table in each format, and the page with its scatter."""

from __future__ import annotations

import re

import pytest

from modelsum.render import render
from modelsum.sweeping import shown
from modelsum.sweeps.reading import Sweep
from modelsum.sweeps.rows import Row


def row(width: float, macs: int, peak: int, bound: str = "exact") -> Row:
    point = {"model": "net", "args.width": width, "batch": 8}
    figures = {"params": 1000, "macs": macs, "training_peak": peak}
    return Row(point, "ok", f"k{width}", figures, bound)


LOST = Row({"model": "net", "args.width": 9.0, "batch": 8}, "lost", "k9", reason="it ended | <b>")
SWEEP = Sweep(
    ("model", "args.width", "batch"),
    (row(1.0, 5_000, 4 << 20), row(2.0, 7_000, 3 << 20), row(3.0, 9_000, 8 << 20, "lower"), LOST),
    notices=("so it is",),
)

TEXT = """\
model  args.width  Params   MACs  Training peak  Status
net    1.0          1,000  5,000       4.00 MiB      ok
net    2.0          1,000  7,000       3.00 MiB      ok
net    3.0          1,000  9,000    >= 8.00 MiB      ok
net    9.0              -      -              -    lost

Points:    4
batch:     8
Not known: lost: it ended | <b>
Notice:    so it is
"""


def test_axes_that_differ_are_columns_and_a_bound_is_told_as_one() -> None:
    assert render(SWEEP) == TEXT


def test_markdown_is_the_same_table() -> None:
    assert render(shown(SWEEP, pareto="macs,training_peak"), "markdown") == (
        "| model | args.width | Params | MACs | Training peak |\n| :--- | :--- | ---: | ---: | ---: |\n"
        "| net | 1.0 | 1,000 | 5,000 | 4.00 MiB |\n| net | 2.0 | 1,000 | 7,000 | 3.00 MiB |\n\n"
        "- Points: 2 of 4\n- Front of: macs, training_peak\n- batch: 8\n\n> **Notice:** so it is\n"
    )


def test_csv_is_that_of_a_file_of_rows() -> None:
    first, *rows = render(SWEEP, "csv").splitlines()
    assert first.startswith("model,args.width,batch,params,")
    assert first.endswith(",memory_bound,status,reason,key")
    assert rows[0].startswith("net,1.0,8,1000,")
    assert rows[3].endswith(",lost,it ended | <b>,k9")


@pytest.mark.parametrize("pareto", [None, "macs,training_peak"])
def test_a_page_links_each_point_of_the_scatter_to_its_row(pareto: str | None) -> None:
    """All rows are in the table; one whose figures are not known is no point. The front is a line."""
    page = render(shown(SWEEP, pareto=pareto), "html")
    targets = set(re.findall(r'<tr id="([^"]+)"', page))
    assert len(targets) == 4
    points = dict(re.findall(r'<a id="([^"]+)" href="#([^"]+)">', page))
    assert set(points.values()) < targets
    assert set(re.findall(r'<th scope="row"><a href="#([^"]+)"', page)) == set(points)
    assert len(points) == 3
    assert page.count('class="front"') == 2
    (line,) = re.findall(r'<polyline class="line" points="([^"]+)"', page)
    assert len(line.split()) == 2
    assert "it ended | &lt;b&gt;" in page
