"""A process that works on one item after the other, and how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from modelsum.jobs.guard import Guard, end_group
from modelsum.processes import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

#: Elsewhere than on Linux a fork is not safe, and a process begins anew.
FORKS = sys.platform == "linux"

#: How long a process that lets go of its item may take to end, so that it can be told how it did.
_ENDING = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process of an item ended before its result was there.

    Attributes:
        status: its exit code; a signal's number, negative, where one ended it.
        timed_out: it was ended here, as the item took longer than it may.
    """

    status: int
    timed_out: bool = False


class Worker(Generic[T, R]):
    """A process, and the item that it works on.

    Attributes:
        place, item: what it works on, or has worked on last.
        deadline: the moment of the monotonic clock when that has taken too long; None where it may take
            as long as it likes.
        signs: what `multiprocessing.connection.wait` waits for: an answer, and the process' end.
    """

    def __init__(self, work: Callable[[T], R], guard: Guard | None) -> None:
        context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs, os.getpid(), guard))
        self._process.start()
        theirs.close()
        self._guard = guard
        end = sign_of_the_end(self._process.pid)
        self._end: int = end if end is not None else self._process.sentinel
        self.signs: tuple[Any, ...] = (self._connection, self._end)
        self.place = -1
        self.item: Any = None
        self.deadline: float | None = None

    def take(self, place: int, item: T, timeout: float | None) -> bool:
        """Begin with an item. Returns False where the process is not there any more."""
        self.place, self.item = place, item
        self.deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if self._process.is_alive():
                self._connection.send((place, item))
                return True
        except OSError:
            pass
        return False

    def result(self) -> R:
        """What was made of the item. Raises what the work raised, or EOFError where there is no answer."""
        try:
            if not self._connection.poll():
                raise EOFError
            worked, result = self._connection.recv()
        except OSError as error:  # it ended in the middle of its answer
            raise EOFError from error
        if not worked:
            raise result
        return result  # type: ignore[no-any-return]

    def dismiss(self) -> None:
        """Let it end by itself."""
        with contextlib.suppress(OSError):
            self._connection.send(None)

    def wait(self, seconds: float = _ENDING) -> None:
        """Give it some time to end by itself."""
        connection.wait([self._end], seconds)

    def end(self) -> int:
        """End it, and what it started. Returns how it ended."""
        end_group(self._process.pid)
        self._process.kill()
        self._process.join()
        if self._guard is not None:
            self._guard.leave(self._process.pid)
        self._connection.close()
        if self._end != self._process.sentinel:
            os.close(self._end)
        return int(self._process.exitcode)


def sign_of_the_end(process: int) -> int | None:
    """A file that is ready once a process has ended; None where the system has none.

    Multiprocessing's own sign on Linux, the end of a pipe, does not come while a process that the model
    forked is alive: it holds that pipe too.
    """
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # a kernel before 5.3, or a sandbox that refuses it
            return os.pidfd_open(process)
    return None


def _serve(work: Callable[[Any], Any], asked: Any, parent: int, guard: Guard | None) -> None:
    """What a process does: items come, results go back."""
    _live_with(parent, guard)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody answers questions of one model among several
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)  # which can be the model's own alone
    if "torch" in sys.modules:
        # The threads of OpenMP do not survive a fork, and the cores are taken anyway.
        sys.modules["torch"].set_num_threads(1)
    here = os.getpid()
    while (message := asked.recv()) is not None:
        try:
            answer = True, work(message[1])
        except BaseException as error:
            answer = False, error
        if os.getpid() != here:  # a fork of the model's, which came back as well: one answer is enough
            os._exit(0)
        try:
            asked.send(answer)
        except OSError:
            raise
        except Exception as error:
            asked.send((False, TypeError(f"{answer[1]!r} cannot be sent from a process: {error}")))


def _live_with(parent: int, guard: Guard | None) -> None:
    """Let this process, and what it starts, be ended as one; and end it with the parent."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C on a terminal reaches the parent, which ends this one
    if guard is not None:
        end_with_parent(parent)
        guard.enter()
    elif (process := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_after, args=(process,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    end_group(os.getpid())
    os._exit(1)
