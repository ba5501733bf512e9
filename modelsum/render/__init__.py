"""Values -> text, a format at a time. Takes a finished value and measures nothing; never imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from modelsum.errors import UsageError, valid_words

__all__ = ["FORMATS", "MOMENTS", "SORTS", "RenderOptions", "fragment", "frame", "render"]

_TABLE = ("text", "json", "csv", "markdown")

#: The figures that rows of layers can be sorted by, the costliest first.
SORTS = ("params", "macs", "saved", "peak")

#: Moments of a step that the format `trace` is asked for with: every one.
MOMENTS = 10_000_000

#: The formats of a value, by its class; the first is what `print` shows.
#: (torchinfo's own table of a summary needs the model as well.)
FORMATS: Mapping[str, tuple[str, ...]] = {
    "Summary": ("text", "torchsummary", "json", "csv", "markdown", "html", "trace", "speedscope"),
    "Comparison": (*_TABLE, "html"),
    "Diff": (*_TABLE, "html"),
    "Outcome": ("text", "markdown", "json", "junit", "github", "codequality", "sarif", "html"),
    "Fit": (*_TABLE, "html"),
    "Arrangements": (*_TABLE, "html"),
    "Generation": (*_TABLE, "html"),
    "Measurement": _TABLE,
    "Weights": _TABLE,
    "Listing": _TABLE,
    "Sweep": (*_TABLE, "html"),
}

# Where their renderers are: a module a format with a function `render`, imported when asked for, as what JSON
# does not need, it should not wait for; where all are short, a function a format in one module. Each takes
# the value and the options, and returns the text or its lines: for CSV the header and the rows, for JSON the
# values of what has no `to_dict`, for "document" the blocks of Markdown and of notebooks. Pages are in
# `page`.
_HOMES = {
    "Summary": "summary",
    "Comparison": "comparison",
    "Diff": "diff",
    "Outcome": "verdict",
    "Fit": "fit",
    "Arrangements": "arrangements",
    "Generation": "generation",
    "Measurement": "measurement",
    "Weights": "weights",
    "Listing": "listing",
    "Sweep": "sweep",
}
_A_MODULE_A_FORMAT = ("Summary", "Comparison", "Diff", "Outcome")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a value is displayed. No option changes a figure.

    Attributes:
        depth: layers deeper than this are not displayed; what they cost is added to the row above them. None
            for as many levels as a screen has room for; in CSV, and of a diff, for all.
        every: of equal blocks each is displayed, and, where there is no depth, every level.
        top: so many rows of layers, those that cost most.
        sort: the figure, of `SORTS`, that the rows are sorted by.
        width: columns of the terminal; None where there is none, and everything is printed complete.
        color: with ANSI colours.
        torchsummary_batch: the batch size that `torchsummary` displays and sizes for (-1: one sample).
    """

    depth: int | None = None
    every: bool = False
    top: int | None = None
    sort: str | None = None
    width: int | None = None
    color: bool = False
    torchsummary_batch: int = -1


_PLAIN = RenderOptions()


def render(value: Any, format: str = "text", options: RenderOptions = _PLAIN) -> str:
    """The value in one of the `FORMATS` of its class, ending with one newline.

    Raises:
        UsageError: it has no such format, or an option makes no sense in it.
    """
    kind = type(value).__name__
    if format not in FORMATS[kind]:
        if format in (*FORMATS["Summary"], "torchinfo"):
            what = f"format {format!r} shows layers of a forward pass, which is not the answer here"
            raise UsageError(what, f"Valid are {', '.join(FORMATS[kind][:-1])} and {FORMATS[kind][-1]}.")
        raise UsageError(f"unknown format {format!r}", valid_words(format, FORMATS[kind]))
    if options.depth is not None and options.depth < 0:
        raise UsageError(f"depth {options.depth} is negative", "0 is the model as a whole, 1 its own parts.")
    if (options.top or options.sort) and (kind != "Summary" or format not in ("text", "markdown")):
        raise UsageError(
            f"--top and --sort choose rows of a table, and format {format!r} has all of them in their order",
            "They go with the formats text and markdown of one model.",
        )
    if format == "csv" and kind != "Sweep":
        from modelsum.render.layout import csv_text

        text = csv_text(_renderer(kind, format)(value, options))
    elif format == "json":
        values = value.to_dict() if hasattr(value, "to_dict") else _renderer(kind, format)(value, options)
        text = json.dumps(values, indent=2)
    elif format == "markdown" and kind != "Outcome":
        from modelsum.render.document import markdown

        text = markdown(_renderer(kind, "document")(value, options))
    elif format == "html":
        from modelsum.render.page import html

        text = html(import_module(f"{__name__}.page.{_HOMES[kind]}").page(value, options))
    else:
        made = _renderer(kind, format)(value, options)
        text = made if isinstance(made, str) else "\n".join(made)
    return text.rstrip("\n") + "\n"


def fragment(value: Any) -> str | None:
    """The value as HTML without scripts, for a notebook; None where there is nothing but its text."""
    kind = type(value).__name__
    if kind == "Outcome":
        return None
    from modelsum.render.document import html

    return html(_renderer(kind, "document")(value, _PLAIN))


def frame(value: Any, library: str | None = None) -> Any:
    """The layers of a summary as a table of pandas or polars. Raises UsageError."""
    return import_module("modelsum.render.summary.frame").frame(value, library)


def _renderer(kind: str, format: str) -> Callable[[Any, RenderOptions], Any]:
    home, function = f"{__name__}.{_HOMES[kind]}", format
    if kind in _A_MODULE_A_FORMAT:
        home, function = f"{home}.{format}", "render"
    renderer: Callable[[Any, RenderOptions], Any] = getattr(import_module(home), function)
    return renderer
