"""Amounts of memory below each other, each a bar of its parts, as the numbers of `sections/parts.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelsum.units import binary_bytes

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 860.0, 230.0, 110.0, 30.0, 30.0
_LEGEND, _COLUMNS = 20.0, 4
_COLORS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """An amount: what it is called, and bytes by part."""

    label: str
    parts: Mapping[str, int]


def drawn(label: str, bars: Sequence[Bar], line: tuple[int, str] | None = None) -> dict[str, Any]:
    """Where everything is; `line` is an amount that all are measured by, and what it is called."""
    names = [
        n for n in dict.fromkeys(n for bar in bars for n in bar.parts) if any(b.parts.get(n) for b in bars)
    ]
    most = max((sum(bar.parts.values()) for bar in bars), default=0)
    scale = (_WIDTH - _LEFT - _RIGHT) / (max(most, line[0] if line else 0) or 1)
    bottom = _TOP + _ROW * len(bars)
    return {
        "label": label,
        "width": _WIDTH,
        "height": bottom + 14 + _LEGEND * -(-len(names) // _COLUMNS),
        "left": _LEFT,
        "top": _TOP,
        "bottom": bottom,
        "rows": [_row(bar, _TOP + _ROW * place, names, scale) for place, bar in enumerate(bars)],
        "line": (round(_LEFT + scale * line[0], 1), line[1]) if line else None,
        "legend": [
            (
                round(_WIDTH / _COLUMNS * (place % _COLUMNS), 1),
                bottom + 18 + _LEGEND * (place // _COLUMNS),
                place % _COLORS,
                name.replace("_", " "),
            )
            for place, name in enumerate(names)
        ],
    }


def _row(bar: Bar, y: float, names: Sequence[str], scale: float) -> dict[str, Any]:
    x, pieces = _LEFT, []
    for place, name in enumerate(names):
        size = bar.parts.get(name, 0)
        if size:
            said = f"{bar.label}: {name.replace('_', ' ')} {binary_bytes(size)}"
            pieces.append((round(x, 1), round(scale * size, 1), place % _COLORS, said))
            x += scale * size
    return {
        "label": bar.label,
        "y": y,
        "pieces": pieces,
        "end": round(x, 1),
        "total": binary_bytes(sum(bar.parts.values())),
    }
