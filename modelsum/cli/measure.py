"""`modelsum measure MODEL`: a real run, with the prediction beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from modelsum import measuring, spec
from modelsum.cli import completion, options, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.option import Word, in_group
from modelsum.cli.progress import Progress
from modelsum.render import FORMATS

_of_run = in_group("Run")


@click.command(
    "measure", cls=Command, short_help="What a real run of a model takes, and the prediction's error."
)
@click.argument("model", metavar="MODEL", shell_complete=completion.models())
@options.call
@_of_run(
    "--device",
    project=True,
    type=Word(("cpu", "cuda"), spec.check_device),
    metavar="cpu|cuda[:N]",
    help="Where it runs.  [default: cuda if there is one, else cpu]",
)
@options.training_step
@_of_run(
    "--no-latency",
    is_flag=True,
    excludes=("min_time",),
    reason="--no-latency takes no time.",
    help="Take no time, only memory.",
)
@_of_run(
    "--min-time",
    type=click.FloatRange(min=0, min_open=True),
    default=measuring.MIN_TIME,
    show_default=True,
    metavar="SECONDS",
    help="Time a forward pass and a training step for so long at least, each.",
)
@result.written(FORMATS["Measurement"])
def command(
    model: str,
    device: str | None,
    no_latency: bool,
    min_time: float,
    format_: str,
    output: Path | None,
    **given: Any,
) -> None:
    """Run MODEL for real: peak memory and time of inference and of a training step, beside the prediction.

    \b
    modelsum measure resnet50 --device cpu --batch 8 --input 3x64x64 --optimizer adam
    modelsum measure transformers/gpt2 --device cuda --amp bf16 --format json

    The model is trained on random weights; nothing is downloaded.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler would tell when it starts and stops
    request = options.request(spec.parse_model(model), given)
    measuring.check_device(device)
    with Progress(f"{request.name}: importing torch") as progress:
        startup.ready(request)
        measured = measuring.run(
            request, device=device, min_time=None if no_latency else min_time, progress=progress
        )
    out.show(measured, format_, output)
