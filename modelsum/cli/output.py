"""Where results go: stdout, or a file that is replaced only by a whole result."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from modelsum import files
from modelsum.errors import OutputError
from modelsum.render import RenderOptions


class _Place(TypedDict):
    width: int | None
    color: bool


def options(depth: int | None, torchsummary_batch: int, output: Path | None) -> RenderOptions:
    """How to render for the place where the result goes: fitted and coloured on a terminal alone."""
    return RenderOptions(depth=depth, torchsummary_batch=torchsummary_batch, **place(output))


def place(output: Path | None) -> _Place:
    """The width and colour of the place where a result goes."""
    terminal = output is None and sys.stdout.isatty()
    return {
        "width": shutil.get_terminal_size().columns if terminal else None,
        "color": terminal and not os.environ.get("NO_COLOR"),
    }


def check(output: Path | None) -> None:
    """Say before the work, not after it, that a result could not be written. Raises OutputError."""
    if output is None:
        return
    if output.is_dir():
        raise OutputError(f"--output {str(output)!r} is a directory", "Name a file.")
    if not output.parent.is_dir():
        raise OutputError(
            f"--output {str(output)!r}: there is no directory {str(output.parent)!r}", "Make it first."
        )
    target = output if output.exists() else output.parent
    if not os.access(target, os.W_OK):
        raise OutputError(f"--output {str(output)!r} is not writable", "Check its permissions.")


def write(text: str, output: Path | None) -> None:
    """Write a whole result. A file appears or is replaced at once, or stays as it was. Raises OutputError."""
    if output is None:
        _print(text)
        return
    try:
        if output.exists() and not output.is_file():  # a device or a pipe
            output.write_text(text, encoding="utf-8")
        else:
            files.replace(output.resolve(), text)
    except OSError as error:
        raise OutputError(
            f"cannot write {str(output)!r}: {error.strerror}", "Check the path and its permissions."
        ) from error


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has gone. Whatever else is printed goes nowhere, and the exit code stands.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot write the result: {error.strerror}") from error


@contextlib.contextmanager
def model_prints_to_stderr() -> Iterator[None]:
    """Whatever a model prints while it is built or run is not part of the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
