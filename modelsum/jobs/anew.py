"""A pool in a process that begins anew, where copies of this one could not do the work.

What went on before in a process of the user's can make copies of it useless: autograd refuses to work in a
fork once it has started threads for devices, as by any backward pass on a machine with an accelerator, and so
does CUDA. A new process has the pool then; here are the items, and here is made of them what is lost.
Multiprocessing's own way to begin one, and that of libraries that stand on it, runs the user's script again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from modelsum.jobs.pool import pooled
from modelsum.jobs.worker import Ended, sign_of_the_end
from modelsum.processes import end_with_parent, how_it_ended

T = TypeVar("T")
R = TypeVar("R")

#: What the new process is told by words; the rest it is told through the socket.
_BEGIN = f"""\
import sys
descriptor, parent, *sys.path = sys.argv[1:]
from {__name__} import serve
serve(int(descriptor), int(parent))
"""

#: How long that process may take to end its workers.
_ENDING = 5.0


def copies_work() -> bool:
    """Whether a fork of this process can do what it can itself: one tries, where torch is imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    if torch.cuda.is_initialized():
        return False
    copy = os.fork()
    if not copy:
        try:
            torch.ones((), device="cpu", requires_grad=True).backward()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(copy, 0)[1] == 0


def pooled_anew(
    work: Callable[[T], R],
    numbered: Iterator[tuple[int, T]],
    *,
    jobs: int,
    lost: Callable[[T, Ended], R],
    timeout: Callable[[T], float | None],
    kind: Callable[[T], object],
    prepare: Callable[[], object],
) -> Iterator[tuple[int, T, R]]:
    """What `pooled` does, by a pool in a new process; the work and `prepare` are pickled to get there."""
    under_way: dict[int, T] = {}

    def next_one() -> _Given | None:
        for place, item in numbered:
            under_way[place] = item
            return _Given(place, item, timeout(item), kind(item))
        return None

    while True:
        with contextlib.closing(_Elsewhere(work, jobs, prepare)) as elsewhere:
            try:
                for place, result in elsewhere.finished(next_one):
                    item = under_way.pop(place)
                    yield place, item, lost(item, result) if isinstance(result, Ended) else result[0]
                return
            except _Gone:
                ended = Ended(elsewhere.close())
        if not under_way:
            raise ChildProcessError(f"no process could be begun: {how_it_ended(ended.status)}")
        while under_way:
            place, item = under_way.popitem()
            yield place, item, lost(item, ended)


@dataclass(frozen=True, slots=True)
class _Given:
    """An item on its way to the pool, with what is said of it here."""

    place: int
    item: Any
    seconds: float | None
    kind: object


class _Gone(Exception):
    """The process has ended before its time."""


#: What comes from there besides (place, result) and (None, error): it could do one more; there is no more.
_ASKS, _DONE = "asks", "done"


class _Elsewhere:
    """The process that has the pool, seen from here."""

    def __init__(self, *told: object) -> None:
        ours, theirs = socket.socketpair()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN, str(theirs.fileno()), str(os.getpid()), *path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._end = sign_of_the_end(self._process.pid)
        self._send((sys.argv, *told))

    def finished(self, next_one: Callable[[], _Given | None]) -> Iterator[tuple[int, Any]]:
        """Place and result of items, as they are finished; `next_one` is asked when one more can be done.

        Raises what the work raises, and _Gone.
        """
        while (message := self._message()) != _DONE:
            if message == _ASKS:
                self._send(next_one())
            elif message[0] is None:
                raise message[1]
            else:
                yield message

    def _message(self) -> Any:
        try:
            wait([self._connection] if self._end is None else [self._connection, self._end])
            if self._connection.poll():
                return self._connection.recv()
        except (EOFError, OSError):
            pass
        raise _Gone

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it is gone, as is seen when it should answer
            self._connection.send(message)

    def close(self) -> int:
        """End it, and all that it started. Returns how it ended."""
        self._process.terminate()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._connection.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None
        return self._process.wait()


def serve(descriptor: int, parent: int) -> None:
    """What the new process does: items come, results go back."""
    end_with_parent(parent)
    os.setsid()  # Ctrl-C on a terminal reaches the parent, which ends this one
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    here = Connection(descriptor)
    sys.argv, work, jobs, prepare = here.recv()

    def items() -> Iterator[_Given]:
        while True:
            here.send(_ASKS)
            if (given := here.recv()) is None:
                return
            yield given

    try:
        prepare()
        found = pooled(
            partial(_worked, work),
            enumerate(items()),
            jobs=jobs,
            lost=lambda given, ended: ended,
            timeout=lambda given: given.seconds,
            kind=lambda given: given.kind,
        )
        for _, given, result in found:
            here.send((given.place, result))
        here.send(_DONE)
    except BaseException as error:
        with contextlib.suppress(OSError):  # who asked has gone
            here.send((None, error))
    finally:
        os._exit(0)


def _worked(work: Callable[[Any], R], given: _Given) -> tuple[R]:
    return (work(given.item),)
