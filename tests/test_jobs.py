"""Work in several processes: in order, complete, and without those that die."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable

import pytest

from modelsum import errors, jobs


def squared(number: int) -> tuple[int, int]:
    time.sleep(0.05 * (4 - number))  # the first takes longest
    return number**2, os.getpid()


def squared_unless_two(number: int) -> tuple[int, int]:
    if number == 2:
        os._exit(9)
    return squared(number)


def lost(number: int) -> tuple[int, int]:
    return -number, 0


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
    assert (processes == {os.getpid()}) == (many == 1)
    assert len(processes) <= many


def test_one_item_is_worked_on_here() -> None:
    assert list(jobs.results(squared, [3], jobs=8, lost=lost)) == [(9, os.getpid())]


def test_a_process_that_dies_takes_nobody_along() -> None:
    found = jobs.results(squared_unless_two, range(4), jobs=2, lost=lost)
    assert [value for value, _ in found] == [0, 1, -2, 9]


def test_who_stops_asking_waits_for_little() -> None:
    begun = time.monotonic()
    asked = jobs.results(time.sleep, [0.0, *[60.0] * 5], jobs=2, lost=lambda seconds: None)
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
