"""Items -> what work makes of them, in processes: copies of this one, or those of a pool that begins anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from modelsum.jobs.anew import copies_work, pooled_anew
from modelsum.jobs.pool import pooled
from modelsum.jobs.worker import FORKS, Ended

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _nothing() -> None:
    pass


def results(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    jobs: int,
    lost: Callable[[T, Ended], R],
    done: Callable[[int, T], None] = lambda finished, item: None,
    timeout: Callable[[T], float | None] | None = None,
    prepare: Callable[[], object] = _nothing,
) -> Iterator[R]:
    """What `work` makes of each item, in the order of the items.

    `done` is told of every item that is finished, in any order: how many that makes, and which it was. The
    other arguments are those of `as_finished`.
    """
    early: dict[int, R] = {}
    following = 0
    most = min(jobs, len(items))
    pieces = as_finished(work, items, jobs=most, lost=lost, timeout=timeout, prepare=prepare)
    for finished, (place, item, result) in enumerate(pieces, 1):
        done(finished, item)
        early[place] = result
        while following in early:
            yield early.pop(following)
            following += 1


def as_finished(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    jobs: int,
    lost: Callable[[T, Ended], R],
    timeout: Callable[[T], float | None] | None = None,
    kind: Callable[[T], object] = lambda item: None,
    prepare: Callable[[], object] = _nothing,
) -> Iterator[tuple[int, T, R]]:
    """Place, item and result of every item, as they are finished.

    The work is done in processes of their own: on Linux copies of this one, which have everything that is
    imported already, or, where a copy of this one could not work, of one that is begun for that. What is
    pickled to get there and back are the functions, by their names, items and results; an item leaves for a
    process when one is free for it. None of the processes outlives this one, or what asks for the results,
    and neither does what they started.

    Args:
        work: an exception of it is raised here, and ends all.
        jobs: how many at once, 1 or more.
        lost: the result for an item whose process ended, killed for its memory say. The other items do not
            notice: another process takes its place.
        timeout: how many seconds an item may take, None for as many as it likes; where a process begins anew,
            its start with its first one.
        kind: items of different kinds do not share a process.
        prepare: what all of them need to have done once, in the process that they are copies of.
    """
    numbered: Iterator[tuple[int, T]] = enumerate(items)
    if not FORKS and jobs <= 1 and timeout is None:
        for place, item in numbered:
            yield place, item, work(item)
        return
    limit = timeout or (lambda item: None)
    for first in numbered:
        numbered = chain([first], numbered)
        if FORKS and not copies_work():
            yield from pooled_anew(
                work, numbered, jobs=jobs, lost=lost, timeout=limit, kind=kind, prepare=prepare
            )
        else:
            if FORKS:
                prepare()
            yield from pooled(work, numbered, jobs=jobs, lost=lost, timeout=limit, kind=kind)
