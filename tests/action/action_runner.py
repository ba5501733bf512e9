"""A machine for the steps of the GitHub Action: with bash, inputs, outputs and a cache, as GitHub's have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
HERE = ROOT / ".github" / "actions" / "check"
ACTION = yaml.safe_load((HERE / "action.yml").read_text())
STEPS = ACTION["runs"]["steps"]
BY_ID = {step["id"]: step for step in STEPS}


def value(term: str, known: dict[str, str]) -> str:
    """An operand of an expression: a name, a text in quotes, or format(...)."""
    if call := re.fullmatch(r"format\('([^']*)', ([\w.-]+)\)", term):
        return call[1].replace("{0}", known[call[2]])
    return term.strip("'") if term.startswith("'") else known.get(term, "")


def evaluated(text: str, known: dict[str, str]) -> str:
    """A text of action.yml with the values of its expressions; || is for the first that there is."""

    def expression(match: re.Match[str]) -> str:
        return next(filter(None, (value(term, known) for term in match[1].strip().split(" || "))), "")

    return re.sub(r"\$\{\{(.*?)\}\}", expression, text, flags=re.DOTALL)


@dataclass
class Runner:
    """A machine with a checkout, which runs the action's steps one by one, and keeps what they cache.

    Attributes:
        environment: of every step, beside what the action gives it.
        cached: the keys that were stored.
        known: the values of names in expressions.
    """

    checkout: Path
    temp: Path
    environment: dict[str, str] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)

    def begin(self, **inputs: str) -> None:
        """Of a run, with inputs by their names (`torch_index_url`)."""
        given = {name.replace("_", "-"): text for name, text in inputs.items()}
        assert set(given) <= set(ACTION["inputs"])
        self.known = {"github.action_path": str(HERE), "github.token": "a-token", "runner.os": "Linux"}
        for name, declared in ACTION["inputs"].items():
            self.known[f"inputs.{name}"] = evaluated(given.get(name, declared["default"]), self.known)
        self.known["steps.python.outputs.python-path"] = sys.executable
        self.known["steps.python.outputs.python-version"] = "3.12.7"

    def step(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a step by its id."""
        step = BY_ID[name]
        output, event = self.temp / "output", self.temp / "event.json"
        output.write_text("")
        env = {key: evaluated(text, self.known) for key, text in step["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.checkout / evaluated(step.get("working-directory", "."), self.known),
            env={
                **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GITHUB_STEP_SUMMARY")},
                "CI": "true",
                "GITHUB_ACTION_PATH": str(HERE),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_EVENT_PATH": str(event),
                "GITHUB_WORKSPACE": str(self.checkout),
                "GITHUB_REPOSITORY": "owner/nets",
                "GITHUB_RUN_ID": "77",
                "GITHUB_SERVER_URL": "https://github.com",
                "RUNNER_TEMP": str(self.temp),
                **self.environment,
                **env,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        for line in output.read_text().splitlines():
            key, _, text = line.partition("=")
            self.known[f"steps.{name}.outputs.{key}"] = text
        return done

    def cache(self) -> None:
        """The step that restores a cache. What it restored is still there."""
        kept = BY_ID["cache"]["with"]
        key = evaluated(kept["key"], self.known) + evaluated(kept["path"], self.known)
        self.known["steps.cache.outputs.cache-hit"] = "true" if key in self.cached else ""
        self.cached.add(key)

    def outputs(self) -> dict[str, str]:
        """Of the whole action."""
        return {name: evaluated(out["value"], self.known) for name, out in ACTION["outputs"].items()}
