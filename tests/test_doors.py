"""The ways in from elsewhere: the GitHub Action and the pre-commit hook are what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modelsum.cli.check import command

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / ".github/actions/check/action.yml").read_text())
CONFIG = '[[check]]\nname = "lenet"\nmodel = "nets.py:LeNet"\ninput = "1x28x28"\nmemory = false\n'
NETS = """\
from torch import nn

class LeNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 24 * 24, 10))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "modelsum.toml").write_text(CONFIG)
    (tmp_path / "nets.py").write_text(NETS)
    commands = tmp_path / "runner" / "modelsum-venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "modelsum").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modelsum "$@"\n')
    (commands / "modelsum").chmod(0o755)
    return tmp_path


def run_last_step(project: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The action's own script, in the shell and with the inputs that GitHub would give it."""
    step = ACTION["runs"]["steps"][-1]
    given = {name: inputs.get(name, declared["default"]) for name, declared in ACTION["inputs"].items()}
    environment = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], value)
        for name, value in step["env"].items()
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=project,
        env={
            **os.environ,
            **environment,
            "CI": "true",
            "RUNNER_TEMP": str(project / "runner"),
            "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
            "GITHUB_WORKSPACE": str(project),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_actions_script_gates_and_writes_the_summary(project: Path) -> None:
    done = run_last_step(project)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("::error file=modelsum.toml,line=1,title=modelsum lenet%3A new::")
    assert (project / "summary.md").read_text().startswith("<!-- modelsum check -->")
    assert (project / "modelsum-check.xml").is_file()
    assert (project / "modelsum-check.md").is_file()


def test_the_actions_inputs_reach_the_command(project: Path) -> None:
    done = run_last_step(project, names="lenet nosuch", strict="false")
    assert (done.returncode, "has no check 'nosuch'" in done.stderr) == (2, True)
    hostile = run_last_step(project, against="$(touch hacked); touch hacked")
    assert hostile.returncode == 2
    assert not (project / "hacked").exists()


def test_the_action_puts_no_input_into_a_scripts_text() -> None:
    """There it could be a command; and no secret is asked for anywhere."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    assert "token" not in (ROOT / ".github/actions/check/action.yml").read_text().lower()


def test_the_pre_commit_hook_runs_the_gate() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert hook["entry"] == f"modelsum {command.name}"
    assert hook["pass_filenames"] is False
