"""Sweeps from Python: every point once, each its own loss alone, and nothing done twice."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import modelsum
from modelsum.errors import UsageError
from modelsum.sweeps.files import read

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes and their memory are held on Linux")


def own(**args: Any) -> dict[str, Any]:
    """A grid of the user's own network."""
    return {"model": "nets.py:Net", "input": "8", **{f"args.{name}": value for name, value in args.items()}}


def params(found: modelsum.sweeps.reading.Sweep) -> list[int | None]:
    return [row.figures.get("params") for row in found.rows]


def test_rows_are_in_the_order_of_the_points_and_what_summarize_says(folder: Path) -> None:
    found = modelsum.sweep({"model": "mobilenet_v1", "args.width_mult": [0.5, 0.25], "batch": 2})
    for row, width in zip(found.rows, (0.5, 0.25), strict=True):
        alone = modelsum.summarize("mobilenet_v1", model_args={"width_mult": width}, batch=2)
        assert row.point == {"model": "mobilenet_v1", "args.width_mult": width, "batch": 2}
        assert row.figures["params"] == alone.totals.params
        assert row.figures["macs"] == alone.totals.macs
        assert alone.memory is not None
        assert row.figures["training_peak"] == alone.memory.training_peak_bytes
        assert row.memory_bound == alone.memory.bound


@ON_LINUX
def test_a_point_that_dies_or_hangs_or_takes_all_memory_is_that_row_alone(folder: Path) -> None:
    how = ["", "exits", "is killed", "hangs", "eats", "raises", "fine"]
    found = modelsum.sweep(own(how=how), output="rows.csv", timeout=10, memory_limit="300 MiB", jobs=2)
    status = {row.point["args.how"]: (row.status, row.reason) for row in found.rows}
    assert params(found) == [9, None, None, None, None, None, 9]
    assert status["exits"] == ("lost", "the model's code ended the process (exit code 3)")
    assert status["is killed"][0] == "lost"
    assert "SIGKILL" in status["is killed"][1]
    assert status["hangs"] == ("timeout", "it took longer than 10 s")
    assert status["eats"][0] == "error"
    assert "allocate memory" in status["eats"][1]
    assert status["raises"][0] == "error"
    assert "ValueError: no width" in status["raises"][1]
    assert [row.key for row in modelsum.sweep(own(how=how), output="rows.csv").rows] == [
        row.key for row in found.rows
    ], "failures are rows as well, and not done again"
    assert [row.status for row in modelsum.sweep(own(how=how[1]), output="rows.csv", retry=True).rows] == [
        "lost"
    ]


def test_a_point_without_figures_of_a_training_step_says_why(folder: Path, modelsum_cli) -> None:
    """In the row, its file, the table and the page."""
    found = modelsum.sweep(own(how=["", "raises with gradients", "is frozen"]), output="rows.csv")
    frozen = "nothing can be trained: no output depends on a parameter that takes gradients"
    assert [row.status for row in found.rows] == ["ok"] * 3
    assert [row.figures["training_peak"] is None for row in found.rows] == [False, True, True]
    assert (found.rows[0].reason, found.rows[2].reason) == ("", frozen)
    assert found.rows[1].reason.startswith("the training step could not be predicted: ")
    assert found.rows[1].reason.endswith("ValueError: no gradients, please")
    assert sorted(row.reason for row in read(folder / "rows.csv")) == sorted(row.reason for row in found.rows)
    for form in ("text", "markdown", "html"):
        said = " ".join(modelsum_cli("sweep", "rows.csv", "--format", form).out.split())
        assert "nothing can be trained" in said, form
        assert "no gradients, please" in said, form


AFTER_A_BACKWARD_PASS_WITH_DEVICES = """
import torch, modelsum
from torch import nn
torch._C._ensureCUDADeviceGuardSet()  # as torch.export does: from here on autograd knows of a device
modelsum.summarize(nn.Linear(8, 8), input_size=(8,))
found = modelsum.sweep({"model": "nets.py:Net", "input": "8", "args.how": ["", "is killed"]}, jobs=1)
print([(row.status, row.figures.get("training_peak"), row.reason) for row in found.rows])
"""


@ON_LINUX
def test_points_are_right_where_autograd_would_not_work_in_a_fork(folder: Path) -> None:
    """As on a machine with an accelerator after any backward pass."""
    (folder / "script.py").write_text(AFTER_A_BACKWARD_PASS_WITH_DEVICES)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    alone = modelsum.summarize("nets.py:Net", input_size=(8,))
    assert alone.memory is not None
    fine, killed = ast.literal_eval(done.stdout)
    assert fine == ("ok", alone.memory.training_peak_bytes, "")
    assert killed[0] == "lost"


def test_rows_hold_while_the_sources_that_they_stood_on_do(folder: Path) -> None:
    """The model's code and the files that it reads; what is of installed packages alone stays.

    A process that did points of two files knows not which of them the later point stood on: it names both.
    """
    (folder / "other.py").write_text((folder / "nets.py").read_text())
    grids = [own(width=[1, 2]), {"model": "other.py:Net", "input": "8"}, {"model": "squeezenet1_1"}]
    assert params(modelsum.sweep(grids, output="rows.jsonl")) == [9, 18, 9, 1_235_496]
    lines = (folder / "rows.jsonl").read_text().splitlines()
    modelsum.sweep(grids, output="rows.jsonl")
    assert (folder / "rows.jsonl").read_text().splitlines() == lines

    code = (folder / "nets.py").read_text()
    (folder / "nets.py").write_text(code.replace("Linear(8", "Linear(7 + 1"))
    assert params(modelsum.sweep(grids, output="rows.jsonl")) == [9, 18, 9, 1_235_496]
    after = (folder / "rows.jsonl").read_text().splitlines()
    assert sorted(after) != sorted(lines)
    kept = [line for line in lines if "nets.py" not in line and "other.py" not in line]
    assert kept
    assert set(kept) <= set(after)
    assert not [line for line in after if line in lines and "nets.py" in line]

    (folder / "times.json").write_text("3")
    assert params(modelsum.sweep(grids, output="rows.jsonl")) == [27, 54, 27, 1_235_496]
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 4, "each point once"


def test_a_row_stands_on_no_question_of_our_own(folder: Path) -> None:
    """What a process asks to name its evidence is not heard, also where a later point brings new evidence."""
    (folder / "late.py").write_text(
        "from torch.nn import Linear\n\n\n"
        "def net(width):\n    if width > 1:\n        import colorsys\n    return Linear(8, width)\n"
    )
    grid = {"model": "late.py:net", "input": "8", "args.width": [1, 2, 3], "memory": False}
    modelsum.sweep(grid, output="rows.csv", jobs=1)
    questions = [json.loads(line)["marks"] for line in (folder / "rows.csv.sources").read_text().splitlines()]
    assert len(questions) > 1
    assert not [path for each in questions for kind, path, *_ in each if kind == "names"]
    modelsum.sweep(grid, output="rows.csv", jobs=1)
    assert not (folder / "rows.csv.before").exists(), "every row holds"


@ON_LINUX
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("rows.csv", 1),
        pytest.param("rows.jsonl", 3, marks=pytest.mark.slow),
        pytest.param("rows.parquet", 3, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_the_next_run_does_what_is_left(name: str, kills: int, folder: Path) -> None:
    """As by kill -9; a row that was written is not done again."""
    grid = {**own(width=list(range(1, 31)), how="takes its time"), "memory": False}
    (folder / "grid.toml").write_text(
        "[[grid]]\n" + "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in grid.items())
    )
    lines = folder / (f"{name}.jsonl" if name.endswith("parquet") else name)
    call = [sys.executable, "-m", "modelsum", "sweep", "grid.toml", "-o", name, "--jobs", "2"]
    seen: list[str] = []
    for kill in range(kills):
        process = subprocess.Popen(call, stderr=subprocess.DEVNULL)
        while process.poll() is None and (
            not lines.exists() or lines.read_text().count("\n") < 3 + 6 * kill + name.endswith("csv")
        ):
            time.sleep(0.02)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before, seen = seen, lines.read_text().splitlines()
        whole = before[:-1]  # the last one may have been cut off
        assert seen[: len(whole)] == whole
    assert subprocess.run(call, stderr=subprocess.DEVNULL).returncode == 0
    rows = list(read(folder / name))
    assert sorted(row.point["args.width"] for row in rows) == list(range(1, 31))
    assert all(row.figures["params"] == 9 * row.point["args.width"] for row in rows)


def test_points_can_be_given_by_themselves(folder: Path) -> None:
    """A list is a value of a point, not an axis."""
    points = [{"model": "nets.py:Net", "input": ["8"], "args": {"width": width}} for width in (3, 1)]
    found = modelsum.sweep(points=points)
    assert params(found) == [27, 9]
    assert found.rows[0].point["input"] == ["8"]


def test_shares_of_a_sweep_are_merged(folder: Path, modelsum_cli) -> None:
    for number in (1, 2):
        modelsum.sweep(own(width=[1, 2, 3]), output=f"rows-{number}.csv", shard=(number, 2))
    done = modelsum_cli("sweep", "--merge", "rows-1.csv", "rows-2.csv", "--output", "rows.csv")
    assert (done.code, done.err) == (0, "modelsum: 3 points in rows.csv\n")
    before = (folder / "rows.csv").read_text()
    assert params(modelsum.sweep(own(width=[1, 2, 3]), output="rows.csv")) == [9, 18, 27]
    assert (folder / "rows.csv").read_text() == before, "and the whole is done"


def test_the_projects_defaults_hold(folder: Path) -> None:
    (folder / "modelsum.toml").write_text('target = "cpu"\noptimizer = "sgd"\n')
    found = modelsum.sweep({"model": "squeezenet1_1"})
    assert found.notices == ("from the project's configuration: target = cpu, optimizer = sgd",)
    (row,) = found.rows
    alone = modelsum.summarize(
        "squeezenet1_1", target="cpu", optimizer="sgd", threads=2, isa="avx512"
    )  # as on any machine
    assert alone.memory is not None
    assert row.figures["training_peak"] == alone.memory.training_peak_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs 0 is not a positive whole number"),
        ({"shard": (3, 2)}, "shard 3/2: there is no such share"),
        ({"memory_limit": "1 GB of it"}, "'1 GB of it' is not an amount"),
        ({"search": 3}, "nothing to search for"),
        ({"output": "nowhere/rows.csv"}, "cannot write 'nowhere/rows.csv': No such file"),
    ],
)
def test_wrong_words(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        modelsum.sweep(own(), **options)
    assert sorted(path.name for path in folder.iterdir()) == ["nets.py"]
