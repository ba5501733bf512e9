"""What other tools say about the training runs of memory_cpu.py, each in its own words.

torchsummary and torchinfo print an estimated total for a model and its input; they know no optimizer.
MemTracker is torch's own (torch.distributed._tools.mem_tracker): it follows two training steps, here on fake
tensors and where that fails on real ones. A tool that fails is reported with its exception. Answers go to a
file, a line each, as the real runs do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import memory_models
import torch
from memory_cpu_runs import Case, make_optimizer, real_loss

from modelsum.memory.cpu.machine import MEASURED_THREADS

TOOLS = ("torchsummary", "torchinfo", "MemTracker")
Answer = int | str  # bytes, or why there are none


def of_file(file: Path) -> dict[Case, dict[str, Answer]]:
    """The answers in a file of lines."""
    known: dict[Case, dict[str, Answer]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        value = json.loads(line)
        known[Case(**value["case"])] = value["tools"]
    return known


def of_report(report: Path) -> dict[Case, dict[str, Answer]]:
    """The answers in a memory-cpu.json."""
    rows = json.loads(report.read_text())["rows"]
    return {Case(**row["case"]): row["others"] for row in rows if row.get("others")}


def missing(cases: list[Case], known: dict[Case, dict[str, Answer]], file: Path) -> None:
    """Ask about the cases of a model that are not known, in a process, and add the answers."""
    asked = [case for case in cases if case not in known]
    if not asked:
        return
    done = subprocess.run(
        [sys.executable, __file__, json.dumps([asdict(case) for case in asked])],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(MEASURED_THREADS)},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"torchsummary"')]
    if len(lines) < len(asked):
        print(
            f"{asked[0].model}: the other tools ended with {done.returncode}\n{done.stderr[-2000:]}",
            flush=True,
        )
    for case, line in zip(asked, lines, strict=False):
        known[case] = json.loads(line)
        with file.open("a") as out:
            out.write(json.dumps({"case": asdict(case), "tools": known[case]}) + "\n")


def answers(cases: list[Case]) -> None:
    """Print what the tools say about cases that have model and size in common."""
    first = cases[0]
    static = {
        "torchsummary": _tried(lambda: torchsummary_bytes(first)),
        "torchinfo": _tried(lambda: torchinfo_bytes(first)),
    }
    for case in cases:
        tracked = _tried(lambda case=case: tracked_bytes(case, fake=True))  # type: ignore[misc]
        if isinstance(tracked, str):
            tracked = _tried(lambda case=case: tracked_bytes(case, fake=False))  # type: ignore[misc]
        print(json.dumps(static | {"MemTracker": tracked}), flush=True)


def _tried(ask: Callable[[], int]) -> Answer:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return ask()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"


def torchsummary_bytes(case: Case) -> int:
    """Its "Estimated Total Size (MB)", in which MB is 2**20."""
    import torchsummary

    model, x = _built(case)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        torchsummary.summary(model, tuple(x.shape[1:]), batch_size=case.batch, device="cpu")
    found = re.search(r"Estimated Total Size \(MB\): ([\d.]+)", printed.getvalue())
    if found is None:
        raise ValueError("no total was printed")
    return round(float(found[1]) * 2**20)


def torchinfo_bytes(case: Case) -> int:
    """Its "Estimated Total Size": input, outputs of modules, parameters."""
    import torchinfo

    model, x = _built(case)
    said = torchinfo.summary(model, input_data=x, verbose=0, mode="train", device="cpu")
    return int(said.total_input + said.total_output_bytes + said.total_param_bytes)


def tracked_bytes(case: Case, *, fake: bool) -> int:
    """MemTracker's peak of two training steps."""
    from torch._subclasses import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    with FakeTensorMode() if fake else contextlib.nullcontext():
        model, x = _built(case)
        loss, _ = real_loss(model, x, memory_models.loss_of(case.model))
        model.train()
        make = make_optimizer(case.optimizer, case.implementation)
        optimizer = make(list(model.parameters())) if make else None
        tracker = MemTracker()
        tracker.track_external(model, *([optimizer] if optimizer else []))
        with tracker:
            for _ in range(2):
                loss(model(x)).backward()
                if optimizer:
                    optimizer.step()
                model.zero_grad()
                tracker.reset_mod_stats()  # else it refuses the second step
        return sum(int(parts["Total"]) for parts in tracker.get_tracker_snapshot("peak").values())


def _built(case: Case) -> tuple[Any, Any]:
    torch.manual_seed(0)
    return memory_models.build(case.model), memory_models.example(case.model, case.batch, case.pixels)


if __name__ == "__main__":
    torch.set_num_threads(MEASURED_THREADS)
    answers([Case(**case) for case in json.loads(sys.argv[1])])
