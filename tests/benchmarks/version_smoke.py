"""The smoke set of versions.py: every command once as a process, the documented tables, and the figures.

Each runs in a process of its own, in a folder with a small model and a check, by the command as it was
installed. What it has to print follows from the model by hand, or is in a paper.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 600  # the most that a process may take
#: An environment's own, and what says that the caller is a CI, where `check --update` refuses to store.
NOT_PASSED_ON = ("PYTHONPATH", "VIRTUAL_ENV", "CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")

FILES = {
    "nets.py": """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, width=8):
        layers = nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 10)
        super().__init__(*layers)
""",
    "pyproject.toml": """
[[tool.modelsum.check]]
name = "net"
model = "nets.py:Net"
input = "3x8x8"
""",
}
NET = ("nets.py:Net", "--input", "3x8x8")
NET_PARAMS = "3,114"  # 8 * 3 * 9 + 8 and 288 * 10 + 10
RESNET18_PARAMS = "11689512"  # torchvision's own figure, see tests/oracles

#: The command's words -> its exit code, and what it has to print (a regular expression).
COMMANDS: dict[tuple[str, ...], tuple[int, str]] = {
    ("--help",): (0, "Usage: modelsum"),
    ("list", "resnet5*"): (0, r"\bresnet50\b"),
    ("show", *NET): (0, rf"Total params: +{NET_PARAMS}\b"),
    ("show", *NET, "--format", "torchinfo"): (0, rf"Total params: {NET_PARAMS}\b"),
    ("show", "torchvision/resnet18", "--format", "json"): (0, rf'"params": {RESNET18_PARAMS}\b'),
    ("show", "timm/resnet18", "--format", "json"): (0, rf'"params": {RESNET18_PARAMS}\b'),
    ("show", "transformers/bert", "--seq-len", "16", "--format", "json"): (0, '"class": "Bert'),
    ("show", "resnet5"): (2, ""),
    ("compare", *NET, "resnet20"): (0, rf"\b{NET_PARAMS}\b.* 269,722\b"),
    ("diff", "resnet20", "resnet32"): (0, r"269,722\b.* 464,154\b"),
    ("fit", *NET, "--memory", "8GiB"): (0, "largest batch that fits"),
    ("measure", *NET, "--device", "cpu", "--min-time", "0.1"): (0, "Training step.* ms|Training peak"),
    ("check", "--update"): (0, r"\b1 ok\b"),
    ("check",): (0, r"\b1 ok\b"),
    ("cache", "info"): (0, ""),
}
TABLES = ("mnasnet0_5", "mobilenet_v2", "densenet121", "resnet50", "vgg16", "squeezenet1_1")

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """How many things were tried, and what was wrong with some of them."""

    tried: int
    faults: list[str]

    def __str__(self) -> str:
        return f"{self.tried - len(self.faults)} of {self.tried}"


@dataclass(frozen=True)
class Smoke:
    """What came of the smoke set.

    Attributes:
        differences: of figures that are to be equal; these are the faults.
        explained: of figures that differ because that torch itself takes other memory.
    """

    commands: Outcome
    tables: Outcome
    figures: int
    differences: list[str]
    explained: list[str]

    @property
    def passed(self) -> bool:
        """Whether everything came out as it has to."""
        return not (self.commands.faults or self.tables.faults or self.differences)

    @property
    def equal(self) -> str:
        """How many figures are equal, of how many."""
        return f"{self.figures - len(self.differences) - len(self.explained)} of {self.figures}"


def smoke(python: Path, folder: Path, stored: Figures) -> Smoke:
    """Run the set with the `modelsum` that is installed beside this Python, in an empty folder."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    modelsum = next(python.parent.glob("modelsum*"))
    commands = [fault for words in COMMANDS for fault in _command_faults(modelsum, words, folder)]
    tables = [fault for name in TABLES for fault in _table_faults(modelsum, name, folder)]
    here = figures_of(python, folder)
    differences, explained = compared(here["figures"], stored, here["unlike"])
    return Smoke(
        Outcome(len(COMMANDS), commands),
        Outcome(len(TABLES), tables),
        sum(map(len, stored.values())),
        differences,
        explained,
    )


def figures_of(python: Path, folder: Path) -> dict[str, Any]:
    """What version_models.py prints with this Python. Raises RuntimeError where it fails."""
    done = _run([str(python), str(Path(__file__).with_name("version_models.py"))], folder)
    if done.returncode:
        raise RuntimeError(f"version_models.py failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def compared(here: Figures, stored: Figures, unlike: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The figures that differ, those without a reason and those with one, in a line each."""
    differences, explained = [], []
    for name, expected in stored.items():
        found = here.get(name, {})
        for figure, value in expected.items():
            if found.get(figure) == value:
                continue
            got = found.get(figure, found.get("error"))
            line = f"{name}, {figure}: {_number(got)}, stored {_number(value)}"
            # Memory may be another one's; parameters and MACs never are.
            if name in unlike and figure not in ("params", "macs"):
                explained.append(f"{line}: {unlike[name]}")
            else:
                differences.append(line)
    return differences, explained


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _command_faults(modelsum: Path, words: tuple[str, ...], folder: Path) -> Iterator[str]:
    code, printed = COMMANDS[words]
    done = _run([str(modelsum), *words], folder)
    if done.returncode != code:
        yield f"{' '.join(words)}: exit code {done.returncode}, not {code}: {_last_line(done.stderr)}"
    elif not re.search(printed, done.stdout):
        yield f"{' '.join(words)}: prints nothing like {printed!r}"


def _table_faults(modelsum: Path, name: str, folder: Path) -> Iterator[str]:
    words = ("show", name, "--input", "3x600x600", "--device", "cpu", "--format", "json")
    done = _run([str(modelsum), *words], folder)
    if done.returncode:
        yield f"{name}: exit code {done.returncode}: {_last_line(done.stderr)}"
        return
    status = json.loads(done.stdout)["baseline"]["status"]
    if status != "match":
        yield f"{name}: its documented table: {status}"


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as it is run by somebody with this environment alone; 124 where it takes too long."""
    surroundings = {k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON}
    surroundings |= {
        "MODELSUM_CACHE_DIR": str(folder / "kept"),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "120",
    }
    try:
        return subprocess.run(
            command, cwd=folder, env=surroundings, capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"it took more than {SECONDS} s")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def suite(python: Path, root: Path) -> str:
    """Run the whole test suite with this Python: pytest's own closing words."""
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    sys.stderr.write("\n".join(done.stdout.splitlines()[-60:]) + "\n")
    return _last_line(done.stdout)
