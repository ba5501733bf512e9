"""Models by name, the documented ones and those of providers, in every format."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from modelsum.render import RenderOptions
from modelsum.units import count
from modelsum.zoo import Architecture

FORMATS = ("text", "json", "csv", "markdown")

_COLUMNS = ("model", "provider", "family", "input", "documented_table", "options", "source")


@dataclass(frozen=True, slots=True)
class Listing:
    """Models that have a name.

    Attributes:
        architectures: documented ones, family by family.
        with_table: the names of those that have a documented table.
        models: names of other models, by their provider.
        more: providers that are there and have more.
    """

    architectures: Sequence[Architecture] = ()
    with_table: Collection[str] = ()
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    more: Sequence[str] = ()


def render_list(listing: Listing, format: str, options: RenderOptions) -> str:
    """The listing in one of `FORMATS`."""
    if format == "json":
        return _json(listing)
    if format == "csv":
        return _csv(listing)
    lines = _markdown(listing) if format == "markdown" else _text(listing, options)
    return "\n".join(lines) + "\n"


# ---- text


def _text(listing: Listing, options: RenderOptions) -> Iterator[str]:
    bold = ("\033[1m{}\033[0m" if options.color else "{}").format
    paragraphs = [*_families(listing, options, bold), *_of_providers(listing, bold)]
    if listing.more:
        names = ", ".join(f"{name}/" for name in listing.more)
        more = f"More: {names} (`modelsum list {listing.more[0]}/`)"
        paragraphs.append(textwrap.wrap(more, options.width) if options.width else [more])
    for number, lines in enumerate(paragraphs):
        if number:
            yield ""
        yield from lines


def _families(listing: Listing, options: RenderOptions, bold: Any) -> Iterator[list[str]]:
    width = max((len(a.name) for a in listing.architectures), default=0)
    for (family, _), group in groupby(listing.architectures, lambda a: (a.family, a.builder)):
        members = list(group)
        lines = [bold(family)]
        for a in members:
            table = "   documented table" if a.name in listing.with_table else ""
            lines.append(f"  {a.name:<{width}}  {_size(a)}{table}")
        yield [*lines, *_wrapped(f"options: {_shared_options(members)}", options.width)]


def _of_providers(listing: Listing, bold: Any) -> Iterator[list[str]]:
    for provider, names in listing.models.items():
        how_many = f"{count(len(names))} model{'s' if len(names) > 1 else ''}"
        yield [bold(f"{provider} ({how_many})"), *(f"  {provider}/{name}" for name in names)]


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


# ---- the other formats


def _json(listing: Listing) -> str:
    models = [
        {"model": f"{provider}/{name}", "provider": provider, "name": name}
        for provider, names in listing.models.items()
        for name in names
    ]
    entries = [_entry(a, a.name in listing.with_table) for a in listing.architectures]
    value = {"schema_version": 1, "kind": "list", "architectures": entries, "models": models}
    return json.dumps(value, indent=2) + "\n"


def _entry(architecture: Architecture, table: bool) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "family": architecture.family,
        "input": _size(architecture),
        "options": dict(architecture.options),
        "documented_table": table,
        "source": architecture.source,
    }


def _csv(listing: Listing) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for a in listing.architectures:
        entry = _entry(a, a.name in listing.with_table)
        entry["documented_table"] = str(entry["documented_table"]).lower()
        entry["options"] = _shared_options([a])
        writer.writerow({"model": entry.pop("name"), "provider": "documented", **entry})
    for provider, names in listing.models.items():
        writer.writerows({"model": f"{provider}/{name}", "provider": provider} for name in names)
    return out.getvalue()


def _markdown(listing: Listing) -> Iterator[str]:
    if listing.architectures:
        yield from ("| Model | Family | Input | Documented table |", "| :--- | :--- | :--- | :--- |")
        for a in listing.architectures:
            yield f"| {a.name} | {a.family} | {_size(a)} | {'yes' if a.name in listing.with_table else ''} |"
    if listing.models:
        yield from ("| Model | Provider |", "| :--- | :--- |")
        for provider, names in listing.models.items():
            yield from (f"| {provider}/{name} | {provider} |" for name in names)


def _size(architecture: Architecture) -> str:
    return "x".join(map(str, architecture.input_shape))
