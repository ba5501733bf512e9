"""A summary against a stored table, figure by figure."""

from __future__ import annotations

from modelsum.baselines.store import StoredTable, find
from modelsum.summary import Baseline, Difference, Summary
from modelsum.units import torchsummary_mb


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
    if table is None or not _is_input_of(table, summary):
        return Baseline("none", table.source if table else None)
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
    return inputs == [((table.batch, *table.input_shape), table.dtype)] and summary.dtype == table.dtype


def _printed_mb(size: int) -> float:
    return float(torchsummary_mb(size))
