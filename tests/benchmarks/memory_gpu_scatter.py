"""Measured against predicted as a scatter plot in SVG: logarithmic axes, the diagonal, a band of 10 %."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from memory_gpu_report import PREDICTORS, Row, fitted, kind_of

SIZE, MARGIN = 560, 64
LOW_GIB, HIGH_GIB = 1.5, 42.0
TICKS_GIB = (2, 3, 5, 8, 12, 20, 30, 40)
COLOURS = {"convolutional": "#1b6ca8", "attention": "#d1495b", "mixers": "#3a7d44"}
BAND = 0.1


def scatter(rows: Sequence[Row]) -> str:
    """The runs of the test half, predicted from reserved by the line of the other half."""
    predictor = PREDICTORS["reserved"]
    line = fitted([row for row in rows if row.is_for_fitting], predictor)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{SIZE}" height="{SIZE}" fill="white"/>',
        _band(),
        *_axes(),
    ]
    for row in rows:
        if not row.is_for_fitting:
            x = _x((line.factor * predictor(row) + line.summand) / 1024)
            y = _y(row.run.mib / 1024)
            colour = COLOURS[kind_of(row.run.model)]
            title = f"<title>{row.run.model}, batch {row.run.batch}</title>"
            place = f'cx="{x:.1f}" cy="{y:.1f}" r="2.2"'
            parts.append(f'<circle {place} fill="{colour}" fill-opacity="0.6">{title}</circle>')
    parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


def _part(gib: float) -> float:
    return log10(gib / LOW_GIB) / log10(HIGH_GIB / LOW_GIB) * (SIZE - 2 * MARGIN)


def _x(gib: float) -> float:
    return MARGIN + _part(gib)


def _y(gib: float) -> float:
    return SIZE - MARGIN - _part(gib)


def _band() -> str:
    """Where the prediction is off by at most `BAND`, and the line where it is exact, cut off at the frame."""
    ends = (LOW_GIB, HIGH_GIB)
    corners = [(x, x * (1 + BAND)) for x in ends] + [(x, x * (1 - BAND)) for x in reversed(ends)]
    points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in corners)
    inside = SIZE - 2 * MARGIN
    return (
        f'<clipPath id="frame"><rect x="{MARGIN}" y="{MARGIN}" width="{inside}" height="{inside}"/>'
        "</clipPath>"
        f'<polygon points="{points}" fill="#e8e8e8" clip-path="url(#frame)"/>'
        f'<line x1="{_x(ends[0]):.1f}" y1="{_y(ends[0]):.1f}" x2="{_x(ends[1]):.1f}" y2="{_y(ends[1]):.1f}" '
        'stroke="#777"/>'
    )


def _axes() -> list[str]:
    left, right, top, bottom = MARGIN, SIZE - MARGIN, MARGIN, SIZE - MARGIN
    place = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
    parts = [f'<rect {place} fill="none" stroke="#333"/>']
    for gib in TICKS_GIB:
        parts.append(f'<text x="{_x(gib):.1f}" y="{bottom + 18}" text-anchor="middle">{gib}</text>')
        parts.append(f'<text x="{left - 8}" y="{_y(gib) + 4:.1f}" text-anchor="end">{gib}</text>')
    middle = SIZE / 2
    parts.append(f'<text x="{middle}" y="{SIZE - 20}" text-anchor="middle">predicted, GiB</text>')
    turned = f'text-anchor="middle" transform="rotate(-90 20 {middle})"'
    parts.append(f'<text x="20" y="{middle}" {turned}>measured, GiB</text>')
    title = "Device memory of training processes, models that nothing was fitted on"
    parts.append(f'<text x="{middle}" y="{top - 24}" text-anchor="middle" font-size="14">{title}</text>')
    return parts


def _legend() -> list[str]:
    parts = []
    for number, (kind, colour) in enumerate(COLOURS.items()):
        y = MARGIN + 20 + 18 * number
        parts.append(f'<circle cx="{MARGIN + 16}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{MARGIN + 26}" y="{y + 4}">{kind}</text>')
    y = MARGIN + 20 + 18 * len(COLOURS)
    parts.append(f'<rect x="{MARGIN + 10}" y="{y - 5}" width="12" height="10" fill="#e8e8e8"/>')
    parts.append(f'<text x="{MARGIN + 26}" y="{y + 4}">within 10 %</text>')
    return parts
