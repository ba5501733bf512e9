"""A guided search: its objectives, its constraints, and going on with its study."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelsum
from modelsum.errors import UsageError
from modelsum.sweeps.files import read

optuna = pytest.importorskip("optuna")

GRID = {"model": "nets.py:Net", "input": "8", "args.width": list(range(1, 41)), "memory": False}
SHOWN = {"where": "params <= 200", "output": "rows.csv", "jobs": 1}


def test_a_search_finds_what_is_largest_within_a_limit_and_is_gone_on_with(folder: Path) -> None:
    """A width has 9 params: 20 to 22 are the widest of 200, and of all that were asked one is the best."""
    modelsum.sweep(GRID, search=6, pareto="-macs", **SHOWN)
    before = (folder / "rows.csv").read_text()
    found = modelsum.sweep(GRID, search=16, pareto="-macs", **SHOWN)
    assert (folder / "rows.csv").read_text().startswith(before)
    rows = list(read(folder / "rows.csv"))
    assert len({row.question for row in rows}) == len(rows) <= 16
    (best,) = found.rows
    assert 180 <= (best.figures["params"] or 0) <= 200
    within = [row for row in rows if (row.figures["params"] or 0) <= 200]
    assert best.figures["macs"] == max(row.figures["macs"] or 0 for row in within)

    study = optuna.load_study(study_name="modelsum", storage=f"sqlite:///{folder}/rows.csv.study.db")
    assert len(study.get_trials()) == 16
    assert {trial.values[0] for trial in study.best_trials} == {best.figures["macs"]}

    with pytest.raises(UsageError, match="is of -macs, not of macs"):
        modelsum.sweep(GRID, search=17, pareto="macs", **SHOWN)
    with pytest.raises(UsageError, match="is of another grid"):
        modelsum.sweep(GRID | {"args.width": [1, 2]}, search=17, pareto="-macs", **SHOWN)
