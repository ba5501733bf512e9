"""The file of a project's configuration: which it is, and its table, not yet read.

`[tool.modelsum]` in pyproject.toml, or modelsum.toml with the same tables at its root. What is not there
costs nothing: a TOML parser is loaded only for a file that names modelsum.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from modelsum.baselines.configuration.place import Place
from modelsum.baselines.lines import of_toml
from modelsum.errors import ConfigError

OWN, SHARED = "modelsum.toml", "pyproject.toml"
_TABLE = ("tool", "modelsum")  # in the shared file


def find(start: Path) -> Path | None:
    """The nearest modelsum.toml, or pyproject.toml with a table tool.modelsum, in a folder or above it.

    Raises ConfigError for one on the way that may have the table and cannot be read.
    """
    for folder in (start, *start.parents):
        own, shared = folder / OWN, folder / SHARED
        if own.is_file():
            return own
        if shared.is_file() and _has_table(shared):
            return shared
    return None


def check_names(start: Path) -> tuple[str, ...]:
    """The names of the checks of the project that a folder belongs to, though they may not all be valid.

    Raises ConfigError where the file cannot be read.
    """
    path = find(start)
    if path is None:
        return ()
    _, table = table_of(text_of(path), path)
    checks = table.get("check", ())
    names = [check.get("name") for check in checks if isinstance(check, dict)]
    return tuple(name for name in names if isinstance(name, str))


def text_of(path: Path) -> str:
    """The text of a file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {str(path)!r}: {why}") from error


def table_of(text: str, path: Path) -> tuple[Place, dict[str, Any]]:
    """The table in the text of a file of that path, and its place; empty where there is none.

    Raises ConfigError for what is no TOML, or no table.
    """
    names = _TABLE if path.name == SHARED else ()
    table: Any = _read(path, text)
    at = Place(path, of_toml(text), names)
    for name in names:
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise at.error("is not a table", "Write [tool.modelsum].")
    return at, table


def _has_table(path: Path) -> bool:
    outer, inner = _TABLE
    text = text_of(path)
    if inner not in text:
        return False
    table = _read(path, text).get(outer)
    return isinstance(table, dict) and inner in table


def _read(path: Path, text: str) -> dict[str, Any]:
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not TOML: {error}") from error
    return tables
