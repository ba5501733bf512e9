"""Models side by side as JSON, schema version 1."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelsum.baselines.comparison import Comparison, Figure
from modelsum.render import RenderOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION = 1


def render(comparison: Comparison, options: RenderOptions) -> str:
    """The comparison as indented JSON; counts and bytes are integers."""
    return json.dumps(to_dict(comparison), indent=2)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; values and ratios are in the order of the models."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "comparison",
        "models": [
            {"name": name, "case": asdict(case), "uncounted_ops": dict(ops)}
            for name, case, ops in zip(
                comparison.names, comparison.cases, comparison.uncounted_ops, strict=True
            )
        ],
        "different_conditions": list(comparison.different_conditions),
        "figures": [_figure(comparison, figure) for figure in comparison.figures],
    }


def _figure(comparison: Comparison, figure: Figure) -> dict[str, Any]:
    def named(places: Iterable[int]) -> list[str]:
        return [comparison.names[place] for place in sorted(places)]

    return {
        "section": figure.section,
        "name": figure.name,
        "values": list(figure.values),
        "ratios": list(figure.ratios),
        "largest": named(figure.largest),
        "smallest": named(figure.smallest),
    }
