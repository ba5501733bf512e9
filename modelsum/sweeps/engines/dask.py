"""Tasks done by the workers of a Dask cluster: an answer is fetched when it is there, and kept on no worker.

What Dask does by itself: the tasks of a worker that is gone are given to others. What is done here: a worker
of other versions, or with other sources of the user's, is refused; a task whose process ended is done once
more, and is lost when that ends as well.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from modelsum.cache import evidence
from modelsum.cache.owners import INSTALLED
from modelsum.errors import UsageError
from modelsum.sweeps import keys
from modelsum.sweeps.answering import Answer, Task
from modelsum.sweeps.engines.child import Child
from modelsum.sweeps.engines.local import Limits
from modelsum.sweeps.rows import LOST

#: Tasks that are with the cluster at once, for each of its threads: one is done, others are on their way.
_AHEAD = 3
_DEATHS = 2
_SECONDS_TO_CONNECT = 10


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a worker does no task."""

    reason: str


def answers(
    tasks: Iterable[Task],
    address: str,
    limits: Limits,
    say: Callable[[str], object],
) -> Generator[tuple[Task, Answer], None, None]:
    """Every task with its answer, as they are done.

    Args:
        address: of the scheduler.
        say: told which workers are refused.

    Raises UsageError where there is no such cluster, or all of its workers are refused.
    """
    with _client(address) as client:
        try:
            yield from _Crew(client, limits, say).answers(iter(tasks))
        finally:
            with contextlib.suppress(OSError):  # the scheduler is gone
                client.run(release, on_error="ignore")


class _Crew:
    """The workers of a cluster, and what they are at."""

    def __init__(self, client: Any, limits: Limits, say: Callable[[str], object]) -> None:
        import distributed

        self._client = client
        self._limits = limits
        self._say = say
        self._under_way: dict[str, Task] = {}
        self._done = distributed.as_completed(loop=client.loop, with_results=True, raise_errors=False)
        self._names = map("modelsum-{}-{}".format, iter(lambda: os.getpid(), None), count())
        self._refused: dict[str, str] = {}
        self._other_sources: set[str] = set()
        self._deaths: Counter[int] = Counter()

    def answers(self, tasks: Iterator[Task]) -> Generator[tuple[Task, Answer], None, None]:
        threads = sum(self._client.nthreads().values()) or 1
        for task in islice(tasks, _AHEAD * threads):
            self._give(task)
        for future, result in self._done:
            task = self._under_way.pop(future.key)
            is_done = future.status == "finished"
            future.release()
            answer = self._answer(task, result) if is_done else self._failed(result)
            if answer is None:
                self._give(task)
                continue
            yield task, answer
            for following in islice(tasks, 1):
                self._give(following)

    def _give(self, task: Task) -> None:
        others = (
            [each for each in self._client.nthreads() if each not in self._refused] if self._refused else None
        )
        future = self._client.submit(
            work,
            dict(keys.versions()),
            os.getcwd(),
            pickle.dumps((task, self._limits)),
            key=next(self._names),
            pure=False,
            workers=others,
            allow_other_workers=bool(others),
        )
        self._under_way[future.key] = task
        self._done.add(future)

    def _failed(self, result: Any) -> Answer:
        """What became of a task that Dask gave up. Raises UsageError where its function could not run."""
        error = result[1] if isinstance(result, tuple) else result
        if type(error).__name__ == "KilledWorker":
            return Answer(LOST, reason="the workers that it was given to ended")
        raise UsageError(
            f"a worker of the cluster cannot do it: {type(error).__name__}: {error}",
            "Every worker needs the modelsum that is here.",
        )

    def _answer(self, task: Task, result: tuple[str, Answer | _Refused]) -> Answer | None:
        """The answer; None where the task has to be done again. Raises UsageError where nobody could."""
        worker, answer = result
        if isinstance(answer, _Refused):
            self._refuse(worker, answer.reason)
            return None
        if answer.marks is not None and (file := _other_source(answer.marks)):
            self._other_sources.add(answer.evidence)
            self._refuse(worker, f"its {file} is not the one that is here")
        if answer.evidence in self._other_sources:
            return None
        if answer.status == LOST:
            self._deaths[task.number] += 1
            if self._deaths[task.number] < _DEATHS:
                return None
        return answer

    def _refuse(self, worker: str, reason: str) -> None:
        if worker not in self._refused:
            self._refused[worker] = reason
            self._say(f"modelsum: notice: worker {worker} is refused: {reason}")
        if all(each in self._refused for each in self._client.nthreads()):
            raise UsageError(
                f"every worker of the cluster is refused: {reason}",
                "They need the versions and the sources of the machine that asks.",
            )


def work(versions: Mapping[str, str], folder: str, task: bytes) -> tuple[str, Answer | _Refused]:
    """On a worker: its address, and the answer."""
    import distributed

    here = distributed.get_worker().address
    for name, version in keys.versions().items():
        if version != versions.get(name):
            other = f"{name} is {version or 'not there'} on it, and {versions.get(name) or 'not there'} here"
            return here, _Refused(other)
    if not os.path.isdir(folder):
        return here, _Refused(f"there is no folder {folder!r} on it")
    asked, limits = pickle.loads(task)
    key = threading.get_ident(), folder, limits
    child = _children.pop(key, None) or Child(folder, limits)
    try:
        answer = child.answer(asked)
    except EOFError:
        return here, Answer(LOST, reason="the process that built and ran it ended")
    _children[key] = child
    return here, answer


#: On a worker: the processes that wait for the next task of a thread.
_children: dict[tuple[int, str, Limits], Child] = {}


def release() -> None:
    """On a worker: let the processes that wait for tasks end."""
    while _children:
        _children.popitem()[1].end()


def _other_source(marks: Mapping[tuple[str, str, str], str]) -> str | None:
    """A file of the user's that an answer stood on, and that is another one here."""
    own = {q: mark for q, mark in marks.items() if q[0] == "contents" and not q[1].startswith(INSTALLED)}
    return next((q[1] for q, mark in own.items() if not evidence.holds({q: mark})), None)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        import distributed
    except ImportError:
        raise UsageError("--dask needs distributed", "pip install 'modelsum[dask]'") from None
    try:
        client = distributed.Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"there is no Dask scheduler at {address!r}: {error}") from error
    with client:
        yield client
