"""The layers of the package and their one direction (README, "How it is laid out")."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelsum

PACKAGE = Path(modelsum.__file__).parent

GROUND = {"errors", "files", "jobs", "objects", "processes", "raised", "spec", "summary", "units"}
GROUND |= {"version", "weights"}
# What each part may import of the others, besides itself and the ground floor.
MAY_IMPORT = {
    "summary": {"render"},  # print(summary) shows the table
    "zoo": set(),
    "sources": {"zoo", "trace"},
    "trace": {"memory"},
    "memory": {"render"},  # print(measurement) shows the tables
    "baselines": {"memory"},
    "render": {"zoo", "baselines"},
    "request": {"memory"},
    "preparing": {"request", "sources", "trace"},
    "api": {"request", "preparing", "trace", "memory", "baselines"},
    "measuring": {"request", "preparing", "api", "sources", "trace", "memory"},
    "predicting": {"request", "preparing", "api", "sources", "trace", "memory"},
    "fitting": {"request", "api", "predicting", "memory", "baselines"},
    "cache": {"request"},
    "cli": {
        *("request", "preparing", "api", "cache", "fitting", "measuring"),
        *("memory", "render", "baselines", "sources", "zoo"),
    },
    "compat": {"api", "render"},
    "__main__": {"cli"},
    "assertions": {"api", "baselines", "memory"},
    "__init__": {"api", "assertions", "fitting", "measuring"},
}
TORCH_FREE = {*GROUND, "request", "memory", "baselines", "render", "cli", "cache", "api", "assertions"}
TORCH_FREE |= {"fitting", "measuring", "predicting", "preparing"}


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module's name, and whether the import runs when the file is imported."""
    tree = ast.parse(file.read_text())
    type_checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    at_import = {
        id(n)
        for top in tree.body
        for n in ast.walk(top)
        if not isinstance(top, ast.FunctionDef | ast.ClassDef)
    }
    for node in ast.walk(tree):
        if id(node) in type_checking:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in at_import
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in at_import


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_follow_the_one_direction(file: Path) -> None:
    part = part_of(file)
    allowed = GROUND | MAY_IMPORT.get(part, set()) | {part}
    for name, _ in imports(file):
        package, *rest = name.split(".")
        if package == "modelsum" and rest and (PACKAGE / rest[0]).with_suffix("").name:
            target = (
                rest[0]
                if (PACKAGE / rest[0]).exists() or (PACKAGE / f"{rest[0]}.py").exists()
                else "__init__"
            )
            assert target in allowed, f"{file.name} imports {name}"


@pytest.mark.parametrize("file", [f for f in FILES if part_of(f) in TORCH_FREE], ids=lambda f: f.stem)
def test_torch_free_parts_import_torch_at_most_when_called(file: Path) -> None:
    at_import = {name.split(".")[0] for name, now in imports(file) if now}
    assert not at_import & {"torch", "torchinfo", "torchvision", "timm", "transformers"}


TORCH_FREE_COMMANDS = (
    ["--help"],
    ["--version"],
    ["list"],
    ["list", "resnet*", "--format", "json"],
    ["check", "--help"],
    ["compare", "--help"],
    ["compare", "resnet50", "resnet5O"],
    ["diff", "--help"],
    ["diff", "resnet50", "none.json"],
    ["diff", "HEAD:none", "resnet50"],
    ["show", "--help"],
    ["show", "resnet5O"],
    ["show", "resnet50", "--input", "3x224xabc"],
    ["show", "resnet50", "--device", "gpu"],
    ["fit", "--help"],
    ["fit", "resnet50", "--gpu", "rtx4091"],
    ["fit", "resnet5O", "--memory", "24GiB"],
    ["measure", "--help"],
    ["measure", "resnet5O"],
    ["measure", "resnet50", "--device", "meta"],
)
PROBE = """
import sys
from modelsum.cli.main import run
code = run({arguments!r})
print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", TORCH_FREE_COMMANDS, ids=" ".join)
def test_answers_that_need_no_model_do_not_import_torch(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip().endswith("False")


def test_the_torch_probe_can_fail() -> None:
    """The test above would notice: a command that builds a model does import torch."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=["show", "squeezenet1_1"])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip().endswith("True")


def test_exported_names() -> None:
    assert set(modelsum.__all__) == {
        "ArgumentError",
        "Baseline",
        "BuildError",
        "ConfigError",
        "Difference",
        "ForwardError",
        "Input",
        "InputError",
        "Layer",
        "Model",
        "ModelError",
        "ModelsumError",
        "OutputError",
        "Summary",
        "TorchsummaryTotals",
        "Totals",
        "UnknownModelError",
        "UsageError",
        "__version__",
        "assert_cost",
        "fit",
        "measure",
        "register_macs",
        "summarize",
    }
    assert all(hasattr(modelsum, name) for name in modelsum.__all__)
