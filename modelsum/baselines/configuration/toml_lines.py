"""On which line of a TOML file a key stands: tomllib reads values, and forgets where they were.

A scan for headers and keys, enough for messages: a file that tomllib has read is given, and where a key
is written in an unusual way its table's line is as good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Key = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_INLINE_KEY = re.compile(r"""[{,]\s*([\w-]+|"[^"]*"|'[^']*')\s*=""")


class Lines:
    """The lines of a TOML text by key: `("tool", "modelsum", "check", 0, "limits", "macs")`."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Key, int] = {}
        counts: dict[Key, int] = {}
        table: Key = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.fullmatch(line):
                table = self._table(_parts(header[2]), counts, is_array=header[1] == "[[")
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                path = (*table, *_parts(key[1]))
                self._lines.setdefault(path, number)
                for inline in _INLINE_KEY.finditer(line, key.end()):
                    self._lines.setdefault((*path, *_parts(inline[1])), number)

    @staticmethod
    def _table(names: tuple[str, ...], counts: dict[Key, int], *, is_array: bool) -> Key:
        """The full key of a header: names of arrays of tables with the index of their latest element."""
        path: Key = ()
        for place, name in enumerate(names):
            path = (*path, name)
            if is_array and place == len(names) - 1:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def of(self, key: Iterable[str | int]) -> int:
        """The line of a key, else of the nearest table around it, else 1."""
        path = tuple(key)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def below(self, key: Key) -> dict[str, int]:
        """The lines of all keys in a table, by their names from there: "limits", "limits.macs"."""
        size = len(key)
        return {
            ".".join(map(str, path[size:])): line
            for path, line in self._lines.items()
            if path[:size] == key and len(path) > size
        }


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
