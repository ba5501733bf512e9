"""Pieces of work that do not depend on each other, shared out to processes; the results come in order."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def results(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    jobs: int,
    lost: Callable[[T], R],
    done: Callable[[int, T], None] = lambda finished, item: None,
) -> Iterator[R]:
    """What `work` makes of each item, in the order of the items.

    Where there are several items and jobs, the work is done in processes of their own: on Linux copies of
    this one, which have everything that is imported already. What is pickled to get there and back are the
    function, by its name, items and results.

    Args:
        work: raises nothing that stops the others.
        jobs: how many at once, 1 or more.
        lost: the result for an item whose process ended, killed for its memory say.
        done: told of every item that is finished, in any order: how many that makes, and which it was.
    """
    if min(jobs, len(items)) <= 1:
        for finished, item in enumerate(items, 1):
            result = work(item)
            done(finished, item)
            yield result
        return
    counter = count(1)
    with _Pool(min(jobs, len(items))) as pool:
        futures = []
        for item in items:
            futures.append(future := pool.submit(work, item))
            future.add_done_callback(lambda _, item=item: done(next(counter), item))  # type: ignore[misc]
        for item, future in zip(items, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:  # which item it was is not said: all that were not finished fail
                yield _alone(work, item, lost)


def _alone(work: Callable[[T], R], item: T, lost: Callable[[T], R]) -> R:
    try:
        with _Pool(1) as pool:
            return pool.submit(work, item).result()
    except BrokenProcessPool:
        return lost(item)


class _Pool(ProcessPoolExecutor):
    """Processes that compute with one thread each; work that nobody wants any more is stopped."""

    def __init__(self, processes: int) -> None:
        # Elsewhere than on Linux a fork is not safe, and a process begins anew.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        super().__init__(processes, context, initializer=_use_one_thread)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        self.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    # The threads of OpenMP do not survive a fork, and the cores are taken anyway.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
