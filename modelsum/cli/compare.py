"""`modelsum compare A B ...`: models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum.baselines.comparison import compare_models
from modelsum.cli import operands, options
from modelsum.cli import output as out
from modelsum.errors import UsageError
from modelsum.render.comparison import FORMATS, render_comparison


@click.command("compare", short_help="Models side by side.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL...")
@options.call
@options.mode
@options.device
@options.training_step
@options.target
@click.option("--no-memory", is_flag=True, help="Predict no memory.")
@options.no_cache
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(
    models: tuple[str, ...],
    no_memory: bool,
    no_cache: bool,
    format_: str,
    output: Path | None,
    debug: bool,
    **given: Any,
) -> None:
    """Show what several models cost, one column a model, with the ratio to the first.

    \b
    modelsum compare mobilenet_v2 squeezenet1_0
    modelsum compare resnet50 timm/convnext_tiny transformers/vit --batch 32
    modelsum compare vit_b_16@3x224x224 vit_b_16,image_size=384@3x384x384

    \b
    The options hold for all models; one may have arguments and an input of its own:
    resnet50,num_classes=10         constructor arguments
    resnet50@3x600x600              its input, @NAME=16:int64 for a keyword

    A model may also be a report: a file that `modelsum show --format json` wrote, or REF:NAME, the stored
    baseline NAME at a git revision.
    """
    if len(models) < 2:
        raise UsageError(
            f"{models[0]} is only one model", f"Name another, or `modelsum show {models[0]}` it."
        )
    out.check(output)
    read = [operands.parse(text, Path.cwd()) for text in models]
    reports = operands.reports(read, given, memory=not no_memory, cached=not no_cache)
    place = out.options(None, -1, output)
    out.write(render_comparison(compare_models(models, reports), format_, place), output)
