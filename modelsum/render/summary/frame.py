"""The layers as a table of pandas or polars, for who goes on from there."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from modelsum.errors import UsageError, valid_words
from modelsum.render.summary.csv import COLUMNS, layers
from modelsum.summary import Summary

LIBRARIES = ("pandas", "polars")
_NOT_OF_LAYERS = ("kind", "text", "count")


def frame(summary: Summary, library: str | None = None) -> Any:
    """A row a call of a module, with the columns that layers have in CSV; what is not known is null.

    Raises UsageError for another library, or one that is not installed.
    """
    if library is not None and library not in LIBRARIES:
        raise UsageError(f"there is no table of {library!r}", valid_words(library, LIBRARIES))
    wanted = [library] if library else LIBRARIES
    found = next((name for name in wanted if find_spec(name) is not None), None)
    if found is None:
        raise UsageError(f"{' or '.join(wanted)} is not installed", f"pip install {wanted[0]}")
    names = [name for name in COLUMNS if name not in _NOT_OF_LAYERS]
    rows = list(layers(summary))
    columns = {name: [row[name] for row in rows] for name in names}
    if found == "pandas":
        pandas = import_module(found)
        return pandas.DataFrame(columns).convert_dtypes()  # whole numbers, also where some are missing
    return import_module(found).DataFrame(columns)
