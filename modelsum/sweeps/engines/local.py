"""Tasks done by processes of this machine: one that dies or hangs is that task's loss alone."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelsum import jobs
from modelsum.cache.questions import mark
from modelsum.processes import how_it_ended
from modelsum.sources.definition import module_file
from modelsum.spec import ModelSpec
from modelsum.sweeps import keys
from modelsum.sweeps.answering import Answer, Task, answer, warm
from modelsum.sweeps.engines import limits
from modelsum.sweeps.rows import LOST, TIMEOUT


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task may take.

    Attributes:
        seconds: None for as many as it likes.
        bytes: more memory than a process has before the first task; None for most of what is free.
    """

    seconds: float | None = None
    bytes: int | None = None


def answers(tasks: Iterable[Task], most: int, allowed: Limits) -> Generator[tuple[Task, Answer], None, None]:
    """Every task with its answer, as they are done; a task is asked for when a process is free for it.

    Args:
        most: how many at once.
    """
    work = partial(_held, allowed.bytes or limits.free_bytes())
    lost = partial(_lost, allowed)
    limited = allowed.seconds is not None
    timeout = (lambda task: allowed.seconds) if limited else None
    found = jobs.as_finished(
        work, tasks, jobs=most, lost=lost, timeout=timeout, kind=lambda task: task.kind, prepare=warm
    )
    for _, task, result in found:
        yield task, result


_is_held = False


def _held(most_bytes: int | None, task: Task) -> Answer:
    """The answer, in a process that has held its memory since its first task."""
    global _is_held
    if not _is_held and most_bytes is not None and not task.request.device.startswith("cuda"):
        limits.hold(most_bytes)  # CUDA reserves addresses that are no memory
    _is_held = True
    return answer(task)


def _lost(allowed: Limits, task: Task, ended: jobs.Ended) -> Answer:
    """What is known of a task whose process has ended: of its sources, the file that defines its model."""
    status, reason = LOST, how_it_ended(ended.status)
    if ended.timed_out:
        status, reason = TIMEOUT, f"it took longer than {allowed.seconds:g} s"
    model = task.request.model
    if not task.watched or not task.kind or not isinstance(model, ModelSpec):
        return Answer(status, reason=reason)
    if model.kind == "import":
        file = module_file(model.name, Path.cwd())
    else:
        file = Path.cwd() / (model.name if model.kind == "file" else model.text)
    question = ("contents", str(file), "")
    marks = {question: mark(question)}
    return Answer(status, reason=reason, evidence=keys.evidence_name(sorted(marks.items())), marks=marks)
