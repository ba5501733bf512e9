"""What is said of a fit: plain words and figures, without a format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelsum.memory.fitting.fit import Fit, Need, Room, Way
from modelsum.render.summary.cells import given, model_and_class, model_name
from modelsum.units import binary_bytes, count

NEEDS = ("Batch", "Needs at most", "At least", "Live tensors", "Fits")
_NONE = "-"


def room(fit: Fit) -> str:
    """The memory that there is: the user's words for it, and what they come to."""
    return room_words(fit.room)


def room_words(room: Room) -> str:
    """The same of any room."""
    words, size = room.words, binary_bytes(room.bytes)
    is_that = words.replace(" ", "") == size.replace(".00 ", "").replace(" ", "")
    return words if is_that else f"{words} ({size})"


def verdict(fit: Fit) -> str:
    """The answer in one sentence."""
    what = f"{fit.task} of {model_name(fit.model)} in {room(fit)}"
    if fit.asked is not None:
        said = "fits" if fit.fits else "does not fit"
        return f"Batch {count(fit.asked.batch)} {said}; {_largest(fit)}: {what}"
    text = _largest(fit)
    return f"{text[0].upper()}{text[1:]}: {what}"


def _largest(fit: Fit) -> str:
    if fit.batch is None:
        smallest = "" if fit.least_batch == 1 else f" of {fit.least_batch}"
        alone = " (parameters and buffers alone are more)" if fit.fixed_bytes > fit.room.bytes else ""
        return f"not even the smallest batch{smallest} fits{alone}"
    if fit.bounded:
        return f"more than {count(fit.batch)} fit, memory hardly grows with the batch"
    no_more = ", and the model takes no larger one" if fit.batch == fit.most_batch else ""
    return f"the largest batch that fits is {count(fit.batch)}{no_more}"


def needs(fit: Fit) -> list[tuple[str, ...]]:
    """The rows of `NEEDS`: the largest batch, the next one, and the one asked about; the smallest first."""
    there = {need.batch: need for need in (fit.below, fit.above, fit.asked) if need is not None}
    return [_need(fit, there[batch]) for batch in sorted(there)]


def _need(fit: Fit, need: Need) -> tuple[str, ...]:
    least = binary_bytes(need.least_bytes) if need.least_bytes != need.bytes else _NONE
    fits = "yes" if need.bytes <= fit.room.bytes else "no"
    figures = (binary_bytes(need.bytes), least, binary_bytes(need.peak.bytes))
    return (count(need.batch), *figures, fits)


def reasons(fit: Fit) -> Iterator[tuple[str, str]]:
    """What limits the batch, and what the range of a process leaves open."""
    if fit.above is not None:
        yield "Limit", _limit(fit.above)
    if fit.target == "cpu":
        yield "Needs", "the tensors that are live together; the interpreter and its libraries come on top"
        return
    text = "the whole process, from the smallest known CUDA context to 95 % of measured runs"
    if fit.optimistic_batch is not None and fit.optimistic_batch != fit.batch:
        text += f"; with the least, {count(fit.optimistic_batch)} would fit"
    yield "Needs", text


def _limit(need: Need) -> str:
    peak = need.peak
    parts = sorted(((size, part) for part, size in peak.parts.items() if size), reverse=True)
    largest = ", ".join(f"{part.replace('_', ' ')} {binary_bytes(size)}" for size, part in parts[:3])
    phase = peak.phase if peak.phase.endswith("step") else f"{peak.phase} pass"
    where = f" at {peak.module}" if peak.module else ""
    batch = count(need.batch)
    return f"batch {batch} peaks in the {phase}{where}: {largest} of {binary_bytes(peak.bytes)} live"


class WayRow(NamedTuple):
    """A way's cells."""

    words: str
    needs: str
    batch: str
    gain: str
    cost: str


def ways_header(fit: Fit) -> tuple[str, str, str, str]:
    """The titles of a way's columns, without that of the cost."""
    return "Ways to fit more", f"Batch {count(fit.reference)} needs", "Largest batch", "Gain"


def ways(fit: Fit) -> list[WayRow]:
    """The rows of the ways that bring 1 % or more."""
    return [_way(fit, way) for way in fit.ways if not _brings_little(fit, way)]


def little(fit: Fit) -> str:
    """The ways that bring less than 1 %, or nothing, in words; "" where there are none."""
    return ", ".join(way.words for way in fit.ways if _brings_little(fit, way))


def _brings_little(fit: Fit, way: Way) -> bool:
    if fit.batch is None:
        return way.batch is None and way.need.bytes > 0.99 * fit.at_reference.bytes
    return (way.samples or 0) < 1.01 * fit.batch


def _way(fit: Fit, way: Way) -> WayRow:
    needs = binary_bytes(way.need.bytes)
    if way.batch is None:
        return WayRow(way.words, needs, "none", _NONE, way.cost)
    batch = count(way.batch) if way.passes == 1 else f"{way.passes} x {count(way.batch)}"
    gain = _NONE if fit.batch is None else f"{100 * (way.batch * way.passes / fit.batch - 1):+.0f} %"
    return WayRow(way.words, needs, batch, gain, way.cost)


def costs(fit: Fit) -> str:
    """What the ways of `ways` cost, one after another; those together cost what each of them does."""
    shown = (way for way in fit.ways if not _brings_little(fit, way) and not way.combined)
    return "; ".join(f"{way.words}: {way.cost}" for way in shown)


def provenance(fit: Fit) -> Iterator[tuple[str, str]]:
    """Of which model, for what input, and what was taken for granted."""
    yield "Model", f"{model_and_class(fit.model)}, {fit.dtype}"
    for each in fit.inputs:
        yield "Input", f"{given(each)}, the first size is the batch"
    yield "Assumed", "; ".join(f"{name}: {value}" for name, value in fit.assumptions.items())
    predictions = "1 prediction" if fit.predictions == 1 else f"{count(fit.predictions)} predictions"
    yield "Computed", f"from shapes, in {predictions}; nothing was run"
