"""How rows are written, a line a row: what a line was cut off in the middle is as good as not written.

In CSV a value of an axis is written as it is where that can mean nothing else, and as JSON otherwise.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from modelsum.errors import OutputError, UsageError, valid_words
from modelsum.sweeps.files import parquet
from modelsum.sweeps.rows import COLUMNS, OF_FIGURES, OF_TEXTS, Row


class Form(Protocol):
    """One of the ways to write rows."""

    def head(self, axes: Sequence[str]) -> str:
        """What the file begins with."""

    def line(self, row: Row, axes: Sequence[str]) -> str:
        """The line of a row."""

    def axes(self, first: str) -> tuple[str, ...] | None:
        """The axes that the first line of a file says rows can have; None for any.

        Raises ValueError for a line that is of no such file.
        """

    def rows(self, lines: Iterable[str]) -> Iterator[Row | None]:
        """The rows of a file; None for each line that is none."""


class _Csv:
    def head(self, axes: Sequence[str]) -> str:
        return _line((*axes, *COLUMNS))

    def line(self, row: Row, axes: Sequence[str]) -> str:
        columns = row.to_dict()
        points = (written(columns[name]) if name in columns else "" for name in axes)
        return _line((*points, *(columns[name] for name in COLUMNS)))

    def axes(self, first: str) -> tuple[str, ...] | None:
        if not first:
            return None
        names = next(csv.reader([first]), [])
        if tuple(names[-len(COLUMNS) :]) != COLUMNS:
            raise ValueError("no columns of a sweep")
        return tuple(names[: -len(COLUMNS)])

    def rows(self, lines: Iterable[str]) -> Iterator[Row | None]:
        table = csv.reader(lines)
        names = next(table, [])
        for cells in table:
            try:
                columns = dict(zip(names, cells, strict=True))
                yield Row.from_dict(
                    {n: _cell(n, text) for n, text in columns.items() if text or n in COLUMNS}
                )
            except ValueError:
                yield None


class _Jsonl:
    def head(self, axes: Sequence[str]) -> str:
        return ""

    def line(self, row: Row, axes: Sequence[str]) -> str:
        return json.dumps(row.to_dict()) + "\n"

    def axes(self, first: str) -> tuple[str, ...] | None:
        if first.endswith("\n"):  # the only line may have been cut off
            Row.from_dict(json.loads(first))
        return None

    def rows(self, lines: Iterable[str]) -> Iterator[Row | None]:
        for line in lines:
            try:
                yield Row.from_dict(json.loads(line))
            except ValueError:
                yield None


CSV, JSONL = _Csv(), _Jsonl()
_BY_LINES: dict[str, Form] = {".csv": CSV, ".jsonl": JSONL}
PARQUET = ".parquet"
SUFFIXES = (*_BY_LINES, PARQUET)


def is_rows(path: Path) -> bool:
    """Whether a file is called as one of rows is."""
    return path.suffix.lower() in SUFFIXES


def form_of(path: Path) -> Form:
    """The form in which a file is gone on with: of Parquet, whose rows cannot be, the lines beside it."""
    if not is_rows(path):
        raise OutputError(
            f"--output {str(path)!r}: {path.suffix!r} is no file of rows", valid_words(path.suffix, SUFFIXES)
        )
    return _BY_LINES.get(path.suffix.lower(), JSONL)


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, of Parquet also those that are not in it yet. Raises UsageError."""
    if path.suffix.lower() == PARQUET:
        beside = lines_of(path)
        if not beside.exists():
            yield from parquet.read(path)
            return
        path = beside
    form = form_of(path)
    try:
        with open(path, encoding="utf-8", newline="") as lines:
            form.axes(lines.readline())
            lines.seek(0)
            yield from (row for row in form.rows(lines) if row is not None)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has not the columns of a sweep"
        raise UsageError(f"{str(path)!r} is no file of rows that can be read: {why}") from error


def lines_of(path: Path) -> Path:
    """The file that rows are written to one by one: the file itself, or for Parquet one beside it."""
    return path.with_name(f"{path.name}.jsonl") if path.suffix.lower() == PARQUET else path


def written(value: Any) -> str:
    """A value of an axis as a text that can be read again."""
    if not isinstance(value, str):
        return json.dumps(value)
    return json.dumps(value) if not value or _value(value) != value else value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _cell(column: str, text: str) -> Any:
    if column in OF_TEXTS:
        return text
    if column in OF_FIGURES:
        return int(text) if text else None
    return _value(text)


def _line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().replace("\r", " ").rstrip("\n").replace("\n", " ") + "\n"
