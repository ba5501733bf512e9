"""Comparison -> text, a format a file. Takes a finished value; never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from modelsum.render import RenderOptions

if TYPE_CHECKING:
    from modelsum.baselines.comparison import Comparison

_MODULES = {
    "text": "modelsum.render.comparison.text",
    "json": "modelsum.render.comparison.json_",
    "csv": "modelsum.render.comparison.csv_",
    "markdown": "modelsum.render.comparison.markdown",
}
FORMATS: tuple[str, ...] = tuple(_MODULES)


def render_comparison(comparison: Comparison, format: str, options: RenderOptions) -> str:
    """The comparison in one of `FORMATS`, ending with one newline; width and colour are for text."""
    renderer: Callable[..., str] = import_module(_MODULES[format]).render
    return renderer(comparison, options).rstrip("\n") + "\n"
