"""A log replayed: live bytes over time, their peaks and what those are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, groupby, islice
from operator import add, itemgetter

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
    kinds = [_INDEX[c] for c in categories]
    parts = [0] * len(CATEGORIES)
    for storage, nbytes, _, _, _ in before:
        parts[kinds[storage]] += nbytes
    live = sum(parts)
    lives = list(accumulate([event[1] for event in events], initial=live))
    tops = _tops(events, lives)
    moments = _moments(events, lives, points) if points else []
    wanted = {*moments, *(place for place, _ in tops.values())}
    there: dict[int, tuple[int, ...]] = {0: tuple(parts)}
    for place, (storage, nbytes, _, _, _) in enumerate(events, 1):
        parts[kinds[storage]] += nbytes
        if place in wanted:
            there[place] = tuple(parts)
    phases = {
        phase: Peak(lives[place], _named(there[place]), phase, module)
        for phase, (place, module) in tops.items()
    }
    modules: dict[str, int] = {}
    if by_module:
        for (_, _, _, module, _), live in zip(events, islice(lives, 1, None), strict=True):
            if live > modules.get(module, 0):
                modules[module] = live
    return Replay(
        peak=max(phases.values(), key=lambda peak: peak.bytes),
        phases=phases,
        modules=inclusive_maximum(modules),
        timeline=tuple(_point(place - 1, events[place - 1], there[place]) for place in moments),
        parts=_named(parts),
    )


def _tops(events: Sequence[Event], lives: Sequence[int]) -> dict[str, tuple[int, str]]:
    """Of each phase, after how many events most is live, and which module ran then.

    Where every event of a phase gives memory back, its peak is what there was before it.
    """
    tops: dict[str, tuple[int, str]] = {} if events else {SETUP: (0, "")}
    start = 0
    for phase, stretch in groupby(events, key=itemgetter(2)):
        changes = [event[1] for event in stretch]
        before, _ = tops.setdefault(phase, (start, events[start].module))
        places = compress(range(start + 1, start + len(changes) + 1), map((0).__lt__, changes))
        top = max(places, key=lives.__getitem__, default=before)
        if lives[top] > lives[before]:
            tops[phase] = top, events[top - 1].module
        start += len(changes)
    return tops


def _moments(events: Sequence[Event], lives: Sequence[int], points: int) -> list[int]:
    """After how many events a timeline has its points: the highest and the last moment of every stretch.

    No stretch has two phases. There are two points a stretch, and each phase may add one that is cut short.
    """
    phases = len({event.phase for event in events})
    length = -(-len(events) // max(1, points // 2 - phases))
    moments: list[int] = []
    start = 0
    for _, run in groupby(events, key=itemgetter(2)):
        end = start + sum(1 for _ in run)
        for first in range(start, end, length):
            last = min(first + length, end)
            top = max(range(first + 1, last + 1), key=lives.__getitem__)
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
    found: dict[str, int] = {}
    for path, figure in own.items():
        around = path
        while around:
            found[around] = together(found[around], figure) if around in found else figure
            around = around.rpartition(".")[0]
        found[""] = together(found[""], figure) if "" in found else figure
    return found
