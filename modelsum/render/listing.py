"""Models by name, the documented ones and those of providers, a function a format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from modelsum.render import RenderOptions
from modelsum.render.document import Block, Table
from modelsum.render.layout import Cells, painted, wrapped
from modelsum.summary import SCHEMA_VERSION
from modelsum.units import count
from modelsum.zoo import Architecture

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

    def to_dict(self) -> dict[str, Any]:
        """The listing as JSON values, schema version 1."""
        models = [
            {"model": f"{provider}/{name}", "provider": provider, "name": name}
            for provider, names in self.models.items()
            for name in names
        ]
        entries = [_entry(a, a.name in self.with_table) for a in self.architectures]
        return {"schema_version": SCHEMA_VERSION, "kind": "list", "architectures": entries, "models": models}


def _entry(architecture: Architecture, table: bool) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "family": architecture.family,
        "input": _size(architecture),
        "options": dict(architecture.options),
        "documented_table": table,
        "source": architecture.source,
    }


def text(listing: Listing, options: RenderOptions) -> str:
    """A paragraph a family or provider."""
    bold = "bold" if options.color else ""
    paragraphs = [*_families(listing, options.width, bold), *_of_providers(listing, bold)]
    if listing.more:
        names = ", ".join(f"{name}/" for name in listing.more)
        paragraphs.append(wrapped(f"More: {names} (`modelsum list {listing.more[0]}/`)", options.width))
    return "\n\n".join("\n".join(lines) for lines in paragraphs)


def _families(listing: Listing, width: int | None, bold: str) -> Iterator[list[str]]:
    names = max((len(a.name) for a in listing.architectures), default=0)
    for (family, _), group in groupby(listing.architectures, lambda a: (a.family, a.builder)):
        members = list(group)
        lines = [painted(family, bold)]
        for a in members:
            table = "   documented table" if a.name in listing.with_table else ""
            lines.append(f"  {a.name:<{names}}  {_size(a)}{table}")
        yield [*lines, *wrapped(f"options: {_shared_options(members)}", width, 11, first=2)]


def _of_providers(listing: Listing, bold: str) -> Iterator[list[str]]:
    for provider, names in listing.models.items():
        how_many = f"{count(len(names))} model{'s' if len(names) > 1 else ''}"
        yield [painted(f"{provider} ({how_many})", bold), *(f"  {provider}/{name}" for name in names)]


def _shared_options(members: Sequence[Architecture]) -> str:
    """The options of a group: with the default where all members have the same, else by name alone."""
    texts = []
    for option in members[0].options:
        values = {repr(a.options[option]) for a in members if option in a.options}
        texts.append(f"{option}={values.pop()}" if len(values) == 1 else option)
    return ", ".join(texts) or "none"


def document(listing: Listing, options: RenderOptions) -> Iterator[Block]:
    """A table of the documented ones, and one of the others."""
    if listing.architectures:
        rows = [
            (a.name, a.family, _size(a), "yes" if a.name in listing.with_table else "")
            for a in listing.architectures
        ]
        yield Table(("Model", "Family", "Input", "Documented table"), "llll", rows)
    if listing.models:
        models = [
            (f"{provider}/{name}", provider) for provider, names in listing.models.items() for name in names
        ]
        yield Table(("Model", "Provider"), "ll", models)


def csv(listing: Listing, options: RenderOptions) -> Iterator[Cells]:
    """A row a model."""
    yield _COLUMNS
    for a in listing.architectures:
        entry = _entry(a, a.name in listing.with_table) | {"options": _shared_options([a])}
        yield {"model": a.name, "provider": "documented", **entry}
    for provider, names in listing.models.items():
        yield from ({"model": f"{provider}/{name}", "provider": provider} for name in names)


def _size(architecture: Architecture) -> str:
    return "x".join(map(str, architecture.input_shape))
