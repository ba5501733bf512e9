"""The tables that ship with the package, of six architectures, and how a summary stands to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelsum.plain import read
from modelsum.summary import Baseline, Difference, Summary
from modelsum.units import torchsummary_mb

# Beside this file rather than by importlib.resources, which takes ten times as long to import.
_DOCUMENTED = Path(__file__).with_name("documented.json")


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One documented table, in the torchsummary convention.

    Attributes:
        source: what the table is called, "documented table of ResNet50 at 3x600x600".
        name: the documented name of the architecture.
        input: sizes of one sample.
        batch: how many samples.
        dtype: of parameters and input.
        figures: params, trainable_params, hooked_calls exactly; input_mb, forward_backward_mb, params_mb,
            total_mb in MB of 2**20 bytes to two decimals.
    """

    source: str
    name: str
    input: tuple[int, ...]
    batch: int
    dtype: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Tables:
    tables: tuple[StoredTable, ...]


def documented_names() -> tuple[str, ...]:
    """The names of the architectures that have a documented table."""
    return tuple(table.name for table in _tables())


def find(name: str) -> StoredTable | None:
    """The table of an architecture, or None. Names are read as the zoo reads them: in any case, - for _."""
    name = name.lower().replace("-", "_")
    return next((table for table in _tables() if table.name == name), None)


@cache
def _tables() -> tuple[StoredTable, ...]:
    return read(_Tables, json.loads(_DOCUMENTED.read_text(encoding="utf-8"))).tables


# ---- a summary against its table


def against_documented(summary: Summary, options_changed: bool = False) -> Baseline:
    """How `summary` stands to the documented table for its model and input.

    The mode and the device do not matter: the figures are the same in each.

    Args:
        options_changed: the model was built with other constructor arguments than its name stands for.

    Returns:
        "match" or "changed" with every figure; "none" where there is no table for this model and input, or
        the forward did not finish. A "none" with a source names the table that the model has for another
        input.
    """
    model = summary.model
    if model.source != "documented" or model.spec is None or options_changed or not summary.executed:
        return Baseline("none")
    table = find(model.spec)
    if table is None:
        return Baseline("none")
    if not _is_input_of(table, summary):
        return Baseline("none", table.source, input="x".join(map(str, table.input)))
    now = figures(summary)
    compared = tuple(Difference(name, documented, now[name]) for name, documented in table.figures.items())
    status = "match" if all(f.documented == f.now for f in compared) else "changed"
    return Baseline(status, table.source, compared)


def figures(summary: Summary) -> dict[str, int | float]:
    """The figures of a stored table as `summary` has them, sizes in MB as they are printed."""
    sizes = summary.torchsummary
    return {
        "params": summary.totals.params,
        "trainable_params": summary.totals.trainable_params,
        "input_mb": _printed_mb(sizes.input_bytes),
        "forward_backward_mb": _printed_mb(sizes.forward_backward_bytes),
        "params_mb": _printed_mb(sizes.params_bytes),
        "total_mb": _printed_mb(sizes.total_bytes),
        "hooked_calls": sizes.rows,
    }


def _is_input_of(table: StoredTable, summary: Summary) -> bool:
    inputs = [(given.shape, given.dtype) for given in summary.inputs]
    return inputs == [((table.batch, *table.input), table.dtype)] and summary.dtype == table.dtype


def _printed_mb(size: int) -> float:
    return float(torchsummary_mb(size))
