"""The pre-commit hooks are what they say. (The GitHub Action has tests of its own.)"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from modelsum.cli.check import command

HOOKS = yaml.safe_load((Path(__file__).parents[1] / ".pre-commit-hooks.yaml").read_text())
# The keys that pre-commit knows of a hook, and the types of files that these are for.
KEYS = {"id", "name", "description", "entry", "language", "pass_filenames", "types_or"}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_the_gate_once_for_all_files(hook: dict[str, object]) -> None:
    assert set(hook) == KEYS
    assert hook["entry"] == f"modelsum {command.name}"
    assert hook["pass_filenames"] is False
    assert hook["types_or"] == ["python", "toml", "json"]


def test_one_hook_has_an_environment_of_its_own_and_one_that_of_the_project() -> None:
    assert {hook["id"]: hook["language"] for hook in HOOKS} == {
        "modelsum-check": "python",
        "modelsum-check-local": "system",
    }
