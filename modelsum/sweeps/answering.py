"""A question answered in a process that answers many: what a row has of the answer, and what it stood on."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelsum import api
from modelsum.baselines import figures
from modelsum.cache import evidence
from modelsum.cache.questions import Question
from modelsum.cache.seen import Seen
from modelsum.errors import ModelsumError
from modelsum.raised import fault
from modelsum.request import Request
from modelsum.spec import parse_model
from modelsum.summary import Summary
from modelsum.sweeps import keys
from modelsum.sweeps.rows import ERROR, OK

Marks = Mapping[Question, str]


@dataclass(frozen=True, slots=True)
class Task:
    """A point to be done.

    Attributes:
        number: of the point.
        request: what it asks for.
        kind: what tells its own code apart (modelsum.sweeps.keys): tasks of different kinds share no process.
        watched: what the answer depends on is wanted too.
    """

    number: int
    request: Request
    kind: str = ""
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a task.

    Attributes:
        status, figures, memory_bound, reason: those of a row.
        evidence: what it stood on is called so; "" for installed packages alone.
        marks: that evidence, the first time that a process names it.
    """

    status: str
    figures: Mapping[str, int | None] = field(default_factory=dict)
    memory_bound: str = ""
    reason: str = ""
    evidence: str = ""
    marks: Marks | None = None


def warm() -> None:
    """Import torch, and do what a process does once for its first answer: those forked from it need not.

    Without a training step: where there are devices, autograd would not work in a fork after one.
    """
    api.run(Request(parse_model("squeezenet1_1"), memory=None))


def answer(task: Task) -> Answer:
    """Build and run the model of a task. What it prints is not shown: thousands of others do too."""
    watch = _watch_of_this_process() if task.watched and task.kind else None
    silent = io.StringIO()
    with contextlib.redirect_stderr(silent), contextlib.redirect_stdout(silent):
        try:
            summary = api.run(task.request)
        except (Exception, SystemExit) as error:
            wrong = error if isinstance(error, ModelsumError) else fault(error)
            found = Answer(ERROR, reason=" ".join(wrong.message.split()))
        else:
            bound = summary.memory.bound if summary.memory else ""
            found = Answer(OK, figures.of_summary(summary), bound, _unknown(task.request, summary))
    if watch is None:
        return found
    name, marks = watch.evidence()
    return Answer(found.status, found.figures, found.memory_bound, found.reason, name, marks)


def _unknown(request: Request, summary: Summary) -> str:
    """Why figures of the memory are not known that were asked for; "" where they are."""
    if summary.memory is not None:
        return summary.memory.without_training
    return summary.notices[-1] if request.memory is not None and summary.notices else ""


class _Watch:
    """Hears what is asked of the user's files, from the first task to the end of the process."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._seen: Seen = self._open.enter_context(evidence.watching())
        self._heard: tuple[int, ...] = ()
        self._name = ""

    def evidence(self) -> tuple[str, Marks | None]:
        """What the tasks so far depended on: its name, and itself where that is new.

        Doubts do not matter, as they do for kept answers: nobody wants the rows that are there done again.
        """
        seen = self._seen
        sought = sum(map(len, seen.sought.values()))
        heard = (len(seen.marks), len(seen.read), sought, len(sys.modules))
        if heard == self._heard:
            return self._name, None
        marks = evidence.known(seen)
        self._heard = (*heard[:2], sum(map(len, seen.sought.values())), heard[3])
        self._name = keys.evidence_name(sorted(marks.items()))
        return self._name, marks


_watch: _Watch | None = None


def _watch_of_this_process() -> _Watch:
    global _watch
    if _watch is None:
        _watch = _Watch()
    return _watch
