"""`--format html`, `trace` and `speedscope` of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

NET = """\
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))
"""
CHECK = """\
[[check]]
name = "net"
model = "net.py:make"
input = "8"
limits = { params = 100 }
"""
GIVEN = ("--input", "8")
COMMANDS = {
    "show": ("show", "net.py:make", *GIVEN, "--format", "html"),
    "compare": ("compare", "net.py:make", "net.py:make,width=8", *GIVEN, "--format", "html"),
    "diff": ("diff", "net.py:make", "net.py:make,width=8", *GIVEN, "--format", "html"),
    "fit": ("fit", "net.py:make", *GIVEN, "--memory", "2GiB", "--no-ways", "--format", "html"),
    "check": ("check", "--no-strict", "--format", "html"),
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "modelsum.toml").write_text(CHECK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_comes_out_of_every_command(modelsum_cli, name: str) -> None:
    done = modelsum_cli(*COMMANDS[name])
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("<!doctype html>")
    assert done.out.endswith("</html>\n")


def test_check_writes_it_beside_its_text(modelsum_cli, project: Path) -> None:
    done = modelsum_cli("check", "--no-strict", "--output", "html=page.html")
    assert done.out.startswith("net  new")
    assert "46.0 %" in (project / "page.html").read_text()  # 46 params of 100


def test_rows_cannot_be_chosen_where_all_are(modelsum_cli) -> None:
    done = modelsum_cli(*COMMANDS["show"], "--top", "3")
    assert (done.code, done.out) == (2, "")
    assert "format 'html' has all of them" in done.err


def test_a_figure_to_sort_by_is_one_that_there_is(modelsum_cli) -> None:
    done = modelsum_cli("show", "net.py:make", *GIVEN, "--sort", "parms")
    assert (done.code, "Did you mean params?" in done.err) == (2, True)
    done = modelsum_cli("show", "net.py:make", *GIVEN, "--no-memory", "--sort", "peak")
    assert (done.code, "'peak' is not known here" in done.err) == (2, True)


def test_the_costliest_and_every_layer(modelsum_cli) -> None:
    top = modelsum_cli("show", "net.py:make", *GIVEN, "--top", "1", "--sort", "params").out
    assert "0 (Linear)" in top
    assert "2 (Linear)" not in top
    assert "1 of 3 rows, those with the most params: 78.3 % of all." in top  # 36 of 46


def test_without_memory_there_is_no_trace(modelsum_cli) -> None:
    done = modelsum_cli("show", "net.py:make", *GIVEN, "--no-memory", "--format", "trace")
    assert (done.code, done.out, "none is known" in done.err) == (2, "", True)
