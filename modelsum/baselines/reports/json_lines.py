"""On which line of a JSON file a value stands: the json module reads values, and forgets where they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

Key = tuple[str | int, ...]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]|[^\s"{}\[\]:,]+')


class Lines:
    """The lines of a JSON text by key: `("rows", 12, "macs")`. The json module has to have read the text."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str | int | None, ...], int] = {}
        line = 1
        key: tuple[str | int | None, ...] = ()  # of the value that comes next; None before an object's first
        latest = ""  # the latest token: before a colon, the name of a key
        for token in _TOKEN.findall(text):
            if token == "\n":
                line += 1
                continue
            if token == ":":
                key = (*key[:-1], json.loads(latest))
                self._lines.setdefault(key, line)
            elif token == ",":
                if isinstance(key[-1], int):
                    key = (*key[:-1], key[-1] + 1)
            elif token in ("}", "]"):
                key = key[:-1]
            else:
                self._lines.setdefault(key, line)
                if token in ("{", "["):
                    key = (*key, 0 if token == "[" else None)
            latest = token

    def of(self, key: Iterable[str | int]) -> int:
        """The line of a key, else of the nearest value around it, else 1."""
        path: tuple[str | int | None, ...] = tuple(key)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)
