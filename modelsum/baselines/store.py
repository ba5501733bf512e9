"""The tables that ship with the package: the figures documented for six architectures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

# Beside this file rather than by importlib.resources, which takes ten times as long to import.
_DOCUMENTED = Path(__file__).with_name("documented.json")


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One documented table, in the torchsummary convention.

    Attributes:
        source: what the table is called, "documented table of ResNet50 at 3x600x600".
        name: the documented name of the architecture.
        input_shape: sizes of one sample.
        batch: how many samples.
        dtype: of parameters and input.
        figures: params, trainable_params, hooked_calls exactly; input_mb, forward_backward_mb, params_mb,
            total_mb in MB of 2**20 bytes to two decimals.
    """

    source: str
    name: str
    input_shape: tuple[int, ...]
    batch: int
    dtype: str
    figures: Mapping[str, int | float]


def documented_names() -> tuple[str, ...]:
    """The names of the architectures that have a documented table."""
    return tuple(table.name for table in _tables())


def find(name: str) -> StoredTable | None:
    """The table of an architecture, or None. Names are read as the zoo reads them: in any case, - for _."""
    name = name.lower().replace("-", "_")
    return next((table for table in _tables() if table.name == name), None)


@cache
def _tables() -> tuple[StoredTable, ...]:
    return tuple(
        StoredTable(
            source=table["source"],
            name=table["name"],
            input_shape=tuple(table["input"]),
            batch=table["batch"],
            dtype=table["dtype"],
            figures=MappingProxyType(table["figures"]),
        )
        for table in json.loads(_DOCUMENTED.read_text(encoding="utf-8"))["tables"]
    )
