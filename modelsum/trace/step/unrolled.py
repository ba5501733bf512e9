"""A step of a model with many equal blocks, from steps of the same model with a few of them.

Two such steps are followed, one with a block more than the other. Where the log of the shorter one, unrolled
by a block, is that of the longer one, event for event, another block does what this one did; then it is
unrolled to all of them. Where it is not, there is no answer, and the whole model has to be gone through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from modelsum.memory.unrolling import NotAlikeError, Unrolling, renumbered
from modelsum.memory_values import Traffic
from modelsum.trace.step.stage import Recording

#: The fewest with a first one, a last one, and one between.
FEW = 3
#: Fewer are gone through as they are: two shorter steps would take as long.
WORTHWHILE = 2 * FEW + 2
_COPIED = 1
_LISTS = ("setup", "first", "between", "steady_setup", "steady")


class Row(Protocol):
    """Blocks in a row that are alike, of which this process has all."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Their paths, in order."""

    def kept(self, count: int) -> AbstractContextManager[tuple[str, ...]]:
        """Have the model no more than so many of them, for a while; their paths."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What was followed of a call.

    Attributes:
        inference: without gradients.
        training: a step; None where there is none, and `notices` says why.
        unmeasured: of both, as `Lifetimes.unmeasured`.
        assumptions: what was taken for granted, by name.
        notices: what the reader should know.
    """

    inference: Recording
    training: Recording | None
    unmeasured: Counter[str]
    assumptions: Mapping[str, str]
    notices: tuple[str, ...] = ()


def unrolled(row: Row, follow: Callable[[tuple[str, int] | None], Followed]) -> Followed | None:
    """What `follow` would have followed of the whole model; None where that takes the whole model.

    It is given the path of the block that others are like, and how many.
    """
    if len(row.paths) < WORTHWHILE:
        return None
    short: list[tuple[tuple[str, ...], Followed]] = []
    try:
        for count in (FEW, FEW + 1):
            with row.kept(count) as paths:
                short.append((paths, follow((paths[_COPIED], len(row.paths) - count))))
        return _unrolled(short, row.paths)
    except NotAlikeError:
        return None


def _unrolled(short: list[tuple[tuple[str, ...], Followed]], paths: tuple[str, ...]) -> Followed | None:
    (few, first), (more, second) = short
    if first.training is None or second.training is None or first.notices != second.notices:
        return None
    found = []
    for a, b in ((first.inference, second.inference), (first.training, second.training)):
        if _plain(_with_blocks(a, few, more)) != _plain(b) or a.presumed != b.presumed:
            return None
        by = len(paths) - len(few)
        found.append(
            replace(
                _with_blocks(a, few, paths),
                macs=_line(a.macs, b.macs, by),
                uncounted=_line(a.uncounted, b.uncounted, by),
                unmeasured=_line(a.unmeasured, b.unmeasured, by),
                traffic={
                    name: Traffic(
                        *(_to(x, y, by) for x, y in zip(_fields(a, name), _fields(b, name), strict=True))
                    )
                    for name in b.traffic
                },
            )
        )
    unmeasured = Counter(_line(first.unmeasured, second.unmeasured, len(paths) - len(few)))
    return replace(first, inference=found[0], training=found[1], unmeasured=unmeasured)


def _with_blocks(short: Recording, few: tuple[str, ...], paths: tuple[str, ...]) -> Recording:
    kinds = [(category, short.streams.get(n)) for n, category in enumerate(short.categories)]
    unrolling = Unrolling([getattr(short, name) for name in _LISTS], few, paths, _COPIED, kinds)
    lists: dict[str, Any] = dict(zip(_LISTS, unrolling.lists, strict=True))
    like = unrolling.like
    return replace(
        short,
        **lists,
        categories=[short.categories[each] for each in like],
        saved={path: n for path0, n in short.saved.items() for path in unrolling.moved(path0)},
        streams={new: short.streams[old] for new, old in enumerate(like) if old in short.streams},
        hosted={new for new, old in enumerate(like) if old in short.hosted},
    )


def _plain(recording: Recording) -> tuple[Any, ...]:
    """What has to be equal: events with their storages' categories and streams, and what was saved."""
    lists, numbers = renumbered([getattr(recording, name) for name in _LISTS])
    streams: dict[str | None, int] = {}
    kinds = [
        (
            recording.categories[number],
            streams.setdefault(recording.streams.get(number), len(streams)),
            number in recording.hosted,
        )
        for number in numbers
    ]
    return lists, kinds, dict(recording.saved)


def _fields(recording: Recording, name: str) -> tuple[int, int, int]:
    traffic = recording.traffic.get(name, Traffic(0, 0, 0))
    return traffic.calls, traffic.sent_bytes, traffic.received_bytes


def _to(first: int, second: int, by: int) -> int:
    return first + by * (second - first)


def _line(first: Mapping[str, int], second: Mapping[str, int], by: int) -> dict[str, int]:
    """What grows by as much with every block."""
    return {name: _to(first.get(name, 0), second[name], by) for name in second}
