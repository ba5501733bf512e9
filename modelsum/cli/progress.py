"""One line on a terminal's stderr that says what goes on, once that takes more than a second."""

from __future__ import annotations

import os
import sys
import threading
import time

_AFTER = 1.0
_COLUMNS = 80  # of a terminal that does not say how many it has


class Progress:
    """The line, gone again at the end.

    A thread writes it, as what goes on is the model's code and the import of torch, which tell nobody. Where
    there is no terminal nothing is written, or for long work, in a log, a line now and then.
    """

    def __init__(self, doing: str = "", *, seconds_in_logs: float | None = None) -> None:
        self._doing = doing
        self._seconds = self._next = seconds_in_logs
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if sys.stderr is not None and sys.stderr.isatty():
            self._terminal = sys.stderr.fileno()
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()
        return self

    def __call__(self, doing: str) -> None:
        """Say what goes on."""
        self._doing = doing
        passed = time.monotonic() - self._began
        if self._thread is None and self._seconds and self._next and passed >= self._next:
            self._next = passed + self._seconds
            print(f"modelsum: {doing}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for other output."""
        if self._thread is not None and time.monotonic() - self._began >= _AFTER:
            self._write("\r\033[K")

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self.clear()

    def _follow(self) -> None:
        while not self._ended.wait(_AFTER):
            seconds = f" ... {time.monotonic() - self._began:.0f} s"
            columns = os.get_terminal_size(self._terminal).columns or _COLUMNS
            room = max(columns - len(seconds) - 1, 1)
            self._write(f"\r\033[K{self._doing[:room]}{seconds}")

    def _write(self, text: str) -> None:
        """Past Python's buffer, whose lock would stay held in a process that is forked meanwhile."""
        os.write(self._terminal, text.encode(errors="replace"))
