"""Reports in files: read whole, written whole, and left alone where nothing but the versions would change."""

from __future__ import annotations

from pathlib import Path

from modelsum import files
from modelsum.baselines.reports.report import Report
from modelsum.baselines.reports.text import HINT, parse, to_text
from modelsum.errors import OutputError, ReportError

SUFFIX = ".json"


def read(path: Path, file: str | None = None) -> Report:
    """The report, or the summary's JSON, in a file.

    Args:
        file: what errors call it; its path by default.

    Raises ReportError where it cannot be read, or is not a whole report.
    """
    name = file or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(f"{name} is not a report: it is not text", HINT) from error
    except OSError as error:
        raise ReportError(f"cannot read {name}: {error.strerror}", "Check the path.") from error
    return parse(text, name)


def write(path: Path, report: Report) -> bool:
    """Store a report, and its folder if there is none. Returns whether the file was written.

    A file whose report is equal stays as it is, byte for byte: the versions that it was made with are no
    reason to rewrite it. One that cannot be read is replaced.

    Raises OutputError where it cannot be written.
    """
    try:
        if path.is_file() and read(path) == report:
            return False
    except ReportError:
        pass  # what is there is no report, so it does not have to be kept
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path.resolve(), to_text(report))
    except OSError as error:
        raise OutputError(
            f"cannot write {str(path)!r}: {error.strerror}", "Check the path and its permissions."
        ) from error
    return True
