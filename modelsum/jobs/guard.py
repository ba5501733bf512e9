"""A process that ends what the workers started, should the process that they work for be gone."""

from __future__ import annotations

import contextlib
import os
import signal


class Guard:
    """Ends groups of processes when this one ends before it has let them go, also by kill -9. On Linux.

    The kernel kills a worker then, but not what the model that it worked on has started. The guard waits for
    the end of a pipe that this process holds, and workers until they have entered their group.
    """

    def __init__(self) -> None:
        told, self._tell = os.pipe()
        self._process = os.fork()
        if not self._process:
            try:
                os.setsid()  # no signal that a terminal sends to the command reaches it
                os.close(self._tell)
                _wait(told)
            finally:
                os._exit(0)
        os.close(told)

    def enter(self) -> None:
        """In a worker, as the leader of its group: from here on the group ends with this guard's process."""
        os.write(self._tell, b"%d\n" % os.getpid())
        os.close(self._tell)

    def leave(self, worker: int) -> None:
        """The worker's group has been ended; the number may soon be another's."""
        with contextlib.suppress(OSError):  # somebody has killed the guard
            os.write(self._tell, b"%d\n" % -worker)

    def close(self) -> None:
        """End the guard alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, 0)
        os.close(self._tell)


def _wait(told: int) -> None:
    groups: set[int] = set()
    with open(told) as lines:
        for line in lines:
            group = int(line)
            if group > 0:
                groups.add(group)
            else:
                groups.discard(-group)
    for group in groups:
        end_group(group)


def end_group(leader: int) -> None:
    """Kill all of a group of processes that are still there."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
