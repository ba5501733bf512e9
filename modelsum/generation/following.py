"""A generation followed: a built model, its format of weights and its cache -> what writing takes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from modelsum.errors import InputError
from modelsum.generation.quantizing import store
from modelsum.generation.steps import Generator
from modelsum.generation_values import Generation, Serving
from modelsum.summary import Model
from modelsum.trace.step.training import machine_words
from modelsum.units import count
from modelsum.version import __version__

#: Names that configurations have for the positions that a model knows.
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_sequence_length",
    "n_ctx",
)


def follow(
    generator: Generator,
    identity: Model,
    serving: Serving,
    *,
    notices: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda doing: None,
) -> Generation:
    """Follow the prompt and the last step of a text.

    Args:
        generator: of a model on meta, which is the caller's own: its weights are stored in their format.
        identity: what is said of which model this is.
        notices: what is passed on to the reader.
        progress: told what goes on.

    Raises UsageError for a format, cache or length that the model cannot have, ModelError where it fails on
    meta.
    """
    positions = positions_of(generator.model)
    beyond = _of_positions(generator, serving, positions)
    stored, said = store(generator.model, serving.weights)
    progress("reading the prompt")
    prefill = generator.prefill(serving)
    progress("writing a token")
    decode = generator.decode(serving)
    cached = generator.cache_bytes(serving)
    growing = _growth(generator, serving, cached)
    return Generation(
        model=identity,
        dtype=str(generator.model.dtype).removeprefix("torch."),
        target=generator.target,
        serving=serving,
        positions=positions,
        weights=stored,
        cache_bytes=cached,
        cache_bytes_per_token=growing,
        cache_state_bytes=max(cached // serving.batch - growing * serving.cached, 0),
        prefill=prefill.phase,
        decode=decode.phase,
        assumptions=_assumptions(generator, serving, prefill.attention, decode.attention),
        unmeasured={**prefill.unmeasured, **decode.unmeasured},
        notices=(*notices, *said, *beyond),
        predictions=generator.passes,
        made_with={
            "modelsum": __version__,
            "torch": version("torch"),
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


def positions_of(model: Any) -> int | None:
    """Tokens that a model has positions for, as its configuration says; None where it does not."""
    config = model.config.get_text_config(decoder=True)
    found = (getattr(config, name, None) for name in _POSITIONS)
    return next((n for n in found if isinstance(n, int) and n > 0), None)


def _of_positions(generator: Generator, serving: Serving, positions: int | None) -> tuple[str, ...]:
    """What to say of a context that is longer than the model has positions for; InputError where it fails."""
    # Encoder and decoder have positions each; the latter begins with a token that is not in the prompt.
    context = max(serving.prompt, serving.new + 1) if generator.writes_apart else serving.context
    if positions is None or context <= positions:
        return ()
    said = f"a context of {count(context)} exceeds the model's {count(positions)} positions"
    sizes = [getattr(m, "num_embeddings", 0) for m in generator.model.modules()]
    if any(positions <= size < positions + 8 for size in sizes):  # OPT has two rows more
        raise InputError(f"{said}: it looks positions up in a table, and a real run ends there in an error")
    return (f"{said}: it computes positions, so that a real run goes on beyond what it was trained for",)


def _assumptions(generator: Generator, serving: Serving, *attention: str) -> dict[str, str]:
    kinds = {
        "dynamic": "of transformers, which copies keys and values of a layer to add a token",
        "static": "of transformers, of full length from the start",
        "paged": "in blocks, which attention reads where they are",
        "quantized": "of transformers, which a layer unpacks whole for each step",
    }
    return {
        "cache": kinds[serving.cache.partition(":")[0]],
        "next token": "the most likely one, of scores in float32",
        "attention": ", ".join(dict.fromkeys(attention)),
        **({"kernels": machine_words(generator.options)} if generator.target == "cpu" else {}),
        "allocator": "default configuration, empty before each pass",
    }
