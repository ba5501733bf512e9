"""Rows as Parquet, a file that is written whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from modelsum import files
from modelsum.errors import UsageError
from modelsum.sweeps.rows import COLUMNS, OF_FIGURES, Row, axes_of

#: Where the file says which columns are JSON: axes whose values are not all of one kind.
_AS_JSON = b"modelsum.as_json"


def library() -> ModuleType:
    """pyarrow. Raises UsageError with the line that installs it."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "pip install 'modelsum[parquet]'") from None
    module: ModuleType = pyarrow
    return module


def read(path: Path) -> list[Row]:
    """The rows of a file. Raises UsageError."""
    arrow = library()
    try:
        table = arrow.parquet.read_table(path)
        as_json = json.loads((table.schema.metadata or {}).get(_AS_JSON, b"[]"))
        return [Row.from_dict(_columns(row, as_json)) for row in table.to_pylist()]
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise UsageError(f"{str(path)!r} is no file of rows that can be read: {error}") from error


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows, in place of a file that is there."""
    arrow = library()
    axes = axes_of(rows)
    tables = [row.to_dict() for row in rows]
    kinds = {name: {type(row[name]) for row in tables if name in row} for name in axes}
    as_json = [name for name, kind in kinds.items() if len(kind) > 1 or not kind <= {str, int, float, bool}]
    for row in tables:
        row |= {name: json.dumps(row[name]) for name in as_json if name in row}
    columns = {name: [row.get(name) for row in tables] for name in (*axes, *COLUMNS)}
    figures = {name: arrow.array(columns[name], arrow.int64()) for name in OF_FIGURES}
    table = arrow.table({**columns, **figures})
    table = table.replace_schema_metadata({_AS_JSON: json.dumps(as_json).encode()})
    with files.replacing(path) as file:
        arrow.parquet.write_table(table, file)


def _columns(row: dict[str, Any], as_json: Sequence[str]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in as_json else value
        for name, value in row.items()
        if value is not None or name in COLUMNS
    }
