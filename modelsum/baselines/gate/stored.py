"""A baseline: a stored report, and where in its file each figure stands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.verdict import Place
from modelsum.baselines.lines import Lines, of_json
from modelsum.baselines.reports import text as report_text
from modelsum.baselines.reports.report import KIND, SCHEMA_VERSION, Report
from modelsum.errors import ReportError


@dataclass(frozen=True)
class Stored:
    """A baseline as it is in its file.

    Attributes:
        file: relative to the project's folder.
        text: all of it.
        report: what it says; None where its schema is another one.
        schema: the version of its schema.
    """

    file: str
    text: str
    report: Report | None
    schema: int = SCHEMA_VERSION

    @cached_property
    def _lines(self) -> Lines:
        return of_json(self.text)

    def place(self, figure: str) -> Place:
        """The line of a figure's total, or the file's first where it has none."""
        if figure == "uncounted_ops":
            return Place(self.file, self._lines.of(("uncounted_ops",)))
        named = [figure, f"{figure}_bytes"] if FIGURES[figure].is_bytes else [figure]
        lines = (self._lines.of(("totals", name)) for name in named)
        totals = self._lines.of(("totals",))
        return Place(self.file, next((line for line in lines if line != totals), totals))


def parse(text: str, file: str) -> Stored:
    """The baseline in the text of a file. Raises ReportError for what is not a whole report."""
    try:
        return Stored(file, text, report_text.parse(text, file))
    except ReportError:
        if (schema := _other_schema(text)) is not None:
            return Stored(file, text, None, schema)
        raise


def read(path: Path, file: str) -> Stored | None:
    """The baseline in a file, called `file` in what is said of it; None where there is none.

    Raises ReportError where it cannot be read, or is not a whole report.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), file)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"cannot read {file}: {error}", "Restore the file from git.") from error


def is_report(text: str) -> bool:
    """Whether a JSON text is a baseline, of whichever schema, and not some other file in the folder."""
    value = _object(text)
    return value.get("kind") == KIND and "schema_version" in value and "totals" in value


def _other_schema(text: str) -> int | None:
    version = _object(text).get("schema_version") if is_report(text) else None
    return version if isinstance(version, int) and version != SCHEMA_VERSION else None


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
