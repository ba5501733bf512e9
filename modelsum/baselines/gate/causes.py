"""The layers behind a verdict, from the diff of the baseline and what the model costs now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from modelsum.baselines.changes.changes import Change, Diff, compare, setting
from modelsum.baselines.changes.reasons import reasons
from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.verdict import Cause
from modelsum.baselines.reports.report import ROW_FIGURES, Report

# Figures that are not known by layer, by the one that shows best which layers they come from.
_SHOWN_BY = {"flops": "macs", "param_bytes": "params"}


def causes(old: Report, new: Report, figures: Iterable[str]) -> tuple[Cause, ...]:
    """The layers and blocks that figures changed in.

    Those that are themselves configured otherwise come before those that only get other sizes from them;
    among either, those with the largest share of a change first.

    Args:
        figures: by their names in a configuration.
    """
    diff = compare(old, new)
    differences: dict[str, dict[str, int]] = defaultdict(dict)
    said: dict[str, str] = {}
    shares: dict[str, float] = defaultdict(float)
    for name, column in _columns(figures).items():
        if not all(column in change.figures for change in diff.changes[:1]):
            continue
        found = list(_by_layer(diff, column))
        moved = sum(abs(difference) for _, difference, _ in found)
        for path, difference, what in found:
            differences[path][name] = difference
            said.setdefault(path, what)
            shares[path] = max(shares[path], abs(difference) / moved)
    ranked = sorted(differences, key=lambda path: (not said[path], -shares[path]))
    return tuple(Cause(path, said[path], differences[path]) for path in ranked)


def largest(report: Report, figures: Iterable[str]) -> tuple[Cause, ...]:
    """The layers that have the most of the figures, where there is nothing to compare with."""
    found = []
    for name, column in _columns(figures).items():
        total = report.totals.get(column) or 1
        found += [
            (amount / total, Cause(row.path, row.class_name, {name: amount}))
            for row in report.rows
            if (amount := getattr(row, column) or 0)
        ]
    return tuple(cause for _, cause in sorted(found, key=lambda pair: -pair[0]))


def _columns(figures: Iterable[str]) -> dict[str, str]:
    """The figures of rows that show where these come from, by what they are called in a configuration."""
    found: dict[str, str] = {}
    for figure in figures:
        name = "saved_for_backward" if FIGURES[figure].of_memory else _SHOWN_BY.get(figure, figure)
        column = f"{name}_bytes" if FIGURES[name].is_bytes else name
        if column in ROW_FIGURES:
            found[name] = column
    return found


def _by_layer(diff: Diff, column: str) -> Iterator[tuple[str, int, str]]:
    for reason in reasons(diff, column):
        first = reason.changes[0]
        if first.state in ("added", "removed"):
            inner = f", {first.size} modules" if first.size > 1 else ""
            yield first.path, reason.difference, f"{first.class_name} {first.state}{inner}"
        else:
            for change in reason.changes:
                yield change.path, change.difference(column), _what(change)


def _what(change: Change) -> str:
    said = [f"{name} {setting(old)} => {setting(new)}" for name, (old, new) in change.attributes.items()]
    if change.is_renamed:
        said.insert(0, f"was {change.old_path}")
    return ", ".join(said)
