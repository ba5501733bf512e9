"""A generation as a page: what each pass takes, weights and cache, and what fits."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.generation_values import Generation
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Listed, Table
from modelsum.render.generation import words
from modelsum.render.page import Page, Section
from modelsum.render.summary.cells import model_name
from modelsum.units import binary_bytes, count


def page(generation: Generation, options: RenderOptions) -> Page:
    """The page of a generation."""
    said = "lower bound" if generation.unmeasured else f"in the {generation.peak_phase}"
    answer = [
        ("Peak", binary_bytes(generation.peak_bytes), said),
        ("Weights", binary_bytes(generation.weights_bytes), generation.weights.words),
        ("Cache a token", f"{count(generation.cache_bytes_per_token)} B", generation.serving.cache),
    ]
    room = generation.room
    if room is not None and room.longest_context is not None:
        answer.append(("Longest context", count(room.longest_context), room.words))
    return Page(
        title=f"{model_name(generation.model)} writes",
        about=[words.verdict(generation)],
        answer=answer,
        sections=list(_sections(generation)),
        notices=generation.notices,
        made_with=generation.made_with,
    )


def _sections(generation: Generation) -> Iterator[Section]:
    parts: dict[tuple[str, str], list[Block]] = {
        ("passes", "Prefill and decode step"): [Table(words.HEADER, "lrr", words.table(generation))],
        ("takes", "Weights, cache and what fits"): [Listed.of(words.facts(generation))],
        ("about", "What was asked"): [Listed.of(words.provenance(generation))],
    }
    for (name, title), blocks in parts.items():
        yield Section("words", name, title, words=blocks, words_title="Table", is_open=True)
