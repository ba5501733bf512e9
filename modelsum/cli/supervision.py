"""The command as two processes: one works, and one is there when it ends.

The work runs the code of models, which may end its process as it likes: by os._exit, by a crash in a
compiled library, or by taking all memory. So the process that the user started forks before anything is
loaded, lets the other one work, and ends as that ended, or says how it was ended. Signals that reach it alone
are passed on; where it is killed itself, the kernel ends the one that works, and that one's workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from modelsum.processes import end_with_parent, how_it_ended

INTERRUPTED = 130
MODEL_FAILED = 3

#: After a second Ctrl-C, so many seconds after the first, nothing is waited for.
_PATIENCE = 1.0


def end_as(work: Callable[[], int], *, interrupt: Any = signal.default_int_handler) -> None:
    """End this process as the work ends, whose result is an exit code.

    Args:
        work: runs in a process of its own on Linux, where the signals that reached a process say who sent
            them; in this one elsewhere.
        interrupt: what the work does with SIGINT.
    """
    if sys.platform != "linux":
        os._exit(_worked(work, interrupt))
    passed_on = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed_on, signal.SIGCHLD})
    finished, tell = os.pipe()
    parent = os.getpid()
    worker = os.fork()
    if not worker:
        end_with_parent(parent)
        code = _worked(work, interrupt, before)
        os.write(tell, b"done")
        os._exit(code)
    asked, status = _waited_for(worker, {*passed_on, signal.SIGCHLD})
    os.set_blocking(finished, False)
    try:
        is_done = bool(os.read(finished, 4))
    except BlockingIOError:  # something that the work started is still there, and could write
        is_done = False
    _end(status, is_done, asked)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Ctrl-C ends this process as the system does: nothing is there to clean up, and no code to hear it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _worked(
    work: Callable[[], int], interrupt: Any, unblocked: Iterable[signal.Signals | int] | None = None
) -> int:
    """The exit code of the work; Ctrl-C is heard from here on, also one that has been waiting.

    Libraries take an interrupt for a failure of their own, and go on: the work was interrupted all the same.
    """
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        signal.default_int_handler(number, frame)

    code = None
    try:
        signal.signal(signal.SIGINT, hear if interrupt is signal.default_int_handler else interrupt)
        if unblocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        code = work()
    except KeyboardInterrupt:
        heard = True
    if code is not None and (not heard or code == INTERRUPTED):
        return code
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say("interrupted")
    return INTERRUPTED


def _waited_for(worker: int, signals: set[signal.Signals]) -> tuple[int | None, int]:
    """The signal that was to end the command, if one was, and the status with which the work ended."""
    asked: int | None = None
    first = 0.0
    while True:
        got = signal.sigwaitinfo(signals)
        if got.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(worker, os.WNOHANG)
            if ended:
                return asked, os.waitstatus_to_exitcode(status)
            continue
        if asked is not None and time.monotonic() - first > _PATIENCE:
            os.kill(worker, signal.SIGKILL)
        elif got.si_code <= 0:  # sent by a process, to this one; a terminal sends to both
            os.kill(worker, got.si_signo)
        if asked is None:
            asked, first = got.si_signo, time.monotonic()


def _end(status: int, is_done: bool, asked: int | None) -> None:
    """End with the status of the work, or with what ended it before it was done."""
    if is_done:
        os._exit(status)
    if asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {asked})
        os.kill(os.getpid(), asked)
    if asked == signal.SIGINT or status == -signal.SIGINT:
        _say("interrupted")
        os._exit(INTERRUPTED)
    _say(how_it_ended(status))
    os._exit(MODEL_FAILED)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, f"modelsum: error: {message}\n".encode())
