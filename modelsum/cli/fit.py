"""`modelsum fit MODEL`: the largest batch that fits into some memory, and ways to fit more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum import arranging, fitting, spec
from modelsum.cli import completion, options, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.progress import Progress
from modelsum.errors import UsageError
from modelsum.memory.fitting.fit import Fit
from modelsum.memory.ranks.arrangements import Arrangements
from modelsum.render import FORMATS

_VERDICT_IS_NO = 1


@click.command("fit", cls=Command, short_help="The largest batch that fits into some memory.")
@click.argument("model", metavar="MODEL", shell_complete=completion.models())
@options.room
@options.of_room(
    "--gpus",
    type=int,
    metavar="N",
    excludes=("mesh", "shard", "reshard", "parallelize"),
    reason="Meshes and ways are what --gpus looks for.",
    help="So many of them share the step: which meshes and ways fit, the cheapest in communication first.",
)
@options.of_room("--train", "of", flag_value="train", default="train", help="A training step.  [default]")
@options.of_room(
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
@options.of_room("--no-ways", is_flag=True, help="Look for no ways to fit more.")
@result.written(FORMATS["Fit"])
def command(
    model: str,
    memory: str | None,
    gpu: str | None,
    gpus: int | None,
    of: str,
    no_ways: bool,
    format_: str,
    output: Path | None,
    **given: Any,
) -> int:
    """Find the largest batch of MODEL that fits, what limits it, and what would let more fit.

    \b
    modelsum fit resnet50 --gpu rtx4090 --optimizer adamw
    modelsum fit transformers/llama --memory 80GiB --seq-len 2048 --amp bf16
    modelsum fit vgg16 --memory 8GiB --batch 64 && python train.py
    modelsum fit transformers/llama --gpus 8 --gpu h100 --param-dtype bf16

    Nothing is run. With --batch the question is whether that batch fits; with --gpus which arrangements of
    them fit with that batch on each data parallel rank (1). The exit code is 0 if it does (or if any does),
    and 1 if not.
    """
    if given["no_batch"]:
        raise UsageError(
            "--no-batch: the batch of such an input cannot be changed",
            "Give the shape of one sample, like --input 3x224x224.",
        )
    batch = given.pop("batch")
    room = fitting.room_for(memory, gpu, given["target"])
    if gpus is not None:
        arranging.check_gpus(gpus, train=of == "train")
        given["mesh"] = f"dp={gpus}"
    request = options.request(spec.parse_model(model), {**given, "batch": None})
    spec.check_batch(batch)
    with Progress(f"{request.name}: importing torch") as progress:
        startup.ready(request)
        fit: Fit | Arrangements
        if gpus is not None:
            fit = arranging.arrange(request, room, gpus, batch=batch, more=not no_ways, progress=progress)
        else:
            fit = fitting.run(
                request, room, train=of == "train", batch=batch, more=not no_ways, progress=progress
            )
    out.show(fit, format_, output)
    return 0 if fit.fits else _VERDICT_IS_NO
