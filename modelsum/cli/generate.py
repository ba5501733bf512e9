"""`modelsum generate MODEL`: what writing a text takes, and how much of it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelsum import generating, generation_values, spec
from modelsum.cli import completion, options, result, startup
from modelsum.cli import output as out
from modelsum.cli.command import Command
from modelsum.cli.fit import on_a_card
from modelsum.cli.option import Word, in_group
from modelsum.cli.progress import Progress
from modelsum.generation_values import Serving
from modelsum.render import FORMATS

_VERDICT_IS_NO = 1

_of_text = in_group("Text")
_of_room = in_group("What fits")
_USUAL = Serving()


@click.command("generate", cls=Command, short_help="What a language model takes that writes.")
@click.argument("model", metavar="MODEL", shell_complete=completion.models(files=spec.MODEL_SUFFIXES))
@_of_text(
    "--prompt", type=int, default=_USUAL.prompt, show_default=True, metavar="N", help="Tokens at the start."
)
@_of_text(
    "--new", type=int, default=_USUAL.new, show_default=True, metavar="N", help="Tokens that are written."
)
@_of_text(
    "--batch", type=int, default=_USUAL.batch, show_default=True, metavar="N", help="Sequences at once."
)
@_of_text(
    "--cache",
    default=_USUAL.cache,
    show_default=True,
    metavar="|".join(generation_values.CACHES),
    help="Of transformers: growing, or of full length; in blocks as servers have it; quantized.",
)
@_of_text(
    "--kv-dtype",
    type=Word(generation_values.KV_DTYPES),
    help="Of what a cache keeps.  [default: the model's]",
)
@_of_text("--weights", type=Word(generation_values.WEIGHTS), help="Their format.  [default: as configured]")
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
@options.built
@options.attention
@options.target
@result.written(FORMATS["Generation"])
def command(
    model: str,
    prompt: int,
    new: int,
    batch: int,
    cache: str,
    kv_dtype: str | None,
    weights: str | None,
    memory: str | None,
    gpu: str | None,
    format_: str,
    output: Path | None,
    debug: bool,
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
    serving = Serving(prompt, new, batch, cache, kv_dtype, weights)
    room = generating.room_for(memory, gpu, given["target"])
    request = options.request(spec.parse_model(model), given)
    startup.ready(request)
    with Progress() as progress:
        generation = generating.run(request, serving, room, progress=progress)
    out.show(generation, format_, output)
    return _VERDICT_IS_NO if generation.fits is False else 0
