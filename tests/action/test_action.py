"""The GitHub Action: what it measures is what is checked out, and what it says is what a workflow needs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from action_runner import ACTION, BY_ID, HERE, ROOT, STEPS, Runner, evaluated
from hand_made_wheel import wheel

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the action's steps are for bash")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    for name in ("checkout", "temp"):
        (tmp_path / name).mkdir()
    return Runner(tmp_path / "checkout", tmp_path / "temp")


# ---- what is written


def test_every_input_is_used_and_none_stands_in_a_scripts_text() -> None:
    """There it could be a command."""
    text = "".join(re.findall(r"\$\{\{.*?\}\}", (HERE / "action.yml").read_text(), re.DOTALL))
    for name in ACTION["inputs"]:
        assert f"inputs.{name}" in text, name
    for step in STEPS:
        assert "${{" not in step.get("run", "")


def test_every_step_that_is_named_is_there() -> None:
    named = set(re.findall(r"steps\.(\w+)\.", (HERE / "action.yml").read_text()))
    assert named <= set(BY_ID)


def test_the_token_is_for_the_comment_alone() -> None:
    assert ["inputs.token" in str(step) for step in STEPS] == [False] * (len(STEPS) - 1) + [True]
    assert "comment.py" in STEPS[-1]["run"]


def test_only_what_github_itself_keeps_is_used() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", each) for each in used)


# ---- the environment


def cache_key(runner: Runner, python: str = "3.12.7", **inputs: str) -> str:
    runner.begin(**inputs)
    runner.known["steps.python.outputs.python-version"] = python
    assert runner.step("torch").returncode == 0
    return evaluated(BY_ID["cache"]["with"]["key"], runner.known)


def test_torch_is_cached_by_version_index_and_exact_python(runner: Runner) -> None:
    keys = [
        cache_key(runner, torch="2.14.1"),
        cache_key(runner, torch="2.14.0"),
        cache_key(runner, torch="2.14.1", torch_index_url="https://example.org/cpu"),
        cache_key(runner, torch="2.14.1", python="3.12.8"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == cache_key(runner, torch="2.14.1", requirements=".", names="a b")
    assert all(re.fullmatch(r"[\w.+-]{1,512}", key) for key in keys)


@pytest.fixture
def with_wheels(runner: Runner) -> Runner:
    """A runner that pip finds modelsum on, and a torch of two versions, which has its name alone."""
    packages = runner.temp / "wheels"
    packages.mkdir()
    sources = {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in (ROOT / "modelsum").rglob("*.*")}
    sources = {name: content for name, content in sources.items() if not name.endswith(".pyc")}
    wheel(packages, "modelsum", "1", sources, "[console_scripts]\nmodelsum = modelsum.__main__:main\n")
    for version in ("2.14.0", "2.14.1"):
        wheel(packages, "torch", version, {"torch_is.py": f"version = {version!r}".encode()})
    runner.environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages), "PIP_NO_DEPS": "1"}
    return runner


@pytest.mark.parametrize(
    ("wanted", "exact"), [("", "2.14.1"), ("2.14.0", "2.14.0"), ("<2.14.1", "2.14.0"), ("2.14.*", "2.14.1")]
)
def test_which_torch_it_is_is_known_before_it_is_installed(
    with_wheels: Runner, wanted: str, exact: str
) -> None:
    with_wheels.begin(torch=wanted)
    done = with_wheels.step("torch")
    assert done.returncode == 0, done.stderr
    assert with_wheels.known["steps.torch.outputs.requirement"] == f"torch=={exact}"


# A project in the src layout, which is importable where it is installed alone. It builds itself: nothing has
# to be fetched for that.
PROJECT = """\
[build-system]
requires = []
build-backend = "building"
backend-path = ["."]

[[tool.modelsum.check]]
name = "head"
model = "shop.nets:Head"
input = "64"
memory = false
"""
BUILDING = """\
import pathlib
from hand_made_wheel import wheel

def build_wheel(folder, config_settings=None, metadata_directory=None):
    files = {p.relative_to("src").as_posix(): p.read_bytes() for p in pathlib.Path("src").rglob("*.py")}
    wheel(pathlib.Path(folder), "shop", "1", files)
    return "shop-1-py3-none-any.whl"
"""
NETS = """\
from torch import nn


class Head(nn.Linear):
    def __init__(self):
        super().__init__(64, {width})
"""


def store(checkout: Path, width: int) -> None:
    (checkout / "src" / "shop").mkdir(parents=True, exist_ok=True)
    (checkout / "src" / "shop" / "nets.py").write_text(NETS.format(width=width))


# torch itself is the tests' own: that of the wheels is a name.
WITH_TORCH = {"PYTHONPATH": str(Path(str(importlib.util.find_spec("torch").origin)).parents[1])}


def run_all(runner: Runner, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The whole action, but for the comment."""
    runner.begin(modelsum="modelsum", torch="2.14.1", **inputs)
    made = [runner.step("torch")]
    runner.cache()
    made.append(runner.step("environment"))
    for done in made:
        assert done.returncode == 0, done.stdout + done.stderr
    return runner.step("check", **WITH_TORCH)


@pytest.mark.slow  # wheels are built and installed
def test_a_changed_model_of_an_installed_project_is_what_is_measured(with_wheels: Runner) -> None:
    """With everything in the cache that is ever there. 64 x 10 + 10 parameters become 64 x 10000 + 10000."""
    runner, checkout = with_wheels, with_wheels.checkout
    (checkout / "pyproject.toml").write_text(PROJECT)
    (checkout / "building.py").write_text(BUILDING)
    shutil.copy(Path(__file__).with_name("hand_made_wheel.py"), checkout)
    store(checkout, 10)
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    first = run_all(runner, requirements=".", strict="false")
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("::notice file=pyproject.toml,line=6,title=modelsum head%3A new::")
    stored = subprocess.run(
        [runner.known["steps.environment.outputs.command"], "check", "--update", "--force"],
        cwd=checkout,
        env={**os.environ, **WITH_TORCH},
        check=False,
    )
    assert stored.returncode == 0

    store(checkout, 10_000)
    second = run_all(runner, requirements=".")
    assert runner.known["steps.cache.outputs.cache-hit"] == "true"
    assert second.returncode == 1, second.stdout + second.stderr
    assert "params 650 => 650,000" in second.stdout
    assert second.stdout.startswith("::error file=src/shop/nets.py,line=4,"), (
        "in the checkout, not as installed"
    )
    assert runner.outputs()["passed"] == "false"
    report = json.loads(Path(runner.outputs()["report"]).read_text())
    assert report["checks"][0]["state"] == "regressed"


def test_what_is_cached_is_not_written_into(with_wheels: Runner) -> None:
    """A project that wants another torch has it, in this run alone."""
    (with_wheels.checkout / "pyproject.toml").write_text(PROJECT)
    with_wheels.begin(modelsum="modelsum", torch="", requirements="torch==2.14.0")
    for name in ("torch", "environment"):
        assert with_wheels.step(name).returncode == 0
    folder = Path(with_wheels.known["steps.torch.outputs.folder"])
    assert "2.14.1" in (folder / "torch_is.py").read_text()
    python = Path(with_wheels.known["steps.environment.outputs.command"]).with_name("python")
    said = subprocess.run([python, "-c", "import torch_is; print(torch_is.version)"], capture_output=True)
    assert said.stdout.strip() == b"2.14.0"


def test_a_pinned_torch_stays(with_wheels: Runner) -> None:
    with_wheels.begin(modelsum="modelsum", torch="2.14.1", requirements="torch==2.14.0")
    assert with_wheels.step("torch").returncode == 0
    done = with_wheels.step("environment")
    assert done.returncode != 0
    assert "torch==2.14.1" in done.stdout + done.stderr


# ---- the check

CONFIG = '[[check]]\nname = "lenet"\nmodel = "my nets.py:LeNet"\ninput = "1x28x28"\nmemory = false\n'
LENET = """\
from torch import nn

class LeNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 24 * 24, 10))
"""


@pytest.fixture
def project(runner: Runner) -> Runner:
    """A runner with a project in a folder of its checkout, and modelsum."""
    folder = runner.checkout / "the models"
    folder.mkdir()
    (folder / "modelsum.toml").write_text(CONFIG)
    (folder / "my nets.py").write_text(LENET)
    command = runner.temp / "modelsum"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modelsum "$@"\n')
    command.chmod(0o755)
    runner.environment = {"PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(runner.temp / "summary.md")}
    return runner


def check(runner: Runner, **inputs: str) -> subprocess.CompletedProcess[str]:
    runner.begin(working_directory="the models", **inputs)
    runner.known["steps.environment.outputs.command"] = str(runner.temp / "modelsum")
    return runner.step("check")


def test_the_check_gates_annotates_and_writes_its_reports(project: Runner) -> None:
    done = check(project, sarif="out.sarif")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(
        "::error file=the models/modelsum.toml,line=1,title=modelsum lenet%3A new::"
    )
    assert (project.temp / "summary.md").read_text().startswith("<!-- modelsum check -->")
    folder = project.checkout / "the models"
    assert project.outputs() == {
        "passed": "false",
        "report": str(folder / "modelsum-check.json"),
        "markdown": str(folder / "modelsum-check.md"),
        "sarif": str(folder / "out.sarif"),
        "html": str(folder / "modelsum-check.html"),
    }
    assert (folder / "modelsum-check.html").read_text().startswith("<!doctype html>")
    assert (folder / "modelsum-check.xml").is_file()


def test_without_strict_a_new_check_passes(project: Runner) -> None:
    assert check(project, strict="false").returncode == 0
    assert project.outputs()["passed"] == "true"
    assert project.outputs()["sarif"] == ""


def test_a_report_of_an_earlier_run_is_not_this_ones(project: Runner) -> None:
    check(project)
    done = check(project, names="lenet nosuch")
    assert (done.returncode, "has no check 'nosuch'" in done.stderr) == (2, True)
    assert (project.outputs()["passed"], project.outputs()["report"]) == ("false", "")


def test_inputs_are_no_commands(project: Runner) -> None:
    hostile = "$(touch hacked); touch hacked"
    assert check(project, against=hostile, names=hostile).returncode == 2
    assert not list(project.checkout.rglob("hacked"))
