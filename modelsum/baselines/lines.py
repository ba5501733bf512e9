"""On which line of a TOML or JSON file a value stands: what reads the values forgets where they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Key = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_INLINE_KEY = re.compile(r"""[{,]\s*([\w-]+|"[^"]*"|'[^']*')\s*=""")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]|[^\s"{}\[\]:,]+')


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a text by key: `("tool", "modelsum", "check", 0, "limits", "macs")`."""

    by_key: dict[Key, int]

    def of(self, key: Iterable[str | int]) -> int:
        """The line of a key, else of the nearest value around it, else 1."""
        path = tuple(key)
        while path and path not in self.by_key:
            path = path[:-1]
        return self.by_key.get(path, 1)

    def below(self, key: Key) -> dict[str, int]:
        """The lines of all keys in a table, by their names from there: "limits", "limits.macs"."""
        size = len(key)
        return {
            ".".join(map(str, path[size:])): line
            for path, line in self.by_key.items()
            if path[:size] == key and len(path) > size
        }


def of_toml(text: str) -> Lines:
    """A scan for headers and keys, enough for messages, of a text that tomllib has read.

    Where a key is written in an unusual way its table's line is as good.
    """
    return _first(_toml_keys(text))


def of_json(text: str) -> Lines:
    """A scan of a text that the json module has read."""
    return _first(_json_keys(text))


def _first(places: Iterable[tuple[Key, int]]) -> Lines:
    lines: dict[Key, int] = {}
    for key, line in places:
        lines.setdefault(key, line)
    return Lines(lines)


def _toml_keys(text: str) -> Iterator[tuple[Key, int]]:
    counts: dict[Key, int] = {}  # elements of arrays of tables
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            names, table = _parts(header[2]), ()
            for place, name in enumerate(names):
                table = (*table, name)
                if header[1] == "[[" and place == len(names) - 1:
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            yield table, number
        elif key := _KEY.match(line):
            path = (*table, *_parts(key[1]))
            yield path, number
            for inline in _INLINE_KEY.finditer(line, key.end()):
                yield (*path, *_parts(inline[1])), number


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _json_keys(text: str) -> Iterator[tuple[Key, int]]:
    line = 1
    key: Key = ()  # of the value that comes next; ends in -1 before the first name of an object
    latest = ""  # the latest token: before a colon, the name of a key
    for token in _TOKEN.findall(text):
        if token == "\n":
            line += 1
            continue
        if token == ":":
            key = (*key[:-1], json.loads(latest))
            yield key, line
        elif token == ",":
            if isinstance(key[-1], int):
                key = (*key[:-1], key[-1] + 1)
        elif token in ("}", "]"):
            key = key[:-1]
        else:
            yield key, line
            if token in ("{", "["):
                key = (*key, 0 if token == "[" else -1)
        latest = token
