"""A process beside a worker of a cluster that does its tasks: what a model does to it, the worker survives.

    python -m modelsum.sweeps.engines.child DESCRIPTOR PARENT

Tasks come and answers go over a socket. The process is single-threaded, as a worker is not, so that it can
fork: the models run in processes of its own (modelsum.sweeps.engines.local), with their limits.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection

from modelsum.processes import end_with_parent
from modelsum.sweeps.answering import Answer, Task
from modelsum.sweeps.engines import local
from modelsum.sweeps.engines.local import Limits


class Child:
    """The process, in a folder, seen from the worker."""

    def __init__(self, folder: str, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=folder,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send(limits)

    def answer(self, task: Task) -> Answer:
        """What became of a task. Raises EOFError where the process itself ended."""
        try:
            self._connection.send(task)
            found: Answer = self._connection.recv()
            return found
        except (EOFError, OSError):
            self._process.kill()
            self.end()
            raise EOFError from None

    def end(self) -> None:
        """Let it end: there are no more tasks."""
        self._connection.close()
        self._process.wait()


def main(descriptor: int, parent: int) -> None:
    """Answer tasks until there are no more."""
    end_with_parent(parent)
    connection = Connection(descriptor)
    limits: Limits = connection.recv()
    sys.path.insert(0, "")  # as for the command: modules of the folder are found

    def tasks() -> Iterator[Task]:
        while True:
            try:
                yield connection.recv()
            except EOFError:
                return

    for _, answer in local.answers(tasks(), 1, limits):
        connection.send(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
