"""Diff -> text, a format a file. Takes a finished value; never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from modelsum.render import RenderOptions

if TYPE_CHECKING:
    from modelsum.baselines.changes.changes import Diff

_MODULES = {
    "text": "modelsum.render.diff.text",
    "json": "modelsum.render.diff.json_",
    "csv": "modelsum.render.diff.csv_",
    "markdown": "modelsum.render.diff.markdown",
}
FORMATS: tuple[str, ...] = tuple(_MODULES)


def render_diff(diff: Diff, format: str, options: RenderOptions) -> str:
    """The diff in one of `FORMATS`, ending with one newline.

    Of the options width and colour are for text, the depth for text and Markdown.
    """
    renderer: Callable[..., str] = import_module(_MODULES[format]).render
    return renderer(diff, options).rstrip("\n") + "\n"
