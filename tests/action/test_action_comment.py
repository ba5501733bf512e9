"""The GitHub Action's comment on a pull request: one, found by its marker, with a stand-in for `gh`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from action_runner import STEPS, Runner

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the action's steps are for bash")

# It answers as `gh` does, from and into a file: the comments that there are, and what it was called with.
GH = """\
#!{python}
import json, os, pathlib, sys
file = pathlib.Path({state!r})
state = json.loads(file.read_text())
state["calls"].append(sys.argv[1:])
if sys.argv[1] == "api":
    if state["read_only"]:
        sys.exit("gh: Resource not accessible by integration (HTTP 403)")
    state["bodies"].append(sys.stdin.read())
file.write_text(json.dumps(state))
assert os.environ["GH_TOKEN"] == "a-token"
print(json.dumps({{"comments": state["comments"]}}))
"""
MARKER = "<!-- modelsum check in the models -->"


@dataclass
class GitHub:
    """The pull request 12, as `gh` on that runner tells of it."""

    runner: Runner
    bin: Path
    comments: list[dict[str, Any]] = field(default_factory=list)
    read_only: bool = False

    def run(
        self, markdown: str | None = "<!-- modelsum check -->\n\n### passed\n", **inputs: str
    ) -> list[str]:
        """Run the step of the comment: what it wrote, by which method and where."""
        state = self.bin / "state.json"
        known = {"comments": self.comments, "read_only": self.read_only, "calls": [], "bodies": []}
        state.write_text(json.dumps(known))
        (self.bin / "gh").write_text(GH.format(python=sys.executable, state=str(state)))
        (self.bin / "gh").chmod(0o755)
        self.runner.begin(**{"working_directory": "the models", **inputs})
        if markdown is not None:
            (self.runner.temp / "out.md").write_text(markdown)
            self.runner.known["steps.check.outputs.markdown"] = str(self.runner.temp / "out.md")
        self.done = self.runner.step("comment", PATH=f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        assert self.done.returncode == 0, self.done.stderr
        said = json.loads(state.read_text())
        self.bodies = said["bodies"]
        return [" ".join(call[1:4]) for call in said["calls"] if call[0] == "api"]


@pytest.fixture
def github(tmp_path: Path) -> GitHub:
    runner = Runner(tmp_path / "checkout", tmp_path / "temp")
    for folder in (runner.checkout, runner.temp, runner.temp / "bin"):
        folder.mkdir()
    (runner.temp / "event.json").write_text('{"pull_request": {"number": 12}}')
    return GitHub(runner, runner.temp / "bin")


def comment(body: str, number: int, *, own: bool = True) -> dict[str, Any]:
    url = f"https://github.com/owner/nets/pull/12#issuecomment-{number}"
    return {"body": body, "url": url, "viewerDidAuthor": own}


def test_a_first_run_writes_a_comment(github: GitHub) -> None:
    assert github.run() == ["--method POST repos/owner/nets/issues/12/comments"]
    assert github.bodies == [
        f"{MARKER}\n\n### passed\n\n[The run](https://github.com/owner/nets/actions/runs/77)\n"
    ]


def test_the_next_run_updates_it_and_nobody_elses(github: GitHub) -> None:
    """A marker proves nothing, and another project of the repository has another."""
    github.comments = [
        comment(f"{MARKER}\nquoted", 1, own=False),
        comment(f"> {MARKER}\n", 2),
        comment("<!-- modelsum check -->\n### failed", 3),
        comment(f"{MARKER}\r\n\r\n### failed", 4),
    ]
    assert github.run() == ["--method PATCH repos/owner/nets/issues/comments/4"]
    assert github.run(working_directory=".") == ["--method PATCH repos/owner/nets/issues/comments/3"]


def test_a_token_that_may_only_read_is_a_warning(github: GitHub) -> None:
    github.read_only = True
    github.run()
    assert github.done.stdout.startswith("::warning title=modelsum check::")
    assert "HTTP 403" in github.done.stdout
    assert "pull-requests: write" in github.done.stdout
    assert len(github.done.stdout.splitlines()) == 1


def test_a_runner_without_gh_is_a_warning(github: GitHub, tmp_path: Path) -> None:
    github.runner.begin()
    bash = shutil.which("bash")
    (tmp_path / "bash").symlink_to(bash)
    done = github.runner.step("comment", PATH=str(tmp_path))
    assert (done.returncode, "gh is not on this runner" in done.stdout) == (0, True)


def test_outside_a_pull_request_nothing_is_written(github: GitHub) -> None:
    (github.runner.temp / "event.json").write_text('{"ref": "refs/heads/main"}')
    assert github.run() == []
    assert github.done.stdout == "There is no pull request to comment on.\n"


def test_a_check_that_could_not_run_is_said_too(github: GitHub) -> None:
    """Else the comment would still say how the run before it ended."""
    github.run(markdown=None)
    assert "could not run" in github.bodies[0]


def test_what_is_too_long_for_a_comment_is_cut_between_lines(github: GitHub) -> None:
    github.run(markdown="a line of it\n" * 9_000)
    assert len(github.bodies[0]) <= 65_536
    assert "a line of it\n\nThe rest is in the summary of the job." in github.bodies[0]


def test_the_comment_follows_a_red_check_but_not_a_cancelled_run() -> None:
    assert STEPS[-1]["if"] == "${{ !cancelled() && inputs.comment == 'true' }}"
