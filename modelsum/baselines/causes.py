"""The layers behind a difference: which rows of a report have more or less of a figure than before."""

from __future__ import annotations

from collections.abc import Collection

from modelsum.baselines.report import ROW_FIGURES, Report
from modelsum.baselines.verdict import Cause


def causes(old: Report, new: Report, figures: Collection[str]) -> tuple[Cause, ...]:
    """The layers that one of these figures changed in, those with the largest change first."""
    before = {(row.path, row.call): row for row in old.rows}
    after = {(row.path, row.call): row for row in new.rows}
    found = []
    for key in {**before, **after}:
        was, now = before.get(key), after.get(key)
        differences = {}
        for name in ROW_FIGURES:
            figure = name.removesuffix("_bytes")
            more = (getattr(now, name, None) or 0) - (getattr(was, name, None) or 0)
            if more and figure in figures:
                differences[figure] = more
        if differences:
            what = "added" if was is None else "removed" if now is None else ""
            found.append(Cause(key[0], what, differences))
    return tuple(sorted(found, key=lambda cause: -max(map(abs, cause.differences.values()))))
