"""`modelsum fit MODEL`: the largest batch that fits into some memory, and ways to fit more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum import fitting, spec
from modelsum.cli import completion, options, project, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.option import in_group
from modelsum.cli.progress import Progress
from modelsum.errors import UsageError
from modelsum.render import FORMATS

_VERDICT_IS_NO = 1

_of_room = in_group("What fits")


def on_a_card(ctx: click.Context, param: click.Parameter, gpu: str | None) -> str | None:
    """A card is one of CUDA's, whatever the project's target is."""
    if gpu is not None and isinstance(ctx, project.Context):
        ctx.project = ctx.project.without("target")
    return gpu


@click.command("fit", cls=Command, short_help="The largest batch that fits into some memory.")
@click.argument("model", metavar="MODEL", shell_complete=completion.models())
@_of_room("--memory", metavar="SIZE", help="Memory to fit into: 24GiB (2**30), 24GB (10**9), 900MiB.")
@_of_room(
    "--gpu",
    metavar="NAME",
    excludes=("memory",),
    is_eager=True,
    callback=on_a_card,
    shell_complete=completion.gpus,
    help="A card to fit into, instead: 'RTX 4090', T4, 'A100 80GB'.",
)
@_of_room("--train", "of", flag_value="train", default="train", help="A training step.  [default]")
@_of_room(
    "--infer",
    "of",
    flag_value="infer",
    excludes=options.OF_TRAINING,
    reason="An inference has no training step.",
    help="An inference alone.",
)
@options.call_of_a_sample
@options.training_step
@options.target
@_of_room("--no-ways", is_flag=True, help="Look for no ways to fit more.")
@result.written(FORMATS["Fit"])
def command(
    model: str,
    memory: str | None,
    gpu: str | None,
    of: str,
    no_ways: bool,
    format_: str,
    output: Path | None,
    debug: bool,
    **given: Any,
) -> int:
    """Find the largest batch of MODEL that fits, what limits it, and what would let more fit.

    \b
    modelsum fit resnet50 --gpu rtx4090 --optimizer adamw
    modelsum fit transformers/llama --memory 80GiB --seq-len 2048 --amp bf16
    modelsum fit vgg16 --memory 8GiB --batch 64 && python train.py

    Nothing is run. With --batch the question is whether that batch fits. The exit code is 0 if it does (or
    if any batch fits), and 1 if not.
    """
    if given["no_batch"]:
        raise UsageError(
            "--no-batch: the batch of such an input cannot be changed",
            "Give the shape of one sample, like --input 3x224x224.",
        )
    batch = given.pop("batch")
    room = fitting.room_for(memory, gpu, given["target"])
    request = options.request(spec.parse_model(model), {**given, "batch": None})
    spec.check_batch(batch)
    with Progress(f"{request.name}: importing torch") as progress:
        startup.ready(request)
        fit = fitting.run(
            request, room, train=of == "train", batch=batch, more=not no_ways, progress=progress
        )
    out.show(fit, format_, output)
    return 0 if fit.fits else _VERDICT_IS_NO
