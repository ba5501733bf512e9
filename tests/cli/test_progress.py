"""The line that says what goes on: on a terminal's stderr, after a second, and gone at the end."""

from __future__ import annotations

import os
import pty
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Start, all_of

SLOW = """\
import time
from torch import nn

def make():
    time.sleep(1.2)
    return nn.Linear(4, 4)
"""
CHECKS = """\
[[check]]
name = "slow"
model = "slow.py:make"
input = "4"
"""
FAST = ("--input", "4", "--no-memory")
COMMANDS = {
    "show": ("show", "slow.py:make", *FAST),
    "compare": ("compare", "slow.py:make", "slow.py:make", *FAST),
    "diff": ("diff", "slow.py:make", "slow.py:make", *FAST),
    "fit": ("fit", "slow.py:make", "--input", "4", "--memory", "1GiB", "--target", "cpu", "--no-ways"),
    "measure": ("measure", "slow.py:make", "--input", "4", "--device", "cpu", "--no-latency"),
    "check": ("check", "--no-strict"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "modelsum.toml").write_text(CHECKS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: Start, arguments: tuple[str, ...]) -> tuple[str, str]:
    """What is on stderr, a terminal, and on stdout, a pipe."""
    terminal, err = pty.openpty()
    pipe, out = os.pipe()
    with ThreadPoolExecutor(2) as beside, open(os.devnull, "rb") as nothing:
        said = [beside.submit(all_of, end) for end in (terminal, pipe)]
        assert command(arguments, [nothing.fileno(), out, err]) == 0
        os.close(err)
        os.close(out)
        return said[0].result().decode(), said[1].result().decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_goes_on_after_a_second_and_leaves_nothing(
    command: Start, project: Path, name: str
) -> None:
    err, out = run(command, COMMANDS[name])
    assert " ... 1 s" in err
    assert err.endswith("\r\033[K")
    assert " ... " not in out


def test_what_takes_no_second_says_nothing(command: Start, project: Path) -> None:
    (project / "slow.py").write_text(SLOW.replace("1.2", "0"))
    assert " s" not in run(command, COMMANDS["show"])[0]
