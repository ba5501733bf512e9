"""Outcome of `modelsum check` -> text, a format a file. Takes a finished value; never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Outcome

_MODULES = {
    "text": "modelsum.render.verdict.text",
    "markdown": "modelsum.render.verdict.markdown",
    "json": "modelsum.render.verdict.json_",
    "junit": "modelsum.render.verdict.junit",
    "github": "modelsum.render.verdict.github",
    "codequality": "modelsum.render.verdict.codequality",
    "sarif": "modelsum.render.verdict.sarif",
}
FORMATS: tuple[str, ...] = tuple(_MODULES)


def render_outcome(outcome: Outcome, format: str, *, color: bool = False) -> str:
    """The outcome in one of `FORMATS`, ending with one newline."""
    renderer: Callable[..., str] = import_module(_MODULES[format]).render
    text = renderer(outcome, color) if format == "text" else renderer(outcome)
    return text.rstrip("\n") + "\n"
