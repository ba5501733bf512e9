"""Outcome of `modelsum check` -> text, a format a file. Takes a finished value; never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelsum.baselines.verdict import Outcome

_MODULES = {
    "text": "modelsum.render.verdict_text",
    "markdown": "modelsum.render.verdict_markdown",
    "json": "modelsum.render.verdict_json",
    "junit": "modelsum.render.verdict_junit",
    "github": "modelsum.render.verdict_github",
    "codequality": "modelsum.render.verdict_codequality",
}
FORMATS: tuple[str, ...] = tuple(_MODULES)


def render_outcome(outcome: Outcome, format: str, *, color: bool = False) -> str:
    """The outcome in one of `FORMATS`, ending with one newline."""
    renderer: Callable[..., str] = import_module(_MODULES[format]).render
    text = renderer(outcome, color) if format == "text" else renderer(outcome)
    return text.rstrip("\n") + "\n"
