"""`modelsum compare A B ...`: models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum.baselines.comparison import compare_models
from modelsum.cli import completion, operands, options, result
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.errors import UsageError
from modelsum.render import FORMATS


@click.command("compare", cls=Command, short_help="Models side by side.")
@click.argument(
    "models",
    nargs=-1,
    required=True,
    metavar="MODEL MODEL...",
    shell_complete=completion.models(files=(".json",)),
)
@options.summary
@result.written(FORMATS["Comparison"])
def command(
    models: tuple[str, ...],
    no_cache: bool,
    format_: str,
    output: Path | None,
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
    reports = operands.reports(models, given, cached=not no_cache)
    out.show(compare_models(models, reports), format_, output)
