"""Models side by side for spreadsheets: a CSV row a figure, for each model its value and its ratio."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.baselines.comparison import Comparison
from modelsum.render import RenderOptions


def render(comparison: Comparison, options: RenderOptions) -> Iterator[tuple[object, ...]]:
    """The comparison as CSV with a header row; what is not known is empty."""
    names = comparison.names
    yield ("section", "figure", *names, *(f"ratio of {name}" for name in names))
    for figure in comparison.figures:
        ratios = ("" if ratio is None else f"{ratio:.6g}" for ratio in figure.ratios)
        yield (figure.section, figure.name, *figure.values, *ratios)
    for name, ops in zip(comparison.names, comparison.uncounted_ops, strict=True):
        for op, times in ops.items():
            yield ("uncounted", op, *(times if name == each else None for each in comparison.names))
