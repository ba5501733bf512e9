"""A sweep on a local Dask cluster: a worker that is lost, points that die, workers of other versions."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelsum
from modelsum.cache.questions import mark
from modelsum.errors import UsageError
from modelsum.request import Request
from modelsum.spec import parse_model
from modelsum.sweeps import keys
from modelsum.sweeps.answering import Answer, Task
from modelsum.sweeps.engines import dask
from modelsum.sweeps.engines.local import Limits

distributed = pytest.importorskip("distributed")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


class TwoWorkers:
    """What the engine asks of a client."""

    loop = object()

    def nthreads(self) -> dict[str, int]:
        return {"tcp://one": 1, "tcp://two": 1}


def test_a_worker_with_other_sources_is_refused(folder: Path) -> None:
    """Its answers are not taken: not the first, which names what it stood on, and not those after it."""
    said: list[str] = []
    crew = dask._Crew(TwoWorkers(), Limits(), said.append)
    task = Task(0, Request(parse_model("nets.py:Net")), "nets.py", watched=True)
    question = ("contents", str(folder / "nets.py"), "")
    same, other = {question: mark(question)}, {question: "the digest of another file"}
    answer = Answer("ok", evidence="same", marks=same)
    assert crew._answer(task, ("tcp://one", answer)) is answer
    assert crew._answer(task, ("tcp://two", Answer("ok", evidence="other", marks=other))) is None
    assert crew._answer(task, ("tcp://two", Answer("ok", evidence="other"))) is None
    file = folder / "nets.py"
    assert said == [f"modelsum: notice: worker tcp://two is refused: its {file} is not the one that is here"]
    with pytest.raises(UsageError, match="every worker of the cluster is refused"):
        crew._answer(task, ("tcp://one", Answer("ok", evidence="third", marks=other)))


def test_a_point_that_ends_its_process_is_done_once_more_and_then_lost() -> None:
    crew = dask._Crew(TwoWorkers(), Limits(), print)
    task, lost = Task(7, Request(parse_model("resnet18"))), Answer("lost", reason="it ended")
    assert crew._answer(task, ("tcp://one", lost)) is None
    assert crew._answer(task, ("tcp://two", lost)) is lost


def own(**args: Any) -> dict[str, Any]:
    return {"model": "nets.py:Net", "input": "8", **{f"args.{name}": value for name, value in args.items()}}


@slow
def test_points_that_die_or_hang_are_rows_and_all_others_are_done(cluster: Any, folder: Path) -> None:
    grid = own(how=["", "exits", "is killed", "hangs", "raises"], width=[1, 2])
    found = modelsum.sweep(grid, dask=cluster.scheduler_address, output="rows.csv", timeout=20)
    status = {row.point["args.how"]: row.status for row in found.rows}
    assert status == {"": "ok", "exits": "lost", "is killed": "lost", "hangs": "timeout", "raises": "error"}
    assert [row.figures.get("params") for row in found.rows][:2] == [9, 18]
    assert found.rows == modelsum.sweep(grid, output="rows.csv").rows, "here they are done, as they are there"


@slow
def test_the_points_of_a_worker_that_is_killed_are_done_again(cluster: Any, folder: Path) -> None:
    def kill() -> None:
        while not Path("rows.jsonl").exists() or Path("rows.jsonl").read_text().count("\n") < 5:
            time.sleep(0.05)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    grid = own(width=list(range(1, 41)), how="takes its time")
    found = modelsum.sweep(grid, dask=cluster.scheduler_address, output="rows.jsonl")
    killer.join()
    assert [row.figures.get("params") for row in found.rows] == [9 * width for width in range(1, 41)]
    assert Path("rows.jsonl").read_text().count("\n") == 40


def set_version(version: str) -> None:
    """On a worker: as if it had another torch."""
    keys.versions.cache_clear()
    here = dict(keys.versions())
    if version:
        keys.versions = lambda: {**here, "torch": version}  # type: ignore[assignment]


@slow
def test_workers_of_other_versions_are_refused(
    cluster: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with distributed.Client(cluster) as client:
        one, *others = client.nthreads()
        client.run(set_version, "1.0", workers=[one])
        found = modelsum.sweep(own(width=[1, 2, 3, 4]), dask=cluster.scheduler_address)
        assert [row.figures.get("params") for row in found.rows] == [9, 18, 27, 36]
        here = keys.versions()["torch"]
        assert f"worker {one} is refused: torch is 1.0 on it, and {here} here" in capsys.readouterr().err
        client.run(set_version, "1.0", workers=others)
        with pytest.raises(UsageError, match=r"every worker of the cluster is refused: torch is 1\.0"):
            modelsum.sweep(own(width=[1]), dask=cluster.scheduler_address)
