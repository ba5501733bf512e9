"""`generate`: a language model, a prompt and a cache -> what writing takes, and how much of it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelsum import fitting
from modelsum.api import generator_of
from modelsum.errors import InputError
from modelsum.generation_values import Generation, Room, Serving
from modelsum.memory.fitting import cards
from modelsum.memory.fitting.search import largest
from modelsum.request import Request, request_of

if TYPE_CHECKING:
    from torch import nn

    from modelsum.generation.steps import Followed, Generator


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
    threads: int | None = None,
    isa: str | None = None,
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
        attention, threads, isa: whose kernels memory is predicted for: as in `modelsum.memory.MemoryOptions`.

    Raises:
        UsageError: the words are wrong, the model writes no text, or takes no such cache or format.
        ModelError: the model could not be built, or its passes fail on the meta device.
    """
    serving = Serving(prompt, new, batch, cache, kv_dtype, weights)
    request = request_of(
        model,
        model_args=model_args,
        dtype=dtype,
        task=task,
        fetch=fetch,
        target=target,
        attention=attention,
        threads=threads,
        isa=isa,
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
    if request.inputs or request.inputs_from or request.example or request.sequence_length:
        raise InputError("an input is given, but a generation begins with a prompt", "Give --prompt N.")
    progress("building the model")
    generator, ready = generator_of(request)
    from modelsum.generation.following import follow  # which imports torch

    generation = follow(generator, ready.identity, serving, notices=ready.notices, progress=progress)
    if room is None:
        return generation
    if generation.weights_bytes > room.bytes:
        return replace(generation, room=room)
    room = _filled(generator, generation, room, progress)
    return replace(generation, room=room, predictions=generator.passes)


def _filled(generator: Generator, followed: Generation, room: Room, progress: Callable[[str], None]) -> Room:
    """How much of the room can be filled: both passes are followed with what is said, one with no more."""
    serving, positions = followed.serving, followed.positions
    known = {
        (generator.prefill, serving): followed.prefill.need_bytes,
        (generator.decode, serving): followed.decode.need_bytes,
    }
    passes = [follow for follow, _ in sorted(known, key=known.__getitem__, reverse=True)]
    # What the process takes besides grows with what it holds. All but the weights grows with the sequences,
    # nearly in proportion.
    of_none = max(known.values()) * followed.weights_bytes // followed.peak_bytes
    of_each = max((max(known.values()) - of_none) // serving.batch, 1)

    def need(follow: Callable[..., Followed], changed: Serving) -> int:
        if (follow, changed) not in known:
            known[follow, changed] = follow(changed, counted=False).phase.need_bytes
        return known[follow, changed]

    def of_context(tokens: int) -> Serving:
        progress(f"a context of {tokens}")
        prompt = max(tokens - serving.new, 1)
        return replace(serving, prompt=prompt, new=tokens - prompt)

    def of_batch(batch: int) -> Serving:
        progress(f"{batch} sequences")
        return replace(serving, batch=batch)

    def most(made: Callable[[int], Serving], **hints: int) -> int | None:
        """Of the pass that needs more, and of what that leaves also of the other."""
        found: int | None = None
        for follow in passes:
            found = largest(
                lambda n: need(follow, made(n)),  # noqa: B023  # called in this turn alone
                room.bytes,
                zero=of_none,
                **hints,
            )
            if found is None:
                break
            hints |= {"near": found, "most": found}
        return found

    sequences = most(of_batch, near=serving.batch, per_sample=of_each)
    if positions is not None and positions > 1:
        whole = of_context(positions)
        if all(need(follow, whole) <= room.bytes for follow in passes):
            return replace(
                room, longest_context=positions, context_limit="positions", most_sequences=sequences
            )
    near = min(serving.context, positions or serving.context) // STEP
    steps = most(lambda n: of_context(n * STEP), near=near, most=(positions or MOST_TOKENS) // STEP)
    if steps is None:  # fewer tokens than a step
        longest = most(of_context, least=2, most=min(positions or STEP, STEP))
    else:
        longest = steps * STEP
    return replace(room, longest_context=longest, most_sequences=sequences)


#: Tokens by which contexts are looked at.
STEP = 64
#: Where the search for a context ends, for a model that takes any.
MOST_TOKENS = 1 << 24
