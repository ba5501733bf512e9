"""Processes: what is said of one that ended too soon, and ending with the one that started it."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that forked it ends, also by kill -9; on Linux alone.

    Args:
        parent: the process that forked this one. Where it is gone already, this one ends here.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)


def how_it_ended(status: int) -> str:
    """What is said of a process that built and ran a model, and ended before it was done.

    Args:
        status: its exit code, or the number of the signal that ended it, negative.
    """
    if status >= 0:
        return f"the model's code ended the process (exit code {status})"
    name = signal.Signals(-status).name
    reason = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"the process that built and ran it was ended by {name}{reason}"
