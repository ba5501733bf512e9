"""`modelsum diff A B`: what changed from one model or report to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum.baselines.changes.changes import compare
from modelsum.cli import completion, operands, options, result
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.render import FORMATS


@click.command("diff", cls=Command, short_help="What changed from one model or report to another.")
@click.argument("a", metavar="A", shell_complete=completion.models(files=(".json",)))
@click.argument("b", metavar="B", shell_complete=completion.models(files=(".json",)))
@options.summary
@result.depth("all")
@result.every
@result.written(FORMATS["Diff"])
def command(
    a: str,
    b: str,
    no_cache: bool,
    depth: int | None,
    every: bool,
    format_: str,
    output: Path | None,
    **given: Any,
) -> None:
    """Show what changed from A to B: the totals, the layers, and the biggest cause.

    A and B are each a MODEL, a report file (reports/NAME.json, or what `modelsum show --format json` wrote),
    or REF:NAME, the stored baseline NAME at a git revision. Two reports are compared without importing torch.

    \b
    modelsum diff resnet50,stride_in_1x1=True resnet50
    modelsum diff main:detector nets.detector:build --input 3x640x640
    modelsum diff before.json after.json --format markdown
    modelsum diff HEAD~1:resnet50 HEAD:resnet50

    \b
    A MODEL may have arguments and an input of its own; the options hold for both:
    resnet50,stride_in_1x1=True     constructor arguments
    vit_b_16@3x384x384              its input, @NAME=16:int64 for a keyword
    """
    old, new = operands.reports((a, b), given, cached=not no_cache)
    out.show(compare(old, new, (a, b)), format_, output, depth=depth, every=every)
