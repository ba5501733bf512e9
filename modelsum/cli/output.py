"""Where results go: stdout, or a file that is replaced only by a whole result.

Once a model's code can run, only results reach stdout: whatever is written there by the model, compiled code,
processes that it starts or functions that it leaves for the end goes to stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TextIO, TypedDict

from modelsum import files
from modelsum.errors import OutputError
from modelsum.render import RenderOptions, render

_DEFAULT_COLUMNS = 80


class _Place(TypedDict):
    width: int | None
    color: bool


def options(output: Path | None, **shown: Any) -> RenderOptions:
    """How to render for the place where the result goes: fitted and coloured on a terminal alone.

    `shown` are the other fields of RenderOptions.
    """
    return RenderOptions(**shown, **place(output))


def show(value: Any, format: str, output: Path | None, **shown: Any) -> None:
    """Write a value in a format, for the place where it goes. Raises UsageError and OutputError."""
    write(render(value, format, options(output, **shown)), output)


def place(output: Path | None) -> _Place:
    """The width and colour of the place where a result goes.

    A terminal says its own width, or COLUMNS does; NO_COLOR and TERM=dumb turn colours off there, FORCE_COLOR
    turns them on where there is no terminal.
    """
    if output is not None:
        return {"width": None, "color": False}
    stream = _stream()
    terminal = stream is not None and stream.isatty()
    colored = (terminal and os.environ.get("TERM") != "dumb") or bool(os.environ.get("FORCE_COLOR"))
    return {
        "width": _columns(stream) if terminal and stream else None,
        "color": colored and not os.environ.get("NO_COLOR"),
    }


def _columns(terminal: TextIO) -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _DEFAULT_COLUMNS
    except OSError:
        return _DEFAULT_COLUMNS


def check(output: Path) -> None:
    """Say before the work, not after it, that a result could not be written. Raises OutputError."""
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
    stream = _stream()
    if stream is None:
        raise OutputError("cannot write the result: stdout is closed")
    try:
        stream.write(_in(stream, text))
        stream.flush()
    except BrokenPipeError:
        # The reader, `head` say, has gone. Whatever else is printed goes nowhere, and the exit code stands.
        _close(stream)
    except OSError as error:
        _close(stream)
        raise OutputError(f"cannot write the result: {error.strerror}") from error


def _in(stream: TextIO, text: str) -> str:
    """The text without what the encoding of the stream lacks: the characters of bars, say."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _close(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# ---- stdout


#: Where results go once stdout is kept for them.
_results: TextIO | None = None


def _stream() -> TextIO | None:
    return _results or sys.stdout


def keep_stdout_for_results() -> None:
    """From here to the end of the process, let nothing but results reach stdout."""
    global _results
    if _results is not None or sys.stdout is None:
        return
    sys.stdout.flush()
    kept = os.dup(1)  # which is closed in programs that this one starts
    _results = open(kept, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_results)


def _forget_results() -> None:
    """A fork of this process prints no result, and must not keep the reader of one waiting."""
    if _results is not None:
        _close(_results)
