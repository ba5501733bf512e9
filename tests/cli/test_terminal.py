"""A real terminal behind stdout: colours and width, and the three variables that people set for them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from conftest import Start, all_of

ESCAPE = "\033["
COMMANDS = {
    "show": ("show", "squeezenet1_1", "--input", "3x64x64"),
    "compare": ("compare", "squeezenet1_1@3x64x64", "squeezenet1_0@3x64x64", "--no-memory"),
    "diff": ("diff", "squeezenet1_1@3x64x64", "squeezenet1_0@3x64x64", "--no-memory"),
    "fit": (
        "fit",
        "squeezenet1_1",
        "--input",
        "3x64x64",
        "--memory",
        "200MiB",
        "--target",
        "cpu",
        "--no-ways",
    ),
    "list": ("list", "vgg*"),
}


Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(command: Start, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What a command writes to stdout: a terminal or a pipe, while stderr is another terminal.

    Answers are kept from one test to the next: what is asked here is how they are shown.
    """
    return partial(_run, command, tmp_path_factory.mktemp("kept"))


def _run(
    command: Start,
    kept: Path,
    arguments: tuple[str, ...],
    *,
    out: str = "terminal",
    columns: int = 100,
    **variables: str,
) -> str:
    if out == "terminal":
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    else:
        ours, theirs = os.pipe()
    _, other = terminal = pty.openpty()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as beside:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "MODELSUM_NO_CACHE"):
            patch.delenv(name, raising=False)
        for name, value in {"MODELSUM_CACHE_DIR": str(kept), "TERM": "xterm-256color", **variables}.items():
            patch.setenv(name, value)
        shown = beside.submit(all_of, ours)
        with open(os.devnull, "rb") as nothing:
            code = command(arguments, [nothing.fileno(), theirs, other])
        os.close(theirs)
        text = shown.result().decode().replace("\r\n", "\n")
    for end in terminal:
        os.close(end)
    assert code == 0
    return text


def widest(text: str) -> int:
    return max(len(re.sub(r"\033\[[\d;]*m", "", line)) for line in text.splitlines())


def test_a_terminal_has_colours_and_its_own_width(run: Run) -> None:
    shown = run(COMMANDS["show"], columns=70)
    assert ESCAPE in shown
    assert widest(shown) <= 70
    assert widest(run(COMMANDS["show"], columns=200)) > 70


def test_a_pipe_has_no_colours_and_everything_though_stderr_is_a_terminal(run: Run) -> None:
    piped = run((*COMMANDS["show"], "--all"), out="pipe", columns=40)
    assert ESCAPE not in piped
    assert "features.12.expand3x3_activation (ReLU)" in piped


@pytest.mark.parametrize("name", COMMANDS)
def test_no_color(run: Run, name: str) -> None:
    assert ESCAPE not in run(COMMANDS[name], NO_COLOR="1")


def test_an_empty_no_color_says_nothing(run: Run) -> None:
    """As no-color.org has it: present and not an empty string."""
    assert ESCAPE in run(COMMANDS["show"], NO_COLOR="")


@pytest.mark.parametrize("name", ["show", "list"])
def test_force_color_colours_a_pipe_which_stays_complete(run: Run, name: str) -> None:
    forced = run(COMMANDS[name], out="pipe", FORCE_COLOR="1", columns=40)
    assert ESCAPE in forced
    plain = "".join(f"{line.rstrip()}\n" for line in re.sub(r"\033\[[\d;]*m", "", forced).splitlines())
    assert plain == run(COMMANDS[name], out="pipe")


def test_no_color_wins_over_force_color(run: Run) -> None:
    assert ESCAPE not in run(COMMANDS["show"], FORCE_COLOR="1", NO_COLOR="1")
    assert ESCAPE not in run(COMMANDS["show"], out="pipe", FORCE_COLOR="1", NO_COLOR="1")


@pytest.mark.parametrize("name", COMMANDS)
def test_columns_wins_over_the_terminals_width(run: Run, name: str) -> None:
    narrow = run(COMMANDS[name], COLUMNS="72", columns=150)
    assert widest(narrow) <= 72
    if name == "show":
        assert widest(narrow) < widest(run(COMMANDS[name], COLUMNS="150", columns=72)) <= 150


def test_columns_does_not_cut_a_pipe(run: Run) -> None:
    assert run(COMMANDS["show"], out="pipe", COLUMNS="60") == run(COMMANDS["show"], out="pipe")


def test_a_dumb_terminal_has_no_colours(run: Run) -> None:
    assert ESCAPE not in run(COMMANDS["show"], TERM="dumb")


def test_a_file_has_neither_colours_nor_a_width(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "shown.txt"
    assert run((*COMMANDS["show"], "-o", str(file)), FORCE_COLOR="1", columns=40) == ""
    assert file.read_text() == run(COMMANDS["show"], out="pipe")


@pytest.mark.parametrize("format_", ["json", "csv", "markdown", "torchsummary"])
def test_other_formats_are_never_coloured_nor_cut(run: Run, format_: str) -> None:
    arguments = (*COMMANDS["show"], "--format", format_)
    assert run(arguments, columns=40, FORCE_COLOR="1") == run(arguments, out="pipe")
