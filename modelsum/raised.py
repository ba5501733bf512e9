"""An error that somebody's code raised, in words: where in the user's own files, its class, what it says."""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterator

from modelsum.errors import ModelError, plain

_TORCHSCRIPT = "The following operation failed in the TorchScript interpreter."
_LINE = re.compile(r'File "([^"]+)", line (\d+)')
_INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")


def brief(error: BaseException) -> str:
    """The class of an error and the first line of what it says: "ValueError: no width"."""
    lines = [line.strip() for line in said(error).splitlines() if line.strip()]
    return ": ".join((type(error).__name__, *([_opening(lines)] if lines else ())))


def told(error: BaseException, *, whole: bool = False) -> str:
    """The same behind the user's file and line, where there is one: "nets.py:12: ValueError: no width".

    Where the error says nothing, an assertion say, the line itself is shown.

    Args:
        error: as it was caught: what called the code that caught it is of no interest.
        whole: all lines of what it says.
    """
    text = said(error)
    words = f"{type(error).__name__}: {text}" if whole and text else brief(error)
    place = None if text else _place(error)
    code = linecache.getline(*place).strip() if place else ""
    return where(error) + words + (f" ({code})" if code else "")


def fault(error: Exception | SystemExit) -> ModelError:
    """An error that nothing here foresaw, as one that says so, or as the model's where its code raised it."""
    if isinstance(error, SystemExit):
        return ModelError(f"{where(error)}the model's code ended the process (sys.exit({error.code!r}))")
    if where(error):
        return ModelError(f"the model's code failed: {told(error)}", "--debug shows the traceback.")
    return ModelError(
        f"this is a fault of modelsum: {told(error)}", "Please report it with what --debug prints."
    )


def where(error: BaseException) -> str:
    """The user's file and line, "nets.py:12: "; empty where no code of theirs was running."""
    place = _place(error)
    return f"{_shown(place[0])}:{place[1]}: " if place else ""


def said(error: BaseException) -> str:
    """What the error says; empty where that is nothing."""
    if isinstance(error, SyntaxError):
        return plain(error.msg)  # its own text names the file again
    try:
        text = plain(str(error)).strip()
    except Exception:  # the class is the user's too
        return ""
    if text.startswith(_TORCHSCRIPT):  # its own traceback, the error, and where that came from
        text = text.rpartition("<--- HERE\n")[2].partition("\n\nAt:\n")[0]
        text = re.sub(r"^(RuntimeError: ?)+", "", text)
    return text


def _opening(lines: list[str]) -> str:
    """The first line, and the second where it is what the first one announces."""
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _place(error: BaseException) -> tuple[str, int] | None:
    """The file and line of the innermost frame that is the user's, or None."""
    return next(reversed([place for place in _places(error) if _is_users(place[0])]), None)


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    """Files and lines from the outermost call to where the error arose."""
    frame = error.__traceback__
    while frame is not None:
        yield frame.tb_frame.f_code.co_filename, frame.tb_lineno
        frame = frame.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        yield error.filename, error.lineno
    elif isinstance(error, RuntimeError) and str(error).startswith(_TORCHSCRIPT):
        for file, line in _LINE.findall(str(error)):
            yield file, int(line)


def _is_users(file: str) -> bool:
    """Whether a file is neither Python's, nor torch's, nor modelsum's, nor an installed package's."""
    theirs = [os.__file__, __file__, *filter(None, [getattr(sys.modules.get("torch"), "__file__", None)])]
    folders = tuple(os.path.join(os.path.dirname(each), "") for each in theirs)
    return os.path.isabs(file) and not file.startswith(folders) and not _INSTALLED.search(file)


def _shown(file: str) -> str:
    """As the user would write it: relative to where they are, if it lies there."""
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # the folder is gone
        return file
    return file.removeprefix(here)
