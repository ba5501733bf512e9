"""The documented architectures as text, a family a paragraph, or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any

from modelsum.render import RenderOptions
from modelsum.zoo import Architecture

FORMATS = ("text", "json")


def render_list(
    architectures: Sequence[Architecture], with_table: Collection[str], format: str, options: RenderOptions
) -> str:
    """The list of architectures; `with_table` are the names that have a documented table."""
    if format == "json":
        entries = [_entry(a, a.name in with_table) for a in architectures]
        return json.dumps({"schema_version": 1, "kind": "list", "architectures": entries}, indent=2) + "\n"
    return "\n".join(_lines(architectures, with_table, options)) + "\n"


def _entry(architecture: Architecture, table: bool) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "family": architecture.family,
        "input": "x".join(map(str, architecture.input_shape)),
        "options": dict(architecture.options),
        "documented_table": table,
        "source": architecture.source,
    }


def _lines(
    architectures: Sequence[Architecture], with_table: Collection[str], options: RenderOptions
) -> Iterator[str]:
    bold = ("\033[1m{}\033[0m" if options.color else "{}").format
    width = max(len(a.name) for a in architectures)
    for number, ((family, _), group) in enumerate(groupby(architectures, lambda a: (a.family, a.builder))):
        members = list(group)
        if number:
            yield ""
        yield bold(family)
        for a in members:
            size = "x".join(map(str, a.input_shape))
            table = "   documented table" if a.name in with_table else ""
            yield f"  {a.name:<{width}}  {size}{table}"
        yield from _wrapped(f"options: {_shared_options(members)}", options.width)


def _shared_options(members: Sequence[Architecture]) -> str:
    """The options of a group: with the default where all members have the same, else by name alone."""
    texts = []
    for option in members[0].options:
        values = {repr(a.options[option]) for a in members if option in a.options}
        texts.append(f"{option}={values.pop()}" if len(values) == 1 else option)
    return ", ".join(texts) or "none"


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [f"  {text}"]
    return textwrap.wrap(
        text,
        width,
        initial_indent="  ",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )
