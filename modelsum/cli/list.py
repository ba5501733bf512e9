"""`modelsum list [PATTERN]`: the documented architectures. Does not import torch."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import click

from modelsum import zoo
from modelsum.baselines.documented import documented_names
from modelsum.cli import output as out
from modelsum.errors import UnknownModelError, did_you_mean
from modelsum.render.listing import FORMATS, render_list


@click.command("list", short_help="The documented architectures.")
@click.argument("pattern", required=False, metavar="[PATTERN]")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(pattern: str | None, format_: str, output: Path | None, debug: bool) -> None:
    """List the documented names with family, default input, options and whether a stored table exists.

    PATTERN is a part of a name or family, or has * and ?: 'resnet', 'mobilenet*'.
    """
    chosen = [a for a in zoo.ARCHITECTURES.values() if pattern is None or _matches(pattern, a)]
    if not chosen:
        families = {a.family for a in zoo.ARCHITECTURES.values()}
        hint = (
            did_you_mean(str(pattern), [*zoo.ARCHITECTURES, *families])
            or f"Families are {', '.join(sorted(families))}."
        )
        raise UnknownModelError(f"no documented name matches {pattern!r}", hint)
    out.check(output)
    options = out.options(None, -1, output)
    out.write(render_list(chosen, documented_names(), format_, options), output)


def _matches(pattern: str, architecture: zoo.Architecture) -> bool:
    wanted = pattern.lower()
    names = (architecture.name, architecture.family.lower())
    if any(char in wanted for char in "*?["):
        return any(fnmatch.fnmatchcase(name, wanted) for name in names)
    return any(wanted in name for name in names)
