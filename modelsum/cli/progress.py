"""One line on a terminal's stderr that says what goes on."""

from __future__ import annotations

import sys


class Progress:
    """The line, gone again at the end; nothing is written where there is no terminal."""

    def __enter__(self) -> Progress:
        self._terminal = sys.stderr.isatty()
        return self

    def __call__(self, doing: str) -> None:
        """Say what goes on."""
        if self._terminal:
            print(f"\r\033[K{doing[:70]} ...", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for other output."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        self.clear()
