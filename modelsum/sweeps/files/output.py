"""The file that a sweep writes: rows of earlier runs that still hold are kept, new ones added one by one."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from modelsum import files
from modelsum.errors import OutputError, UsageError
from modelsum.sweeps.answering import Marks
from modelsum.sweeps.files import forms, parquet
from modelsum.sweeps.files.sources import Sources, cut_off
from modelsum.sweeps.rows import OK, Row, axes_of

_TRIES = 20


class Output:
    """A file of rows that is being written, by nobody else.

    Attributes:
        path: the file.
        lines: the file that rows are added to; another one for Parquet, until the end.
        done: the questions that are answered in it.
        statuses: how many of its rows have which, of those of this sweep.
        others: how many are of no point of this sweep; they stay.
        stale: how many did not hold any more. The file as it was is beside it, in FILE.before: the versions
            may have been others by mistake.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[str] = set()
        self.statuses: Counter[str] = Counter()
        self.others = self.stale = 0
        self._form = forms.form_of(path)
        self.lines = forms.lines_of(path)
        self._sources = Sources.beside(path)
        self._axes: tuple[str, ...] = ()
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[Output]:
        """Have the file to oneself. Raises OutputError where it cannot be written, or is somebody else's."""
        is_parquet = self.path.suffix.lower() == forms.PARQUET
        if is_parquet:
            parquet.library()  # before the work, not after it
            if self.path.exists() and not self.lines.exists():
                _write_lines(self.lines, parquet.read(self.path), ())
        try:
            self._open()
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield self
        finally:
            if is_parquet:
                write(self.path, list(forms.read(self.lines)))
                self.lines.unlink()
            self._close()

    def settle(
        self,
        axes: Sequence[str],
        asked: Callable[[Mapping[str, Any]], str | None],
        *,
        retry: bool = False,
    ) -> None:
        """Find out what is done, and leave nothing in the file that does not hold any more.

        Args:
            axes: those of the points of this sweep.
            asked: the question of a point of this sweep by its values, None for those of another one. A row
                of the point that answers another question, of other versions say, does not hold.
            retry: rows without figures are done again.
        """

        def stays(row: Row | None) -> bool:
            if row is None:
                return False
            question = asked(row.point)
            if question is None:
                self.others += 1
            elif (
                row.question != question
                or question in self.done
                or (retry and row.status != OK)
                or not self._sources.hold(row.sources)
            ):
                self.stale += 1
                return False
            else:
                self.done.add(question)
                self.statuses[row.status] += 1
            return True

        staying = bytearray(map(stays, self._read()))
        names = tuple(dict.fromkeys((*self._axes, *axes)))
        if self.stale:
            shutil.copy(self.lines, self.path.with_name(f"{self.path.name}.before"))
        if not all(staying) or (self._form is forms.CSV and names != self._axes):
            self._close()
            _write_lines(
                self.lines,
                (row for row, stay in zip(self._read(), staying, strict=True) if row and stay),
                names,
            )
            self._open()
        self._axes = names

    def add(self, row: Row, marks: Marks | None) -> None:
        """Write a row, so that it is there whatever comes next. Raises OutputError where it cannot."""
        assert self._file is not None
        try:
            if marks is not None:
                self._sources.add(row.sources, marks)
            self._file.write(self._form.line(row, self._axes).encode())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.done.add(row.question)
        self.statuses[row.status] += 1

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {str(self.path)!r}: {error.strerror}")

    def _open(self) -> None:
        self._file = open(self.lines, "ab")  # noqa: SIM115
        if not _locked(self._file):
            self._file.close()
            raise OutputError(
                f"another sweep is writing {str(self.lines)!r}", "Let it end, or name another file."
            )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> Iterator[Row | None]:
        """The rows that are there; None for what is none. What was cut off at the end is taken away."""
        with open(self.lines, encoding="utf-8", errors="replace", newline="") as lines:
            try:
                self._axes = self._form.axes(lines.readline()) or ()
            except ValueError:
                raise UsageError(
                    f"{str(self.path)!r} is there, and is no file of rows of a sweep", "Name another file."
                ) from None
        cut_off(self.lines)
        with open(self.lines, encoding="utf-8", errors="replace", newline="") as lines:
            yield from self._form.rows(lines)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write a whole file of rows, in place of one that is there."""
    if path.suffix.lower() == forms.PARQUET:
        parquet.write(path, rows)
    else:
        _write_lines(path, rows, axes_of(rows))


def _write_lines(path: Path, rows: Iterable[Row], axes: Sequence[str]) -> None:
    form = forms.form_of(path)
    with files.replacing(path) as file:
        file.write(form.head(axes).encode())
        file.writelines(form.line(row, axes).encode() for row in rows)


def _locked(file: IO[bytes]) -> bool:
    """Whether the file is this process' alone from here on; taken for granted where it cannot be asked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.1)  # workers of a sweep that was just killed still have it
        except OSError:  # a file system without locks
            return True
    return False
