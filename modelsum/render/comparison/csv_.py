"""Models side by side for spreadsheets: a CSV row a figure, for each model its value and its ratio."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from modelsum.render import RenderOptions

if TYPE_CHECKING:
    from modelsum.baselines.comparison import Comparison


def render(comparison: Comparison, options: RenderOptions) -> str:
    """The comparison as CSV with a header row; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = comparison.names
    writer.writerow(("section", "figure", *names, *(f"ratio of {name}" for name in names)))
    for figure in comparison.figures:
        values = ("" if value is None else value for value in figure.values)
        ratios = ("" if ratio is None else f"{ratio:.6g}" for ratio in figure.ratios)
        writer.writerow((figure.section, figure.name, *values, *ratios))
    for name, ops in zip(names, comparison.uncounted_ops, strict=True):
        for op, times in ops.items():
            writer.writerow(("uncounted", op, *(times if name == each else "" for each in names)))
    return out.getvalue()
