"""Sweeps of many points: their time, what a point costs beside `summarize`, and what kills do.

    python tests/benchmarks/sweep_points.py [PART...] [--points N] [--output FOLDER]   # -> reports/sweep.json
    pip install distributed

Parts, each by itself or all:

overhead   Points done by a sweep with one process, and each right after it by what `modelsum.summarize`
           runs, in turns on one core, so that whatever else the machine does falls on both.
cores      N points as `modelsum sweep`, with one process and with two.
killed     The same, killed by SIGKILL three times on the way and called again; its rows are those of `cores`.
dask       The same on a local cluster of three workers, one of which is killed on the way.
client     What the process that writes does for a row, of points that cost nothing; reading rows again; tasks
           that do nothing through a Dask scheduler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "modelsum", "sweep")
ENVIRONMENT = {**os.environ, "MODELSUM_NO_CACHE": "1"}
KILLS = 3


def grid(points: int) -> str:
    """A grid of so many points, a multiple of 20."""
    sizes = [f"3x{96 + 16 * n}x{96 + 16 * n}" for n in range(10)]
    batches = list(range(1, points // 20 + 1))
    return f"""
[[grid]]
model = "mobilenet_v1"
args.width_mult = [0.5, 1.0]
input = {json.dumps(sizes)}
batch = {batches}
memory = false
"""


class Clock:
    """Seconds on the clock, and of the processor in this process and those that have ended."""

    def __init__(self) -> None:
        self._start = self._now()

    def _now(self) -> tuple[float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), sum(each.ru_utime + each.ru_stime for each in used)

    def seconds(self) -> dict[str, float]:
        """Since it was made."""
        now = self._now()
        return {"clock_s": now[0] - self._start[0], "processor_s": now[1] - self._start[1]}


def overhead(points: int) -> dict[str, Any]:
    """What a point takes in a sweep with one process, and right after it by itself, both on the one core."""
    import torch

    from modelsum import api, sweeping
    from modelsum.sweeps import grid as grids
    from modelsum.sweeps.answering import Answer, Task
    from modelsum.sweeps.engines import local

    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sizes = [f"3x{128 + 16 * n}x{128 + 16 * n}" for n in range(points // 4)]
    table = {"model": ["mobilenet_v1", "squeezenet1_1"], "batch": [1, 8], "input": sizes}
    plan = sweeping.plan_of([grids.of_mapping(table)], {})
    pairs: list[tuple[float, float]] = []

    def in_turns(tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """The answers of one process; while it waits for the next task, the same is done here."""
        start = time.monotonic()  # of the task: made, keyed, given, answered; the row before it was written
        for task, answer in local.answers(tasks, 1, local.Limits()):
            swept = time.monotonic() - start
            start = time.monotonic()
            api.run(task.request)
            pairs.append((swept, time.monotonic() - start))
            start = time.monotonic()
            yield task, answer

    with tempfile.TemporaryDirectory() as folder:
        sweeping.run(plan, in_turns, Path(folder) / "rows.csv")  # type: ignore[arg-type]
    pairs = pairs[1:]  # with the first, torch is imported
    swept, alone = map(sum, zip(*pairs, strict=True))
    return {
        "points": len(pairs),
        "sweep, ms a point": 1000 * swept / len(pairs),
        "alone, ms a point": 1000 * alone / len(pairs),
        "ratio of the sums": swept / alone,
        "median ratio of a point": statistics.median(one / other for one, other in pairs),
    }


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file by point; each point once."""
    from modelsum.sweeps import files

    rows = [row.to_dict() for row in files.read(path)]
    by_point = {
        json.dumps({k: v for k, v in row.items() if k in ("input", "batch", "args.width_mult")}): row
        for row in rows
    }
    assert len(by_point) == len(rows), "a point is there twice"
    return by_point


def lines(path: Path) -> int:
    """How many rows a file has by now."""
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def cores(points: int, folder: Path) -> dict[str, Any]:
    """Seconds of the command, with one process and with two."""
    (folder / "grid.toml").write_text(grid(points))
    found = {}
    for jobs in (1, 2):
        clock = Clock()
        arguments = ("grid.toml", "--jobs", str(jobs), "--output", f"rows{jobs}.csv")
        subprocess.run((*COMMAND, *arguments), cwd=folder, env=ENVIRONMENT, check=True)
        found[f"{jobs} processes"] = {**clock.seconds(), "rows": lines(folder / f"rows{jobs}.csv")}
    return {
        "points": points,
        **found,
        "same rows": rows_of(folder / "rows1.csv") == rows_of(folder / "rows2.csv"),
    }


def killed(points: int, folder: Path) -> dict[str, Any]:
    """Rows when each kill came, and whether in the end they are those of the sweep that nobody killed."""
    path = folder / "killed.csv"
    call = (*COMMAND, "grid.toml", "--output", path.name)
    at = []
    for number in range(KILLS):
        process = subprocess.Popen(call, cwd=folder, env=ENVIRONMENT)
        while process.poll() is None and lines(path) < points * (number + 1) // (KILLS + 1):
            time.sleep(0.2)
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        process.wait()
        at.append(lines(path))
    subprocess.run(call, cwd=folder, env=ENVIRONMENT, check=True)
    return {
        "points": points,
        "rows at each kill": at,
        "same rows": rows_of(path) == rows_of(folder / "rows1.csv"),
    }


def dask(points: int, folder: Path) -> dict[str, Any]:
    """Rows when a worker was killed, and whether in the end they are those of this machine's sweep."""
    from distributed import LocalCluster

    path = folder / "dask.csv"
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
        clock = Clock()
        call = (*COMMAND, "grid.toml", "--dask", cluster.scheduler_address, "--output", path.name)
        process = subprocess.Popen(call, cwd=folder, env=ENVIRONMENT)
        while process.poll() is None and lines(path) < points // 3:
            time.sleep(0.2)
        before = lines(path)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        code = process.wait()
        took = clock.seconds()["clock_s"]
    same = rows_of(path) == rows_of(folder / "rows1.csv")
    return {
        "points": points,
        "clock_s": took,
        "rows at the kill": before,
        "exit code": code,
        "same rows": same,
    }


def client(points: int) -> dict[str, Any]:
    """Microseconds a row of the client's work: writing, reading again, and through a Dask scheduler."""
    from modelsum import sweeping
    from modelsum.baselines.figures import FIGURES
    from modelsum.sweeps import files
    from modelsum.sweeps import grid as grids
    from modelsum.sweeps.answering import Answer, Task

    answer = Answer("ok", dict.fromkeys(FIGURES, 123_456_789), "exact")
    table = {"model": "mobilenet_v1", "args.width_mult": [n / 100 for n in range(1, 101)]}
    plan = sweeping.plan_of([grids.of_mapping({**table, "batch": list(range(1, points // 100 + 1))})], {})

    def at_once(tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        for task in tasks:
            yield task, answer

    found: dict[str, Any] = {"rows": len(plan)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        for name in ("write", "go on"):
            clock = Clock()
            sweeping.run(plan, at_once, path)  # type: ignore[arg-type]
            took = clock.seconds()
            found[f"{name}, us a row"] = {unit: 1e6 * took[unit] / len(plan) for unit in took}
        found["bytes a row"] = path.stat().st_size / len(plan)
        clock = Clock()
        files.merge([path], Path(folder) / "merged.csv")
        took = clock.seconds()
        found["merge, us a row"] = {unit: 1e6 * took[unit] / len(plan) for unit in took}
        tracemalloc.start()
        rows = list(files.read(path))
        found["memory, bytes a row"] = tracemalloc.get_traced_memory()[0] / len(rows)
        tracemalloc.stop()
    return found | {"dask, us a task": through_a_scheduler()}


def through_a_scheduler(tasks: int = 3000) -> dict[str, float]:
    """Microseconds of a task that does nothing, with two workers, as the engine gives them.

    The processor's are of this process alone, which is the client and the scheduler.
    """
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as of_cluster,
    ):
        done = distributed.as_completed(with_results=True)
        start, used = time.monotonic(), time.process_time()
        for number in range(6):
            done.add(of_cluster.submit(len, bytes(1500), key=f"a{number}", pure=False))
        for number, (future, _) in enumerate(done, 6):
            future.release()
            if number < tasks:
                done.add(of_cluster.submit(len, bytes(1500), key=f"a{number}", pure=False))
        took = {"clock_s": time.monotonic() - start, "processor_s": time.process_time() - used}
        return {unit: 1e6 * seconds / tasks for unit, seconds in took.items()}


def main() -> None:
    """Measure the parts, and write what was found beside what other runs have found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=ROOT / "reports")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "overhead": partial(overhead, 200),
            "client": partial(client, 20_000),
            "cores": partial(cores, given.points, folder),
            "killed": partial(killed, given.points, folder),
            "dask": partial(dask, given.points, folder),
        }
        for part in given.parts or parts:
            found = parts[part]()
            file = given.output / "sweep.json"
            before = json.loads(file.read_text()) if file.exists() else {}
            load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            made = {"load": load, "torch": version("torch"), "python": platform.python_version()}
            file.write_text(json.dumps({**before, part: {**found, "made with": made}}, indent=1) + "\n")
            print(part, json.dumps(found)[:600], flush=True)


if __name__ == "__main__":
    main()
