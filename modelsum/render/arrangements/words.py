"""What is said of arrangements: plain words and figures, without a format."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.memory.ranks.arrangements import Arrangement, Arrangements
from modelsum.render.fit.words import room_words
from modelsum.render.summary.cells import given, model_and_class, model_name
from modelsum.units import binary_bytes, count

HEADER = ("Mesh and way", "Needs", "Sent a sample", "Samples", "Fits")
_NONE = "-"


def room(found: Arrangements) -> str:
    """The GPUs, and the memory of each."""
    return f"{count(found.gpus)} x {room_words(found.room)}"


def verdict(found: Arrangements) -> str:
    """The answer in one sentence."""
    what = f"training of {model_name(found.model)}, batch {count(found.batch)} a rank, on {room(found)}"
    fitting = [each for each in found.tried if each.fits]
    if not fitting:
        return f"None of {count(len(found.tried))} ways fits: {what}"
    ways = "1 way fits" if len(fitting) == 1 else f"{count(len(fitting))} ways fit"
    return f"{ways}, the cheapest in communication is {fitting[0].words}: {what}"


def table(found: Arrangements) -> list[tuple[str, ...]]:
    """A row for everything that was tried, under `HEADER`."""
    return [_row(each) for each in found.tried]


def _row(each: Arrangement) -> tuple[str, ...]:
    least = ">= " if each.bound == "lower" else ""
    needs = f"{least}{binary_bytes(each.least_bytes)}"
    fits = "yes" if each.fits else "no"
    sent = binary_bytes(each.sent_bytes_per_sample) if each.need else _NONE
    return each.words, needs, sent, count(each.samples), fits


def refused(found: Arrangements) -> Iterator[str]:
    """What a model cannot have, and why."""
    for each in found.refused:
        yield f"{', '.join(each.words)}: {each.reason}"


def provenance(found: Arrangements) -> Iterator[tuple[str, str]]:
    """What the columns are, of which model, for what input, and what was taken for granted."""
    whole = "the whole process, at most" if found.target == "cuda" else "the tensors that are live together"
    yield "Needs", f"of the rank that takes the most: {whole}"
    if any(each.need is None for each in found.tried):
        yield "At least", "of weights and gradients alone, where that is too much already"
    yield "Sent", "by the rank that sends the most, wherever the others are, in a step over its samples"
    yield "Model", f"{model_and_class(found.model)}, {found.dtype}"
    for each in found.inputs:
        yield "Input", f"{given(each)}, of each data parallel rank; of a pipeline, of a microbatch"
    yield "Assumed", "; ".join(f"{name}: {value}" for name, value in found.assumptions.items())
    yield "Computed", "from shapes, by torch's own wrappers on meta; nothing was run"
