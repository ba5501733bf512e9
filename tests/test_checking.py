"""`modelsum.check`: the gate from Python, with the values that the command renders."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelsum
from modelsum.errors import ConfigError, UsageError

CONFIG = """
[[check]]
name = "small"
model = "nets.py:build"
input = "3"
memory = false
limits = {params = 16}

[[check]]
name = "broken"
model = "nets.py:broken"
input = "3"
memory = false
"""
NETS = """
from torch import nn

def build():
    return nn.Linear(3, 4)

def broken():
    raise ValueError("no such net")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "modelsum.toml").write_text(CONFIG)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_every_check_has_a_verdict(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one whose model cannot be built, which is no exception; nothing is printed."""
    outcome = modelsum.check(config=project / "modelsum.toml", jobs=2)
    assert [(verdict.name, verdict.state) for verdict in outcome.verdicts] == [
        ("small", "new"),
        ("broken", "failed"),
    ]
    assert (outcome.passed, outcome.exit_code) == (False, 3)
    assert capsys.readouterr().out == ""


def test_a_baseline_is_stored_and_compared_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3*4 + 4 = 16 params become 3*10 + 10 = 40, over the limit too; the nearest configuration is taken."""
    monkeypatch.chdir(project)
    assert modelsum.check("small", update=True).passed
    assert (project / "reports" / "small.json").is_file()
    assert modelsum.check("small").counts == {"ok": 1}
    (project / "nets.py").write_text(NETS.replace("(3, 4)", "(3, 10)"))
    (verdict,) = modelsum.check("small").verdicts
    params = [(f.state, f.old, f.new) for f in verdict.findings if f.figure == "params"]
    assert params == [("regressed", 16, 40), ("over limit", None, 40)]


def test_a_baseline_without_a_check_is_removed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    modelsum.check("small", update=True)
    stored = project / "reports" / "small.json"
    stored.rename(stored.with_name("old.json"))
    verdicts = modelsum.check("small", prune=True).verdicts
    assert [(verdict.name, verdict.state) for verdict in verdicts] == [("small", "new"), ("old", "orphan")]
    assert not stored.with_name("old.json").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"update": True, "new_only": True}, "more than one is given"),
        ({"update": True, "against": "main"}, "more than one is given"),
        ({"against": " "}, "names no git revision"),
        ({"jobs": 0}, "jobs 0 "),
        ({"timeout": 0}, "timeout 0 "),
    ],
)
def test_words_that_are_wrong(project: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        modelsum.check(config=project / "modelsum.toml", **given)  # type: ignore[arg-type]


def test_under_ci_nothing_is_stored_unless_forced(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.chdir(project)
    with pytest.raises(UsageError, match="not changed under CI"):
        modelsum.check("small", update=True)
    assert modelsum.check("small", update=True, force=True).passed


def test_a_folder_without_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no \[tool.modelsum\]"):
        modelsum.check()
