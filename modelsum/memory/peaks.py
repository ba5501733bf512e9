"""A log replayed: live bytes over time, their peaks and what those are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
) -> Replay:
    """Follow the live bytes.

    Args:
        categories: the category of each storage.
        before: what is there from the start: followed, but without peaks of its own.
        events: the step.
        points: the most points that the timeline has; 0 for no timeline.

    Raises ValueError where there are no events.
    """
    if not before and not events:
        raise ValueError("an empty log has no peak")
    kinds = [_INDEX[c] for c in categories]
    parts = [0] * len(CATEGORIES)
    for event in before:
        parts[kinds[event.storage]] += event.bytes
    live = sum(parts)
    # Where every event of a phase gives memory back, its peak is what there was before it.
    first = events[0] if events else Event(0, 0, SETUP, "")
    peaks: dict[str, tuple[int, tuple[int, ...], str]] = {first.phase: (live, tuple(parts), first.module)}
    modules: dict[str, int] = {}
    timeline = _Timeline(points, events) if points else None
    highest = peaks[first.phase][0]
    current = first.phase
    for index, (storage, nbytes, phase, module, _) in enumerate(events):
        if phase != current:
            current = phase
            highest = peaks.setdefault(phase, (live, tuple(parts), module))[0]
        live += nbytes
        parts[kinds[storage]] += nbytes
        if live > modules.get(module, 0):
            modules[module] = live
        if live > highest and nbytes > 0:
            highest = live
            peaks[phase] = (live, tuple(parts), module)
        if timeline is not None:
            timeline.add(index, live, parts)
    by_phase = {phase: Peak(n, _named(p), phase, m) for phase, (n, p, m) in peaks.items()}
    return Replay(
        peak=max(by_phase.values(), key=lambda peak: peak.bytes),
        phases=by_phase,
        modules=inclusive_maximum(modules),
        timeline=timeline.finished() if timeline else (),
        parts=_named(parts),
    )


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


class _Timeline:
    """Keeps the highest and the last moment of every stretch of events; no stretch has two phases."""

    def __init__(self, points: int, events: Sequence[Event]) -> None:
        self._events = events
        self._points: list[Point] = []
        phases = len({event.phase for event in events})
        # Two points a stretch, and each phase may add a stretch that is cut short.
        stretches = max(1, points // 2 - phases)
        self._length = -(-len(events) // stretches)
        self._start = 0
        self._highest = -1
        self._top: tuple[int, tuple[int, ...]] = (0, ())

    def add(self, index: int, live: int, parts: Sequence[int]) -> None:
        if live > self._highest:
            self._highest, self._top = live, (index, tuple(parts))
        last = index + 1 == len(self._events)
        if (
            last
            or index - self._start + 1 >= self._length
            or self._events[index + 1].phase != self._events[index].phase
        ):
            self._keep(*self._top)
            if self._top[0] != index:
                self._keep(index, parts)
            self._start, self._highest = index + 1, -1

    def _keep(self, index: int, parts: Sequence[int]) -> None:
        event = self._events[index]
        self._points.append(Point(index, event.phase, event.module, _named(parts), event.op))

    def finished(self) -> tuple[Point, ...]:
        return tuple(self._points)
