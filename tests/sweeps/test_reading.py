"""What a reader asks of rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from modelsum.errors import UsageError
from modelsum.sweeping import shown
from modelsum.sweeps.conditions import parse_condition
from modelsum.sweeps.reading import Sweep
from modelsum.sweeps.rows import Row


def row(name: str, macs: int, peak: int | None, bound: str = "exact", batch: int = 1) -> Row:
    figures = {"params": 10 * macs, "macs": macs, "training_peak": peak}
    return Row({"model": name, "batch": batch}, "ok", name, figures, bound)


ROWS = (
    row("a", 1, 9),
    row("b", 2, 5, batch=2),
    row("c", 3, 5),
    row("d", 4, 1, batch=4),
    row("e", 1, 9),
    row("f", 0, 2, "lower"),
    Row({"model": "g", "batch": 8}, "lost", "g"),
)
SWEEP = Sweep(("model", "batch"), ROWS)


def names(sweep: Sweep) -> str:
    return "".join(str(row.point["model"]) for row in sweep.rows)


def test_the_front_is_what_no_other_row_is_better_than() -> None:
    """Of equal rows all; a memory that is at least so much is on no front of it."""
    assert names(shown(SWEEP, pareto="macs,training_peak")) == "aebd"
    assert names(shown(SWEEP, pareto="macs")) == "f"
    assert names(shown(SWEEP, pareto="training_peak,-batch")) == "d"


def test_rows_are_ordered_and_cut() -> None:
    assert names(shown(SWEEP, sort="macs")) == "faebcdg"
    assert names(shown(SWEEP, sort="-macs,model", top=3)) == "dcb"
    assert len(shown(SWEEP, top=2).others) == 5


def test_a_condition_holds_for_what_is_known_to_keep_to_it() -> None:
    assert names(shown(SWEEP, ["params < 30"])) == "abef"
    assert names(shown(SWEEP, ["params < 30", "training_peak <= 5 B"])) == "b"
    assert names(shown(SWEEP, ["training_peak >= 2 B"])) == "abcef", "at least 2 is enough"
    (notice,) = shown(SWEEP, ["training_peak < 9 B"]).notices
    assert notice.startswith("1 row is left out")


@pytest.mark.parametrize("asked", [{"where": ["training_peak < 1 GiB"]}, {"pareto": "macs,training_peak"}])
def test_a_row_whose_figure_is_not_known_is_left_out_with_the_reason(asked: dict[str, Any]) -> None:
    unknown = dataclasses.replace(row("h", 5, None), reason="nothing can be trained")
    found = shown(Sweep(SWEEP.axes, (ROWS[0], unknown)), **asked)
    assert names(found) == "a"
    assert found.notices == ("1 row is left out: training_peak is not known (nothing can be trained)",)
    assert shown(Sweep(SWEEP.axes, (unknown,)), pareto="macs,params").notices == ()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("parms < 3", "there is no figure 'parms'", "params"),
        ("params 3", "'params 3' is no condition", "params < 5 M"),
        ("params < 3 MiB", "MiB is a unit of bytes", "26 M"),
    ],
)
def test_a_condition_that_is_none(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_an_order_by_nothing() -> None:
    with pytest.raises(UsageError, match="there is no figure or axis 'bacth'") as caught:
        shown(SWEEP, sort="bacth")
    assert "batch" in str(caught.value.hint)
