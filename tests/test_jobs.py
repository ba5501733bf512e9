"""Work in several processes: in order, complete, and without those that die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsum import errors, jobs

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def squared(number: int) -> tuple[int, int]:
    time.sleep(max(0.05 * (4 - number), 0))  # the first takes longest
    return number**2, os.getpid()


def kills_itself(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_150(number: int) -> tuple[int, int]:
    if number == 150:
        os._exit(9)
    return number, os.getpid()


def starts_a_program(file: str) -> None:
    Path(file).write_text(str(subprocess.Popen(["sleep", "600"]).pid))


def leaves_a_fork_behind_and_dies(file: str) -> None:
    """As a program does that goes on in the background: what it holds, pipes too, stays open."""
    if child := os.fork():
        Path(file).write_text(str(child))
        os._exit(7)
    time.sleep(600)


def forks_at_zero(number: int) -> int:
    if number == 0:
        os.fork()
    return number


def interrupts_itself(number: int) -> None:
    signal.raise_signal(signal.SIGINT)


def ends_soon(number: int) -> int:
    """The process ends when the item is long done."""
    if number == 0:
        threading.Timer(0.1, os._exit, [5]).start()
    return number


def not_to_be_sent(number: int) -> Callable[[], int]:
    return lambda: number


def is_child_of(process: int) -> bool:
    return os.getppid() == process


def kills_the_pool(number: int) -> int:
    """The process that began anew and has the pool, not the one that works."""
    if number == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    return number


def starts_a_program_and_sleeps(file: str) -> None:
    """At the second item."""
    if Path(file).exists():
        time.sleep(600)
    starts_a_program(file)


def asks(number: int) -> bytes:
    return os.read(0, 1)


def one_over(number: int) -> float:
    return 1 / number


def squared_unless_two(number: int) -> tuple[int, int]:
    if number == 2:
        os._exit(9)
    return squared(number)


def lost(number: int, ended: jobs.Ended) -> tuple[int, int]:
    return -number, ended.status


def asleep_for(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


def waits_for(file: Path) -> str:
    """Until the file is there, however slow the machine is."""
    while not file.exists():
        time.sleep(0.01)
    return "done"


@pytest.mark.parametrize("many", [1, 3, 8])
def test_results_come_in_order_from_as_many_processes(many: int) -> None:
    done: list[tuple[int, int]] = []
    found = list(
        jobs.results(squared, range(4), jobs=many, lost=lost, done=lambda *finished: done.append(finished))
    )
    assert [value for value, _ in found] == [0, 1, 4, 9]
    assert [finished for finished, _ in done] == [1, 2, 3, 4]
    assert sorted(item for _, item in done) == [0, 1, 2, 3]
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert len(processes) <= many


@pytest.mark.parametrize("many", [1, 2])
def test_a_process_that_dies_takes_nobody_along_and_says_how(many: int) -> None:
    found = list(jobs.results(squared_unless_two, range(4), jobs=many, lost=lost))
    assert [value for value, _ in found] == [0, 1, -2, 9]
    assert found[2][1] == 9


def test_a_killed_process_is_told_by_the_signal() -> None:
    ended = list(jobs.results(kills_itself, [0], jobs=1, lost=lambda item, ended: ended))
    assert ended == [jobs.Ended(-signal.SIGKILL)]


def test_one_death_in_300_items_costs_one_process_more() -> None:
    found = list(jobs.results(dies_at_150, range(300), jobs=2, lost=lost))
    assert [n for n, (value, _) in enumerate(found) if value != n] == [150]
    processes = {process for value, process in found if value >= 0}
    assert len(processes) <= 3, "two, and one in place of the dead one"


@pytest.mark.parametrize(("many", "processes"), [(1, {3}), (2, {3, 4, 5})])
def test_items_of_different_kinds_share_no_process(many: int, processes: set[int]) -> None:
    """One goes on with items of its kind, and makes room for another of another one."""
    found = jobs.as_finished(squared, [4, 4, 6, 6, 4], jobs=many, lost=lost, kind=lambda number: number)
    kinds = {(number, process) for _, number, (_, process) in found}
    assert len({process for _, process in kinds}) == len(kinds)
    assert len(kinds) in processes, "two at once may be of one kind"


def test_an_item_that_takes_too_long_is_given_up_and_no_other() -> None:
    late = jobs.Ended(-signal.SIGKILL, timed_out=True)
    found = jobs.results(
        asleep_for, [0.0, 600.0, 0.0], jobs=2, timeout=lambda _: 2.0, lost=lambda item, ended: ended
    )
    assert list(found) == ["done", late, "done"]


def test_items_come_as_they_are_finished_and_leave_one_by_one(tmp_path: Path) -> None:
    (others := tmp_path / "others").touch()
    given: list[Path] = []

    def items():
        for file in (tmp_path / "first", others, others, others):
            given.append(file)
            yield file

    found = jobs.as_finished(
        waits_for, items(), jobs=2, timeout=lambda _: 60, lost=lambda item, ended: "lost"
    )
    assert next(found)[0] == 1
    assert len(given) == 2, "the others have not been asked for"
    assert [next(found)[0], next(found)[0]] == [2, 3]
    given[0].touch()
    assert [place for place, _, _ in found] == [0]


def is_gone(file: Path) -> bool:
    """Whether the process whose number is in the file ends soon."""
    status = Path("/proc", file.read_text(), "status")
    deadline = time.monotonic() + 10
    while status.exists() and "State:\tZ" not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    return time.monotonic() < deadline


def test_what_an_item_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    list(jobs.results(starts_a_program, [str(file)], jobs=1, lost=lambda item, ended: None))
    assert is_gone(file)


@ON_LINUX
def test_what_a_dead_process_left_behind_is_not_waited_for_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    begun = time.monotonic()
    found = jobs.results(leaves_a_fork_behind_and_dies, [str(file)], jobs=1, lost=lambda item, ended: ended)
    assert list(found) == [jobs.Ended(7)]
    assert time.monotonic() - begun < 60
    assert is_gone(file)


@ON_LINUX
def test_a_fork_that_comes_back_too_answers_for_no_other_item() -> None:
    assert list(jobs.results(forks_at_zero, range(20), jobs=1, lost=lambda item, ended: None)) == [*range(20)]


def test_an_item_that_interrupts_its_process_is_lost_alone() -> None:
    found = jobs.results(interrupts_itself, [0, 1], jobs=2, lost=lambda item, ended: ended)
    assert list(found) == [jobs.Ended(-signal.SIGINT)] * 2


def test_a_process_that_ended_between_two_items_costs_none() -> None:
    found = jobs.as_finished(ends_soon, iter(range(3)), jobs=1, lost=lambda item, ended: -1)
    first = next(found)
    time.sleep(1)
    assert [first, *found] == [(n, n, n) for n in range(3)]


def test_a_result_that_cannot_be_sent_is_an_error_that_says_so() -> None:
    with pytest.raises(TypeError, match="cannot be sent from a process"):
        list(jobs.results(not_to_be_sent, [0], jobs=1, lost=lambda item, ended: not_to_be_sent(1)))


def test_who_asks_in_a_process_gets_the_end_of_the_file() -> None:
    assert list(jobs.results(asks, [0], jobs=1, lost=lambda item, ended: b"lost")) == [b""]


@pytest.mark.parametrize("timeout", [30, 1e12])
def test_a_limit_may_be_longer_than_systems_can_wait(timeout: float) -> None:
    found = jobs.results(asleep_for, [0.2], jobs=1, timeout=lambda _: timeout, lost=lambda item, ended: ended)
    assert list(found) == ["done"]


NEW_PROCESSES = """
from modelsum.jobs import pool, sharing, worker
worker.FORKS = sharing.FORKS = pool.FORKS = False
import test_jobs as t
if __name__ == "__main__":
    lost = lambda item, ended: (-item, ended.status)
    print(list(sharing.results(abs, [-1, -2], jobs=1, lost=lost)))
    print([value for value, _ in sharing.results(t.squared_unless_two, range(4), jobs=2, lost=lost)])
    late = lambda item, ended: ended.timed_out
    print(list(sharing.results(t.asleep_for, [600.0], jobs=1, timeout=lambda _: 2, lost=late)))
"""


def test_where_a_process_begins_anew_it_is_the_same(tmp_path: Path) -> None:
    (file := tmp_path / "anew.py").write_text(NEW_PROCESSES)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["[1, 2]", "[0, 1, -2, 9]", "[True]"], done.stderr


AFTER_A_BACKWARD_PASS_WITH_DEVICES = """
import os, sys
from modelsum import jobs
from modelsum.jobs import sharing
import test_jobs as t

sharing.copies_work = lambda: False  # test_sweeping has a process where it is so
print("the script runs")
lost = lambda item, ended: (item, ended.status, ended.timed_out)
print(list(jobs.results(t.is_child_of, [os.getpid()] * 2, jobs=1, lost=lost)))
print([value for value, *_ in jobs.results(t.squared_unless_two, range(4), jobs=2, lost=lost)])
late = jobs.as_finished(t.asleep_for, [600.0, 0.0], jobs=2, lost=lost, timeout=lambda s: 3)
print([item for _, item, _ in late])
print(list(jobs.results(t.kills_the_pool, range(3), jobs=1, lost=lost)))
try:
    list(jobs.results(t.one_over, [1, 0], jobs=2, lost=lost))
except ZeroDivisionError:
    print("raised")
asked = jobs.results(t.starts_a_program_and_sleeps, [sys.argv[1]] * 2, jobs=1, lost=lost)
next(asked)
asked.close()
"""


@ON_LINUX
def test_a_pool_that_begins_anew_is_the_same(tmp_path: Path) -> None:
    """Of a script that is no module: it is not run again."""
    (file := tmp_path / "anew.py").write_text(AFTER_A_BACKWARD_PASS_WITH_DEVICES)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "pid")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.splitlines() == [
        "the script runs",
        "[False, False]",
        "[0, 1, 2, 9]",
        "[0.0, 600.0]",
        "[0, (1, -9, False), 2]",
        "raised",
    ], done.stderr
    assert is_gone(tmp_path / "pid")


def test_a_fault_in_the_work_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(jobs.results(one_over, [1, 0], jobs=2, lost=lost))


def test_who_stops_asking_waits_for_little() -> None:
    begun = time.monotonic()
    asked = jobs.results(time.sleep, [0.0, *[60.0] * 5], jobs=2, lost=lambda seconds, ended: None)
    next(asked)
    asked.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 30


def of_every_kind() -> list[errors.ModelsumError]:
    kinds: list[Callable[..., errors.ModelsumError]] = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ModelsumError)
    ]
    more = {errors.ForwardError: {"summary": "what ran", "device_limit": True}}
    return [kind("what failed", "what is valid", **more.get(kind, {})) for kind in kinds]


@pytest.mark.parametrize("error", of_every_kind(), ids=lambda error: type(error).__name__)
def test_errors_come_back_whole(error: errors.ModelsumError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))
