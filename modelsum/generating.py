"""`generate`: a language model, a prompt and a cache -> what writing takes, and how much of it fits."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from modelsum import fitting
from modelsum.errors import InputError, UsageError
from modelsum.generation_values import Generation, Room, Serving
from modelsum.memory.fitting import cards
from modelsum.memory.fitting.search import largest
from modelsum.preparing import built
from modelsum.request import Request, request_of
from modelsum.spec import ModelSpec
from modelsum.units import count
from modelsum.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from modelsum.generation.steps import Generator

#: The task where none is named.
TASK = "generation"
#: Names that configurations have for the positions that a model knows.
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_sequence_length",
    "n_ctx",
)


def generate(
    model: nn.Module | str,
    *,
    prompt: int = 1024,
    new: int = 256,
    batch: int = 1,
    cache: str = "dynamic",
    kv_dtype: str | None = None,
    weights: str | None = None,
    memory: int | str | None = None,
    gpu: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    task: str | None = None,
    fetch: bool = False,
    target: str = "cuda",
    attention: str = "auto",
) -> Generation:
    """Say what writing a text takes, from shapes: the model's own code runs with the library's own cache.

        >>> generate("hf:org/name", prompt=8192, new=512, gpu="h100").longest_context  # doctest: +SKIP
        131072

    Args:
        model: a class of transformers that generates, or any MODEL string that stands for one.
        prompt, new, batch, cache, kv_dtype, weights: as in `modelsum.generation_values.Serving`.
        memory: bytes or a size like "24GiB" to fit into; or `gpu`, a card. Then the longest context and the
            most sequences are looked for.
        model_args, dtype, task, fetch: as in `modelsum.summarize`; the task is "generation" by default.
        target: "cuda" or "cpu".
        attention: which kernel of scaled_dot_product_attention runs.

    Raises:
        UsageError: the words are wrong, the model writes no text, or takes no such cache or format.
        ModelError: the model could not be built, or its passes fail on the meta device.
    """
    serving = Serving(prompt, new, batch, cache, kv_dtype, weights)
    request = request_of(
        model, model_args=model_args, dtype=dtype, task=task, fetch=fetch, target=target, attention=attention
    )
    return run(request, serving, room_for(memory, gpu, target))


def room_for(memory: int | str | None, gpu: str | None, target: str = "cuda") -> Room | None:
    """The room that was given as a size or as a card, None for neither. Raises UsageError."""
    if memory is None and gpu is None:
        return None
    found = fitting.room_for(memory, gpu, target)
    return Room(found.words, found.bytes, cards.find(gpu).bandwidth if gpu is not None else None)


def run(
    request: Request,
    serving: Serving,
    room: Room | None = None,
    *,
    progress: Callable[[str], None] = lambda doing: None,
) -> Generation:
    """Follow a generation; the request's batch, mode and device do not matter. Raises as `generate`."""
    import torch

    if request.inputs or request.inputs_from or request.example or request.sequence_length:
        raise InputError("an input is given, but a generation begins with a prompt", "Give --prompt N.")
    if isinstance(request.model, ModelSpec) and request.task is None and request.model.attribute is None:
        request = replace(request, task=TASK)
    progress("building the model")
    ready = built(replace(request, device="meta"), torch.device("meta"))
    try:
        from modelsum.generation.quantizing import store
        from modelsum.generation.steps import Generator
    except ImportError as error:
        raise UsageError(
            f"generations are those of transformers: {error}",
            "Install it with: pip install 'modelsum[transformers]'",
        ) from error
    attention = request.memory.attention if request.memory else "auto"
    generator = Generator(ready.loaded, request.target, attention)
    stored, notices = store(generator.model, serving.weights)
    progress("reading the prompt")
    prefill = generator.prefill(serving)
    progress("writing a token")
    decode = generator.decode(serving)
    cached = generator.cache_bytes(serving)
    growing = _growth(generator, serving, cached)
    positions = positions_of(generator.model)
    if room is not None:
        first = prefill.phase.need_bytes >= decode.phase.need_bytes
        room = _filled(generator, serving, room, positions, first, progress)
    return Generation(
        model=ready.identity,
        dtype=str(generator.model.dtype).removeprefix("torch."),
        target=request.target,
        serving=serving,
        positions=positions,
        weights=stored,
        cache_bytes=cached,
        cache_bytes_per_token=growing,
        cache_state_bytes=max(cached // serving.batch - growing * serving.cached, 0),
        prefill=prefill.phase,
        decode=decode.phase,
        room=room,
        assumptions=_assumptions(serving, prefill.attention, decode.attention),
        unmeasured={**prefill.unmeasured, **decode.unmeasured},
        notices=(*ready.notices, *notices, *_of_positions(generator.model, serving, positions)),
        predictions=generator.passes,
        made_with={
            "modelsum": __version__,
            "torch": str(torch.__version__),
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    )


def _growth(generator: Generator, serving: Serving, cached: int) -> int:
    """Bytes by which the cache of one sequence grows with a token; of blocks and groups, with many."""
    kind, _, detail = serving.cache.partition(":")
    more = int(detail) if kind == "paged" else 128 if kind == "quantized" else 1
    longer = replace(serving, new=max(serving.new, 2) + more)
    return (generator.cache_bytes(longer) - cached) // (more * serving.batch)


def _filled(
    generator: Generator,
    serving: Serving,
    room: Room,
    positions: int | None,
    in_prefill: bool,
    progress: Callable[[str], None],
) -> Room:
    """How much of the room can be filled: each length and batch that is looked at is followed.

    `in_prefill`: the prefill needs more than a decode step, with the text that was asked for.
    """

    def need(changed: Serving) -> int:
        """Of both passes; of the one that needs more at first alone, where that is more than there is."""
        nbytes = 0
        for follow in passes:
            nbytes = max(nbytes, follow(changed, counted=False).phase.need_bytes)
            if nbytes > room.bytes:
                break
        return nbytes

    def of_context(tokens: int) -> int:
        progress(f"a context of {tokens}")
        prompt = max(tokens - serving.new, 1)
        return need(replace(serving, prompt=prompt, new=tokens - prompt))

    def of_batch(batch: int) -> int:
        progress(f"{batch} sequences")
        return need(replace(serving, batch=batch))

    passes = (generator.prefill, generator.decode) if in_prefill else (generator.decode, generator.prefill)
    sequences = largest(of_batch, room.bytes, near=serving.batch)
    if positions is not None and positions > 1 and of_context(positions) <= room.bytes:
        return replace(room, longest_context=positions, context_limit="positions", most_sequences=sequences)
    near = min(serving.context, positions or serving.context) // STEP
    steps = largest(
        lambda n: of_context(n * STEP), room.bytes, near=near, most=(positions or MOST_TOKENS) // STEP
    )
    if steps is None:  # fewer tokens than a step
        longest = largest(of_context, room.bytes, least=2, most=min(positions or STEP, STEP))
    else:
        longest = steps * STEP
    return replace(room, longest_context=longest, most_sequences=sequences)


#: Tokens by which contexts are looked at.
STEP = 64
#: Where the search for a context ends, for a model that takes any.
MOST_TOKENS = 1 << 24


def positions_of(model: Any) -> int | None:
    """Tokens that a model has positions for, as its configuration says; None where it does not."""
    config = model.config.get_text_config(decoder=True)
    found = (getattr(config, name, None) for name in _POSITIONS)
    return next((n for n in found if isinstance(n, int) and n > 0), None)


def _of_positions(model: Any, serving: Serving, positions: int | None) -> tuple[str, ...]:
    """What to say of a context that is longer than the model has positions for."""
    if positions is None or serving.context <= positions:
        return ()
    table = any(
        type(m).__name__.endswith("Embedding")
        and getattr(m, "num_embeddings", 0) in range(positions, positions + 8)
        for m in model.modules()
    )
    does = (
        "it looks positions up in a table, and a real run ends in an error there"
        if table
        else "it computes positions, so that a real run goes on, with text that it was not trained for"
    )
    return (
        f"a context of {count(serving.context)} exceeds the model's {count(positions)} positions: {does}",
    )


def _assumptions(serving: Serving, *kernels: str) -> dict[str, str]:
    kinds = {
        "dynamic": "of transformers, which copies keys and values of a layer to add a token",
        "static": "of transformers, of full length from the start",
        "paged": "in blocks, which attention reads where they are",
        "quantized": "of transformers, which a layer unpacks whole for each step",
    }
    return {
        "cache": kinds[serving.cache.partition(":")[0]],
        "next token": "the most likely one, of scores in float32",
        "attention": ", ".join(dict.fromkeys(kernels)),
        "allocator": "default configuration, empty before each pass",
    }
