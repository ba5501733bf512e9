"""How long `modelsum check` takes for ten models, beside ten runs of `modelsum show`.

    python tests/benchmarks/check_time.py [--repeats N] [--output FOLDER]     # -> reports/check-time.md

Both as processes of their own, on the same ten models with the same options, in turns within one run, so
that whatever else the machine does falls on both. Answers kept from earlier runs are not used.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MODELS = (
    "mnasnet0_5",
    "mobilenet_v2",
    "densenet121",
    "resnet50",
    "vgg16",
    "squeezenet1_1",
    "resnet18",
    "resnet101",
    "mobilenet_v1",
    "preact_resnet50",
)
START = (sys.executable, "-m", "modelsum")
ENVIRONMENT = {**os.environ, "MODELSUM_NO_CACHE": "1", "CI": ""}
VARIANTS = {"params, MACs and memory": True, "params and MACs": False}


def configuration(memory: bool) -> str:
    """A modelsum.toml with a check for every model."""
    tables = []
    for model in MODELS:
        tables.append(f'[[check]]\nname = "{model}"\nmodel = "{model}"\nmemory = {str(memory).lower()}\n')
    return "\n".join(tables)


class Seconds(NamedTuple):
    """What commands took: on the clock, and of the processor."""

    clock: float
    processor: float


def seconds(*commands: Sequence[str], folder: Path) -> Seconds:
    """What commands take one after the other; each has to succeed."""
    start, used = time.perf_counter(), _processor_seconds()
    for arguments in commands:
        subprocess.run(
            [*START, *arguments], cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL
        )
    return Seconds(time.perf_counter() - start, _processor_seconds() - used)


def _processor_seconds() -> float:
    """Of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measured(memory: bool, repeats: int) -> tuple[list[Seconds], list[Seconds]]:
    """What `check`, and ten times `show`, took in each repeat."""
    checks: list[Seconds] = []
    shows: list[Seconds] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "modelsum.toml").write_text(configuration(memory), encoding="utf-8")
        seconds(("check", "--update"), folder=folder)
        options = () if memory else ("--no-memory",)
        show = [("show", model, *options) for model in MODELS]
        for repeat in range(repeats):
            turn = [
                lambda: checks.append(seconds(("check", "--strict"), folder=folder)),
                lambda: shows.append(seconds(*show, folder=folder)),
            ]
            for action in turn if repeat % 2 else reversed(turn):
                action()
    return checks, shows


def row(what: str, checks: list[Seconds], shows: list[Seconds]) -> str:
    """A line of the report: medians, and the ratio of the paired runs with its range."""
    cells = []
    for column in range(len(Seconds._fields)):
        check, show = ([each[column] for each in runs] for runs in (checks, shows))
        ratios = sorted(b / a for a, b in zip(check, show, strict=True))
        cells += [
            f"{statistics.median(check):.2f}",
            f"{statistics.median(show):.2f}",
            f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
        ]
    return f"| {' | '.join((what, *cells))} |"


def cpu() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "reports")
    chosen = parser.parse_args()
    rows = [row(what, *measured(memory, chosen.repeats)) for what, memory in VARIANTS.items()]
    command = shlex.join(["python", "tests/benchmarks/check_time.py", *sys.argv[1:]])
    made_with = f"Python {platform.python_version()}, torch {version('torch')}, {os.cpu_count()} x {cpu()}"
    text = f"""# The time of a check

Made by `{command}` with {made_with}.

| what is counted | `check`, s | ten `show`, s | ratio | `check`, CPU s | ten `show`, CPU s | ratio |
|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

Ten models with their default inputs: {", ".join(MODELS)}.
Seconds of processes on the clock and of the processor, medians of {chosen.repeats} runs in turns; the ratios
are those of the paired runs, with their range. Without kept answers. The load when the runs ended was
{os.getloadavg()[1]:.0f} on {os.cpu_count()} cores: above that number trust the processor's seconds alone.
"""
    (chosen.output / "check-time.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
