"""`modelsum list [PATTERN]`: the models that have a name. Does not import torch, nor any provider."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path

import click

from modelsum import zoo
from modelsum.baselines.documented import documented_names
from modelsum.cli import completion, result
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.progress import Progress
from modelsum.errors import UnknownModelError, did_you_mean
from modelsum.render import FORMATS
from modelsum.render.listing import Listing
from modelsum.sources import catalogue
from modelsum.sources.documented import source as documented


@click.command("list", cls=Command, short_help="The models that have a name.")
@click.argument("pattern", required=False, metavar="[PATTERN]", shell_complete=completion.names)
@result.written(FORMATS["Listing"])
def command(pattern: str | None, format_: str, output: Path | None) -> None:
    """List the documented names with family, default input, options and whether a stored table exists.

    \b
    modelsum list
    modelsum list 'mobilenet*'
    modelsum list timm/
    modelsum list 'timm/*vit*'

    PATTERN is a part of a name or family, or has * and ?. After a provider and a slash it is one of its
    models: timm/, torchvision/, transformers/. What no documented name matches is looked for in all that are
    installed.
    """
    with Progress("looking for names"):
        found = _found(pattern or "")
    out.show(found, format_, output)


def _found(pattern: str) -> Listing:
    """Everything that a pattern matches. Raises UnknownModelError where that is nothing."""
    provider, slash, rest = pattern.partition("/")
    slash = slash or ("/" if provider in catalogue.PACKAGES else "")
    if slash and provider != documented.name:
        known = catalogue.names(provider)
        if not (names := _matching(rest, known)):
            hint = did_you_mean(rest, known) or f"`modelsum list {provider}/` shows all {len(known):,}."
            raise UnknownModelError(f"{provider} has no model that matches {rest!r}", hint)
        return Listing(models={provider: names})
    wanted = rest if slash else pattern
    there = catalogue.there()
    architectures = [a for a in zoo.ARCHITECTURES.values() if _matching(wanted, (a.name, a.family))]
    if architectures:
        return Listing(architectures, documented_names(), more=there)
    by_provider = {} if slash else {p: _matching(wanted, catalogue.names(p)) for p in there}
    if not any(by_provider.values()):
        families = dict.fromkeys(a.family for a in zoo.ARCHITECTURES.values())
        others = f", nor one of {', '.join(there)}" if by_provider else ""
        raise UnknownModelError(
            f"no documented name matches {wanted!r}{others}",
            did_you_mean(wanted, [*zoo.ARCHITECTURES, *families, *(f"{p}/" for p in catalogue.PACKAGES)])
            or f"Families are {', '.join(families)}.",
        )
    return Listing(models={provider: names for provider, names in by_provider.items() if names})


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches, whole, or has a part of; in any case."""
    wanted = pattern.lower()
    if any(char in wanted for char in "*?["):
        return [name for name in names if fnmatch.fnmatchcase(name.lower(), wanted)]
    return [name for name in names if wanted in name.lower()]
