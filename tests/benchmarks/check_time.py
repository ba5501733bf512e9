"""How long `modelsum check` takes for ten models, beside ten runs of `modelsum show`.

    python tests/benchmarks/check_time.py [--repeats N] [--output FOLDER]     # -> reports/check-time.md

Both as processes of their own, on the same ten models with the same options, in turns within one run, so
that whatever else the machine does falls on both. Answers kept from earlier runs are not used.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

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


def seconds(*arguments: str, folder: Path) -> float:
    """The wall-clock seconds of one command, which has to succeed."""
    start = time.perf_counter()
    subprocess.run([*START, *arguments], cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measured(memory: bool, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `check`, and of ten times `show`, for each repeat."""
    checks, shows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "modelsum.toml").write_text(configuration(memory), encoding="utf-8")
        seconds("check", "--update", folder=folder)
        options = () if memory else ("--no-memory",)
        for repeat in range(repeats):
            turn = [
                lambda: checks.append(seconds("check", "--strict", folder=folder)),
                lambda: shows.append(sum(seconds("show", m, *options, folder=folder) for m in MODELS)),
            ]
            for action in turn if repeat % 2 else reversed(turn):
                action()
    return checks, shows


def row(what: str, checks: list[float], shows: list[float]) -> str:
    """A line of the report: medians, and the ratio of the paired runs with its range."""
    ratios = sorted(show / check for check, show in zip(checks, shows, strict=True))
    return (
        f"| {what} | {statistics.median(checks):.2f} | {statistics.median(shows):.2f} "
        f"| {statistics.median(ratios):.1f} | {ratios[0]:.1f} to {ratios[-1]:.1f} |"
    )


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

| what is counted | `check`, s | ten times `show`, s | ratio | range |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

Ten models with their default inputs: {", ".join(MODELS)}. Wall-clock seconds of processes, medians of
{chosen.repeats} runs in turns; the ratio is that of the paired runs. Without kept answers.
"""
    (chosen.output / "check-time.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
