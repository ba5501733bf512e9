"""Pieces of work that do not depend on each other, shared out to processes of this machine.

A pool of its own rather than the standard library's, which gives up all that is going on when one process
dies, does not say whose it was, and knows no time limit for a piece of work.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from modelsum.processes import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

#: Elsewhere than on Linux a fork is not safe, and a process begins anew.
_FORKS = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process of an item ended before its result was there.

    Attributes:
        status: its exit code; a signal's number, negative, where one ended it.
        timed_out: it was ended here, as the item took longer than it may.
    """

    status: int
    timed_out: bool = False


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
    lost: Callable[[T, Ended], R],
    done: Callable[[int, T], None] = lambda finished, item: None,
    timeout: float | None = None,
) -> Iterator[R]:
    """What `work` makes of each item, in the order of the items.

    `done` is told of every item that is finished, in any order: how many that makes, and which it was. The
    other arguments are those of `as_finished`.
    """
    early: dict[int, R] = {}
    order = count()
    following = next(order)
    pieces = as_finished(work, items, jobs=min(jobs, len(items)), lost=lost, timeout=timeout)
    for finished, (place, item, result) in enumerate(pieces, 1):
        done(finished, item)
        early[place] = result
        while following in early:
            yield early.pop(following)
            following = next(order)


def as_finished(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    jobs: int,
    lost: Callable[[T, Ended], R],
    timeout: float | None = None,
) -> Iterator[tuple[int, T, R]]:
    """Place, item and result of every item, as they are finished.

    The work is done in processes of their own: on Linux copies of this one, which have everything that is
    imported already. What is pickled to get there and back are the function, by its name, items and results;
    an item leaves for a process when one is free for it. None of the processes outlives this one, or what
    asks for the results, and neither does what they started.

    Args:
        work: an exception of it is raised here, and ends all.
        jobs: how many at once, 1 or more.
        lost: the result for an item whose process ended, killed for its memory say. The other items do not
            notice: another process takes its place.
        timeout: how many seconds an item may take.
    """
    numbered = enumerate(items)
    if jobs <= 1 and not _FORKS:
        for place, item in numbered:
            yield place, item, work(item)
        return
    with _Pool(work, timeout) as pool:
        for place, item in numbered:
            pool.give(place, item)
            if len(pool.workers) == jobs and not pool.idle:
                yield from pool.finished(lost)
        while pool.is_busy:
            yield from pool.finished(lost)


class _Worker(Generic[T]):
    """A process, and the item that it works on."""

    def __init__(self, work: Callable[[T], Any]) -> None:
        context: Any = multiprocessing.get_context("fork" if _FORKS else "spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs, os.getpid()))
        self._process.start()
        theirs.close()
        self.sentinel: int = self._process.sentinel
        self.place = -1
        self.item: Any = None
        self.deadline: float | None = None

    @property
    def is_alive(self) -> bool:
        return bool(self._process.is_alive())

    def give(self, place: int, item: T, timeout: float | None) -> None:
        self.place, self.item = place, item
        self.deadline = None if timeout is None else time.monotonic() + timeout
        with contextlib.suppress(OSError):  # it has ended: that is noticed where the result is waited for
            self.connection.send((item,))

    def dismiss(self) -> None:
        """Let it end by itself."""
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def end(self) -> int:
        """End it, and what it started. Returns how it ended."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.connection.close()
        return int(self._process.exitcode)

    def wait(self, seconds: float) -> None:
        self._process.join(seconds)


class _Pool(Generic[T, R]):
    """The processes that work, and those that wait for work."""

    def __init__(self, work: Callable[[T], R], timeout: float | None) -> None:
        self._work = work
        self._timeout = timeout
        self.workers: list[_Worker[T]] = []
        self.idle: list[_Worker[T]] = []

    def __enter__(self) -> _Pool[T, R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            for worker in self.workers:
                worker.dismiss()
            for worker in self.workers:
                worker.wait(1.0)
        for worker in self.workers:
            worker.end()

    @property
    def is_busy(self) -> bool:
        """Whether an item is worked on."""
        return len(self.idle) < len(self.workers)

    def give(self, place: int, item: T) -> None:
        """Have a process work on an item."""
        while self.idle and not self.idle[-1].is_alive:  # ended by what an earlier item left running in it
            self._remove(self.idle.pop())
        if not self.idle:
            self.idle.append(_Worker(self._work))
            self.workers.append(self.idle[-1])
        self.idle.pop().give(place, item, self._timeout)

    def finished(self, lost: Callable[[T, Ended], R]) -> Iterator[tuple[int, T, R]]:
        """What is finished next, when it is: one item at least."""
        busy = [worker for worker in self.workers if worker not in self.idle]
        ready: set[Any] = set()
        late: list[_Worker[T]] = []
        while not ready and not late:
            deadlines = [worker.deadline for worker in busy if worker.deadline is not None]
            seconds = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            ready = set(connection.wait([w for b in busy for w in (b.connection, b.sentinel)], seconds))
            now = time.monotonic()
            late = [worker for worker in busy if worker.deadline is not None and worker.deadline <= now]
        for worker in busy:
            place, item = worker.place, worker.item
            if worker.connection in ready or worker.sentinel in ready:
                result = self._result_of(worker, lost)
            elif worker in late:
                result = lost(item, Ended(self._remove(worker), timed_out=True))
            else:
                continue
            yield place, item, result

    def _result_of(self, worker: _Worker[T], lost: Callable[[T, Ended], R]) -> R:
        try:
            if not worker.connection.poll():
                raise EOFError
            worked, result = worker.connection.recv()
        except (EOFError, OSError):
            return lost(worker.item, Ended(self._remove(worker)))
        if not worked:
            raise result
        self.idle.append(worker)
        return result  # type: ignore[no-any-return]

    def _remove(self, worker: _Worker[T]) -> int:
        self.workers.remove(worker)
        worker.wait(0.5)  # it may just be ending: how it does is worth knowing
        return worker.end()


def _serve(work: Callable[[Any], Any], asked: Any, parent: int) -> None:
    """What a process does: items come, results go back."""
    _live_with(parent)
    if "torch" in sys.modules:
        # The threads of OpenMP do not survive a fork, and the cores are taken anyway.
        sys.modules["torch"].set_num_threads(1)
    while (message := asked.recv()) is not None:
        try:
            answer = True, work(message[0])
        except BaseException as error:
            answer = False, error
        asked.send(answer)


def _live_with(parent: int) -> None:
    """Let this process, and what it starts, be ended as one; and end it with the parent."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C on a terminal reaches the parent, which ends this one
    if _FORKS:
        end_with_parent(parent)
    elif (process := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_after, args=(process,), daemon=True).start()


def _end_after(process: Any) -> None:
    process.join()
    os._exit(1)
