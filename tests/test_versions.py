"""What is claimed of Python and torch is what is run; what every version has to say is right."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "benchmarks"))
import version_models  # noqa: E402 - the path above leads to them
import version_smoke  # noqa: E402
import versions  # noqa: E402

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STORED: dict[str, dict[str, int]] = json.loads(versions.FIGURES.read_text(encoding="utf-8"))["figures"]
QUESTIONS = version_models.questions()
PAIRS = [tuple(pair.split(":")) for pair in versions.PAIRS]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_every_python_that_is_claimed_is_run_and_no_other() -> None:
    claimed = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert {python for python, _ in PAIRS} == set(claimed)
    assert PROJECT["requires-python"] == f">={min(claimed, key=numbers)}"


def test_the_oldest_torch_that_is_claimed_is_run_on_the_oldest_python() -> None:
    floor = next(d for d in PROJECT["dependencies"] if d.startswith("torch>")).removeprefix("torch>=")
    assert f"{floor}.0" == min((torch for _, torch in PAIRS), key=numbers)
    assert (min((python for python, _ in PAIRS), key=numbers), f"{floor}.0") in PAIRS


def test_the_workflow_runs_every_pair_and_ci_the_oldest() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["versions"]["strategy"]["matrix"]["pair"] == list(versions.PAIRS)
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert set(re.findall(r"\d\.\d+:\d\.\d+\.\d+", ci)) <= set(versions.PAIRS)
    assert versions.PAIRS[0] in ci


def test_thirty_models_have_stored_figures() -> None:
    assert len(QUESTIONS) == 30
    assert STORED.keys() == QUESTIONS.keys()
    figures = {"params", "macs"} | {f"{t} {name}" for t in ("cuda", "cpu") for name in version_models.MEMORY}
    assert all(row.keys() == figures and None not in row.values() for row in STORED.values())


with (HERE / "oracles" / "torchvision-recount.csv").open(newline="") as file:
    TORCHVISION = {row["model"]: row for row in csv.DictReader(file) if row["input"] == "1x3x224x224"}


@pytest.mark.parametrize("name", sorted(TORCHVISION.keys() & STORED.keys()))
def test_stored_counts_are_those_that_torchvision_publishes(name: str) -> None:
    assert STORED[name]["params"] == int(TORCHVISION[name]["params"])
    assert round(STORED[name]["macs"] / 1e9, 3) == pytest.approx(float(TORCHVISION[name]["gmacs"]), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in STORED if re.match(r"\d\d_", name)])
def test_stored_counts_are_those_that_a_case_derives(name: str) -> None:
    expected = version_models.case(name).EXPECTED
    assert STORED[name]["params"] == expected["total_params"]
    assert STORED[name]["macs"] == expected["macs"]


BLOCK = 3 * 128 * 128 + 128 * 128 + 2 * 128 * 512  # a GPT block's matrices
TOKENS = 2 * 64
BY_HAND = {
    "gpt": (
        512 * 128 + 64 * 128 + 4 * (BLOCK + (3 + 1 + 4 + 1) * 128 + 4 * 128) + 2 * 128 + 128 * 512,
        TOKENS * (4 * BLOCK + 128 * 512) + 4 * 2 * 4 * 64 * 64 * (32 + 32),
    ),
    "grouped queries": (
        64 * 64 + 64 + 64 * 32 + 32 + 64 * 64 + 64,
        2 * 16 * (64 * 64 + 64 * 32 + 64 * 64) + 2 * 8 * 16 * 16 * (8 + 8),
    ),
    "packed GRU": (3 * 24 * (16 + 24 + 2), (9 + 5 + 2) * 3 * 24 * (16 + 24)),
    "bags": (500 * 32 + 32 * 4 + 4, 8 * 32 * 4),
    "volume": (8 * 27 + 8 + 16 * 8 * 27 + 16, 2 * (8 * 10**3 * 27 + 16 * 2**3 * 8 * 27)),
    "sounds": (16 * 9 + 16 + 32 * 16 * 5 + 32, 2 * (16 * 98 * 9 + 32 * 90 * 16 * 5)),
    "checkpointed blocks": (4 * (64 * 256 + 256 + 256 * 64 + 64), 4 * 16 * 4 * 2 * 64 * 256),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_stored_counts_are_those_derived_by_hand(name: str) -> None:
    assert (STORED[name]["params"], STORED[name]["macs"]) == BY_HAND[name]


def test_a_difference_may_have_a_reason_but_not_in_what_is_counted() -> None:
    stored = {"net": {"params": 1, "cpu saved": 20}, "other": {"params": 1, "cpu saved": 20}}
    here = {"net": {"params": 2, "cpu saved": 10}, "other": {"error": "it fails"}}
    wrong, explained = version_smoke.compared(here, stored, {"net": "no such kernel"})
    assert wrong == [
        "net, params: 2, stored 1",
        "other, params: it fails, stored 1",
        "other, cpu saved: it fails, stored 20",
    ]
    assert explained == ["net, cpu saved: 10, stored 20: no such kernel"]
    assert version_smoke.compared(stored, stored, {}) == ([], [])


def test_a_python_that_is_not_there_is_none() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert versions.python_of(here) == [sys.executable]
    assert versions.python_of("3.99") is None
