"""A pool of processes: each works on one item, and is replaced when that costs its life.

A pool of its own rather than the standard library's, which gives up all that is going on when one process
dies, does not say whose it was, and knows no time limit for a piece of work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from modelsum.jobs.guard import Guard
from modelsum.jobs.worker import FORKS, Ended, Worker

T = TypeVar("T")
R = TypeVar("R")

#: The longest that is waited for at once, as systems know a longest. It is waited again.
_DAY = 86_400.0


def pooled(
    work: Callable[[T], R],
    numbered: Iterable[tuple[int, T]],
    *,
    jobs: int,
    lost: Callable[[T, Ended], R],
    timeout: Callable[[T], float | None],
    kind: Callable[[T], object],
) -> Iterator[tuple[int, T, R]]:
    """Place, item and result of every item of (place, item), as they are finished (modelsum.jobs.sharing)."""
    with _Pool(work, lost, timeout, kind) as pool:
        for place, item in numbered:
            pool.give(place, item)
            if len(pool.workers) == jobs and not pool.idle:
                yield from pool.finished()
        while pool.is_busy:
            yield from pool.finished()


class _Pool(Generic[T, R]):
    """The processes that work, and those that wait for work."""

    def __init__(
        self,
        work: Callable[[T], R],
        lost: Callable[[T, Ended], R],
        timeout: Callable[[T], float | None],
        kind: Callable[[T], object],
    ) -> None:
        self._work = work
        self._lost = lost
        self._timeout = timeout
        self._kind = kind
        self._guard = Guard() if FORKS else None
        self.workers: list[Worker[T, R]] = []
        self.idle: list[Worker[T, R]] = []

    def __enter__(self) -> _Pool[T, R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            for worker in self.workers:
                worker.dismiss()
            for worker in self.workers:
                worker.wait()
        for worker in self.workers:
            worker.end()
        if self._guard is not None:
            self._guard.close()

    @property
    def is_busy(self) -> bool:
        """Whether an item is worked on."""
        return len(self.idle) < len(self.workers)

    def give(self, place: int, item: T) -> None:
        """Have a process work on an item."""
        seconds = self._timeout(item)
        kind = self._kind(item)
        while alike := [worker for worker in self.idle if self._kind(worker.item) == kind]:
            self.idle.remove(worker := alike[-1])
            if worker.take(place, item, seconds):
                return
            self._remove(worker)  # ended by what an earlier item left running in it
        if self.idle:
            self._remove(self.idle.pop())  # of another kind: a process takes its place
        self.workers.append(worker := Worker(self._work, self._guard))
        worker.take(place, item, seconds)

    def finished(self) -> Iterator[tuple[int, T, R]]:
        """What is finished next, when it is: one item at least."""
        busy = [worker for worker in self.workers if worker not in self.idle]
        ready: set[Any] = set()
        late: list[Worker[T, R]] = []
        while not ready and not late:
            deadlines = [worker.deadline for worker in busy if worker.deadline is not None]
            seconds = max(0.0, min(deadlines) - time.monotonic()) if deadlines else _DAY
            ready = set(connection.wait([sign for b in busy for sign in b.signs], min(seconds, _DAY)))
            now = time.monotonic()
            late = [worker for worker in busy if worker.deadline is not None and worker.deadline <= now]
        for worker in busy:
            place, item = worker.place, worker.item
            if not ready.isdisjoint(worker.signs):
                yield place, item, self._result_of(worker)
            elif worker in late:
                yield place, item, self._lost(item, Ended(self._remove(worker), timed_out=True))

    def _result_of(self, worker: Worker[T, R]) -> R:
        try:
            result = worker.result()
        except EOFError:
            worker.wait()  # it may just be ending: how it does is worth knowing
            return self._lost(worker.item, Ended(self._remove(worker)))
        self.idle.append(worker)
        return result

    def _remove(self, worker: Worker[T, R]) -> int:
        self.workers.remove(worker)
        return worker.end()
