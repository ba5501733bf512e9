"""A file of rows as the budget of a family of checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import git

import modelsum
from modelsum.errors import ConfigError

CHECK = """
[[check]]
name = "half"
model = "mobilenet_v1"
args = {{width_mult = {width}}}
input = "3x32x32"
budget = "rows.csv"
{more}
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("budget") / "rows.csv"
    grid = {"model": "mobilenet_v1", "args.width_mult": [0.25, 0.5], "input": "3x32x32", "memory": False}
    modelsum.sweep(grid, output=path)
    return path.read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "")
    (tmp_path / "rows.csv").write_text(rows)
    return tmp_path


def check(project: Path, width: float, more: str = "") -> modelsum.baselines.gate.verdict.Outcome:
    (project / "modelsum.toml").write_text(CHECK.format(width=width, more=more))
    return modelsum.check(jobs=1)


def test_the_row_of_a_checks_point_sets_its_limits(project: Path) -> None:
    """The figures that other ones follow are not said twice; memory was not swept."""
    assert check(project, 0.5).passed
    (project / "rows.csv").write_text((project / "rows.csv").read_text().replace("1331592", "1331591"))
    (verdict,) = check(project, 0.5).verdicts
    assert [(f.figure, f.most, f.new) for f in verdict.findings if f.severity == "error"] == [
        ("params", 1_331_591, 1_331_592)
    ]
    assert verdict.findings[0].place == modelsum.baselines.gate.verdict.Place("modelsum.toml", 7)
    assert check(project, 0.5, 'tolerance = {params = "0.1%"}').passed
    assert check(project, 0.5, 'limits = {params = "2 M"}').passed, "its own limit stands"


@pytest.mark.parametrize(
    ("width", "file", "message", "hint"),
    [
        (
            0.75,
            "rows.csv",
            "modelsum.toml:7: budget: rows.csv has no row of this",
            "another args",
        ),
        (0.5, "rows.csv_", "modelsum.toml:7: budget: ", "no file of rows"),
    ],
)
def test_a_budget_that_is_none(project: Path, width: float, file: str, message: str, hint: str) -> None:
    (project / "rows.csv").rename(project / file)
    with pytest.raises(ConfigError) as caught:
        check(project, width)
    assert message in str(caught.value)
    assert hint in str(caught.value)


def test_a_branch_that_changes_a_budget_is_told(project: Path) -> None:
    (project / "modelsum.toml").write_text(CHECK.format(width=0.5, more=""))
    modelsum.check(update=True, jobs=1)
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "all")
    assert modelsum.check(against="main", jobs=1).rules == ()
    (project / "rows.csv").write_text((project / "rows.csv").read_text().replace("1331592", "1431592"))
    (change,) = modelsum.check(against="main", jobs=1).rules
    assert (change.check, change.rule, change.change) == ("half", "budget", "rows.csv is another one")
    assert change.loosens
