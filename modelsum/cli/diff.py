"""`modelsum diff A B`: what changed from one model or report to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum.baselines.changes.changes import compare
from modelsum.cli import operands, options
from modelsum.cli import output as out
from modelsum.render.diff import FORMATS, render_diff


@click.command("diff", short_help="What changed from one model or report to another.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@options.call
@options.mode
@options.device
@options.training_step
@options.target
@click.option("--no-memory", is_flag=True, help="Predict no memory.")
@options.no_cache
@click.option(
    "--depth", type=click.IntRange(min=0), metavar="N", help="Deepest level of layers shown.  [default: all]"
)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(
    a: str,
    b: str,
    no_memory: bool,
    no_cache: bool,
    depth: int | None,
    format_: str,
    output: Path | None,
    debug: bool,
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
    out.check(output)
    read = [operands.parse(text, Path.cwd()) for text in (a, b)]
    old, new = operands.reports(read, given, memory=not no_memory, cached=not no_cache)
    place = out.options(depth, -1, output)
    out.write(render_diff(compare(old, new), (a, b), format_, place), output)
