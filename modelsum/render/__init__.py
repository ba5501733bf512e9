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
_GATE = ("text", "markdown", "json", "junit", "github", "codequality", "sarif", "html")

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
    "Outcome": _GATE,
    "Fit": (*_TABLE, "html"),
    "Generation": (*_TABLE, "html"),
    "Measurement": _TABLE,
    "Weights": _TABLE,
    "Listing": _TABLE,
    "Sweep": (*_TABLE, "html"),
}

# Where their renderers are: a function a format in a module, or in a package a module a format, which is
# imported when asked for: what `--format json` does not need, it should not wait for. Markdown is laid out
# from the value's document, as a notebook is.
_HOMES = {
    "Summary": "summary.{}.render",
    "Comparison": "comparison.{}.render",
    "Diff": "diff.{}.render",
    "Outcome": "verdict.{}.render",
    "Fit": "fit.{}",
    "Generation": "generation.{}",
    "Measurement": "measurement.{}",
    "Weights": "weights.{}",
    "Listing": "listing.{}",
    "Sweep": "sweep.{}",
}


_DOCUMENTS = {
    "Summary": "summary.document.document",
    "Comparison": "comparison.document.document",
    "Diff": "diff.document.document",
    "Fit": "fit.document",
    "Generation": "generation.document",
    "Measurement": "measurement.document",
    "Weights": "weights.document",
    "Listing": "listing.document",
    "Sweep": "sweep.document",
}


_PAGES = {
    "Summary": "page.summary.page",
    "Comparison": "page.comparison.page",
    "Diff": "page.diff.page",
    "Outcome": "page.verdict.page",
    "Fit": "page.fit.page",
    "Generation": "page.generation.page",
    "Sweep": "page.sweep.page",
}


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
    if format == "json" and hasattr(value, "to_dict"):
        return json.dumps(value.to_dict(), indent=2) + "\n"
    if format == "markdown" and kind in _DOCUMENTS:
        from modelsum.render.document import markdown

        return markdown(_found(_DOCUMENTS[kind])(value, options)).rstrip("\n") + "\n"
    if format == "html":
        from modelsum.render.page import html

        return html(_found(_PAGES[kind])(value, options)).rstrip("\n") + "\n"
    renderer: Callable[[Any, RenderOptions], str] = _found(_HOMES[kind].format(format))
    return renderer(value, options).rstrip("\n") + "\n"


def fragment(value: Any) -> str | None:
    """The value as HTML without scripts, for a notebook; None where there is nothing but its text."""
    kind = type(value).__name__
    if kind not in _DOCUMENTS:
        return None
    from modelsum.render.document import html

    return html(_found(_DOCUMENTS[kind])(value, _PLAIN))


def frame(value: Any, library: str | None = None) -> Any:
    """The layers of a summary as a table of pandas or polars. Raises UsageError."""
    return import_module("modelsum.render.summary.frame").frame(value, library)


def _found(place: str) -> Callable[[Any, RenderOptions], Any]:
    module, _, function = f"modelsum.render.{place}".rpartition(".")
    found: Callable[[Any, RenderOptions], Any] = getattr(import_module(module), function)
    return found
