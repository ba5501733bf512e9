"""Values -> text, a format at a time. Takes a finished value and measures nothing; never imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from modelsum.errors import UsageError, valid_words

__all__ = ["FORMATS", "RenderOptions", "render"]

_TABLE = ("text", "json", "csv", "markdown")
_GATE = ("text", "markdown", "json", "junit", "github", "codequality", "sarif")

#: The formats of a value, by its class; the first is what `print` shows.
#: (torchinfo's own table of a summary needs the model as well.)
FORMATS: Mapping[str, tuple[str, ...]] = {
    "Summary": ("text", "torchsummary", "json", "csv", "markdown"),
    "Comparison": _TABLE,
    "Diff": _TABLE,
    "Outcome": _GATE,
    "Fit": _TABLE,
    "Measurement": _TABLE,
    "Weights": _TABLE,
    "Listing": _TABLE,
}

# Where their renderers are: a function a format in a module, or in a package a module a format, which is
# imported when asked for: what `--format json` does not need, it should not wait for.
_HOMES = {
    "Summary": "summary.{}.render",
    "Comparison": "comparison.{}.render",
    "Diff": "diff.{}.render",
    "Outcome": "verdict.{}.render",
    "Fit": "fit.{}",
    "Measurement": "measurement.{}",
    "Weights": "weights.{}",
    "Listing": "listing.{}",
}


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How a value is displayed. No option changes a figure.

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


_PLAIN = RenderOptions()


def render(value: Any, format: str = "text", options: RenderOptions = _PLAIN) -> str:
    """The value in one of the `FORMATS` of its class, ending with one newline.

    Raises:
        UsageError: it has no such format, or the depth is negative.
    """
    kind = type(value).__name__
    if format not in FORMATS[kind]:
        if format in (*FORMATS["Summary"], "torchinfo"):
            what = f"format {format!r} shows layers of a forward pass, which is not the answer here"
            raise UsageError(what, f"Valid are {', '.join(FORMATS[kind][:-1])} and {FORMATS[kind][-1]}.")
        raise UsageError(f"unknown format {format!r}", valid_words(format, FORMATS[kind]))
    if options.depth is not None and options.depth < 0:
        raise UsageError(f"depth {options.depth} is negative", "0 is the model as a whole, 1 its own parts.")
    if format == "json" and hasattr(value, "to_dict"):
        return json.dumps(value.to_dict(), indent=2) + "\n"
    module, _, function = f"modelsum.render.{_HOMES[kind].format(format)}".rpartition(".")
    renderer: Callable[[Any, RenderOptions], str] = getattr(import_module(module), function)
    return renderer(value, options).rstrip("\n") + "\n"
