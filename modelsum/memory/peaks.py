"""A log replayed: live bytes over time, their peaks and what those are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, groupby, islice
from operator import add

from modelsum.memory.log import CATEGORIES, SETUP, Event
from modelsum.memory_values import Peak, Point

_INDEX = {category: i for i, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class Replay:
    """What a sequence of events came to.

    Attributes:
        peak: the largest number of live bytes.
        phases: the peak of each phase.
        modules: most live bytes while each module ran, those inside a module counted for it too.
        timeline: at most as many points as asked for, in order; every phase's peak is one of them.
        parts: live bytes by category after the last event.
    """

    peak: Peak
    phases: Mapping[str, Peak]
    modules: Mapping[str, int]
    timeline: tuple[Point, ...]
    parts: Mapping[str, int]


def replay(
    categories: Sequence[str],
    before: Sequence[Event],
    events: Sequence[Event],
    points: int = 0,
    *,
    by_module: bool = True,
) -> Replay:
    """Follow the live bytes.

    Args:
        categories: the category of each storage.
        before: what is there from the start: followed, but without peaks of its own.
        events: the step.
        points: the most points that the timeline has; 0 for no timeline.
        by_module: find the most of each module too.

    Raises ValueError where there are no events.
    """
    if not before and not events:
        raise ValueError("an empty log has no peak")
    kinds = list(map(_INDEX.__getitem__, categories))
    parts = [0] * len(CATEGORIES)
    for storage, nbytes, _, _, _ in before:
        parts[kinds[storage]] += nbytes
    storages, changes, phases, modules, _ = zip(*events, strict=True) if events else [()] * 5
    lives = list(accumulate(changes, initial=sum(parts)))
    tops = _tops(phases, changes, lives)
    moments = _moments(phases, lives, points) if points else []
    there: dict[int, tuple[int, ...]] = {}
    moves = zip(map(kinds.__getitem__, storages), changes, strict=True)
    done = 0
    for place in sorted({*moments, *(place for place, _ in tops.values())}):
        for kind, nbytes in islice(moves, place - done):
            parts[kind] += nbytes
        there[place], done = tuple(parts), place
    for kind, nbytes in moves:
        parts[kind] += nbytes
    peaks = {
        phase: Peak(lives[place], _named(there[place]), phase, modules[event] if modules else "")
        for phase, (place, event) in tops.items()
    }
    most: dict[str, int] = {}
    if by_module:
        for module, live in zip(modules, islice(lives, 1, None), strict=True):
            if live > most.get(module, 0):
                most[module] = live
    return Replay(
        peak=max(peaks.values(), key=lambda peak: peak.bytes),
        phases=peaks,
        modules=inclusive_maximum(most),
        timeline=tuple(_point(place - 1, events[place - 1], there[place]) for place in moments),
        parts=_named(parts),
    )


def _tops(phases: Sequence[str], changes: Sequence[int], lives: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Of each phase, after how many events most is live, and the event that tells which module ran then.

    Where every event of a phase gives memory back, its peak is what there was before it.
    """
    tops: dict[str, tuple[int, int]] = {} if phases else {SETUP: (0, 0)}
    start = 0
    for phase, stretch in groupby(phases):
        end = start + sum(1 for _ in stretch)
        before, _ = tops.setdefault(phase, (start, start))
        places = compress(range(start + 1, end + 1), map((0).__lt__, islice(changes, start, end)))
        top = max(places, key=lives.__getitem__, default=before)
        if lives[top] > lives[before]:
            tops[phase] = top, top - 1
        start = end
    return tops


def _moments(phases: Sequence[str], lives: Sequence[int], points: int) -> list[int]:
    """After how many events a timeline has its points: the highest and the last moment of every stretch.

    No stretch has two phases. There are two points a stretch, and each phase may add one that is cut short.
    """
    length = -(-len(phases) // max(1, points // 2 - len(set(phases))))
    moments: list[int] = []
    start = 0
    for _, run in groupby(phases):
        end = start + sum(1 for _ in run)
        for first in range(start, end, length):
            last = min(first + length, end)
            stretch = lives[first + 1 : last + 1]
            top = first + 1 + stretch.index(max(stretch))
            moments += (top, last) if top != last else (top,)
        start = end
    return moments


def _point(index: int, event: Event, parts: Sequence[int]) -> Point:
    return Point(index, event.phase, event.module, _named(parts), event.op)


def _named(parts: Sequence[int]) -> dict[str, int]:
    return dict(zip(CATEGORIES, parts, strict=True))


def inclusive_maximum(own: Mapping[str, int]) -> dict[str, int]:
    """Each module's figure or, where larger, that of a module in it; "" is around all of them."""
    return _inclusive(own, max)


def inclusive_sum(own: Mapping[str, int]) -> dict[str, int]:
    """Each module's figure and those of the modules in it."""
    return _inclusive(own, add)


def _inclusive(own: Mapping[str, int], together: Callable[[int, int], int]) -> dict[str, int]:
    found = dict(own)
    for path in own:
        while path and (path := path.rpartition(".")[0]) not in found:
            found[path] = 0
    for path in sorted(filter(None, found), reverse=True):  # a module comes after those in it
        around = path.rpartition(".")[0]
        found[around] = together(found[around], found[path])
    return found
