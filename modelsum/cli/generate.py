"""`modelsum generate MODEL`: what writing a text takes, and how much of it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum import generating, spec
from modelsum.cli import completion, options, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.option import in_group
from modelsum.cli.progress import Progress
from modelsum.generation_values import Serving
from modelsum.render import FORMATS

_VERDICT_IS_NO = 1

_of_text = in_group("Text")


@click.command("generate", cls=Command, short_help="What a language model takes that writes.")
@click.argument("model", metavar="MODEL", shell_complete=completion.models(files=spec.MODEL_SUFFIXES))
@options.text
@_of_text("--batch", type=int, default=1, show_default=True, metavar="N", help="Sequences at once.")
@options.room
@options.built
@options.kernels
@options.target
@result.written(FORMATS["Generation"])
def command(
    model: str,
    memory: str | None,
    gpu: str | None,
    format_: str,
    output: Path | None,
    **given: Any,
) -> int:
    """Say what MODEL takes when it writes: weights, cache, the peaks of prefill and of a decode step.

    \b
    modelsum generate ./llama-8b --prompt 8192 --new 512 --gpu h100
    modelsum generate hf:org/name --weights awq --cache paged:16 --batch 32 --memory 24GiB
    modelsum generate transformers/mistral --prompt 32768 --format json

    The model's own code runs on shapes with the cache that transformers makes for it; no weights are needed.
    With --memory or --gpu it also says the longest context and the most sequences that fit, and the exit code
    is 1 where the text does not.
    """
    room = generating.room_for(memory, gpu, given["target"])
    request = options.request(spec.parse_model(model), given)
    serving = request.serving or Serving(batch=given["batch"])
    startup.ready(request)
    with Progress() as progress:
        generation = generating.run(request, serving, room, progress=progress)
    out.show(generation, format_, output)
    return _VERDICT_IS_NO if generation.fits is False else 0
