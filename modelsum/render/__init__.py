"""Summary -> text, a format a file. Takes a finished value and measures nothing; never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from modelsum.errors import UsageError, valid_words
from modelsum.summary import Summary

__all__ = ["FORMATS", "RenderOptions", "printed", "render"]

# Imported when asked for: what `--format json` does not need, it should not wait for.
_MODULES = {
    "text": "modelsum.render.summary.text",
    "torchsummary": "modelsum.render.summary.torchsummary",
    "json": "modelsum.render.summary.json_",
    "csv": "modelsum.render.summary.csv_",
    "markdown": "modelsum.render.summary.markdown",
}

#: The formats that a summary alone can be rendered in. (torchinfo's own table needs the model as well.)
FORMATS: tuple[str, ...] = tuple(_MODULES)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a summary is displayed. No option changes a figure.

    Attributes:
        depth: layers deeper than this are not displayed; what they cost is added to the row above them.
        width: columns of the terminal; None where there is none, and everything is printed complete.
        color: with ANSI colours.
        torchsummary_batch: the batch size that `torchsummary` displays and sizes for (-1: one sample).
    """

    depth: int | None = None
    width: int | None = None
    color: bool = False
    torchsummary_batch: int = -1


def render(summary: Summary, format: str, options: RenderOptions) -> str:
    """The summary in one of `FORMATS`, ending with one newline.

    Raises:
        UsageError: there is no such format, or the depth is negative.
    """
    if format not in _MODULES:
        raise UsageError(f"unknown format {format!r}", valid_words(format, FORMATS))
    if options.depth is not None and options.depth < 0:
        raise UsageError(f"depth {options.depth} is negative", "0 is the model as a whole, 1 its own parts.")
    renderer: Callable[[Summary, RenderOptions], str] = import_module(_MODULES[format]).render
    return renderer(summary, options).rstrip("\n") + "\n"


# Who renders what `print` shows, by the value's class, and what it takes behind the format.
_PRINTED: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "Summary": ("modelsum.render.render", (RenderOptions(),)),
    "Comparison": ("modelsum.render.comparison.render_comparison", (RenderOptions(),)),
    "Diff": ("modelsum.render.diff.render_diff", (RenderOptions(),)),
    "Outcome": ("modelsum.render.verdict.render_outcome", ()),
    "Fit": ("modelsum.render.fit.render_fit", (None,)),
    "Measurement": ("modelsum.render.measurement.render_measurement", (None,)),
}


def printed(value: object) -> str:
    """What `print` shows of a value (`modelsum.printing`): its text, complete and without colours."""
    renderer, options = _PRINTED[type(value).__name__]
    module, _, function = renderer.rpartition(".")
    text: str = getattr(import_module(module), function)(value, "text", *options)
    return text
