"""`modelsum check`: the gate in a scratch git repository, from a first baseline to a failing pull request."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git

# For an input of 3x8x8: 27 w + 4 w params, and 64 times that in MACs.
NETS = """\
from torch import nn

def small(width={width}):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(width, 4, 1, bias=False)
    )

def broken():
    raise RuntimeError("there is no such layer")
"""
CONFIG = """\
[[tool.modelsum.check]]
name = "small"
model = "nets.py:small"
input = "3x8x8"
memory = false
"""
SECOND = CONFIG.replace('"small"', '"second"')
CONFLICT = "<<<<<<< ours\n"
BROKEN = CONFIG.replace('"small"', '"broken"').replace("nets.py:small", "nets.py:broken")


class Project:
    """A folder with a configuration and a model, in a git repository of its own."""

    def __init__(self, folder: Path, cli: Callable[..., object]) -> None:
        self.folder, self.cli = folder, cli
        self.baseline = folder / "reports" / "small.json"

    def begin(self) -> None:
        self.git("init", "-q", "-b", "main")
        self.write("pyproject.toml", CONFIG)
        self.model(8)

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text)

    def model(self, width: int) -> None:
        self.write("nets.py", NETS.format(width=width))

    def git(self, *arguments: str) -> None:
        git(self.folder, *arguments)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change")

    def check(self, *arguments: str):
        return self.cli("check", *arguments)


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Be in a folder, and not under CI."""
    for name in ("CI", "GITHUB_WORKSPACE", "GITHUB_STEP_SUMMARY", "CI_PROJECT_DIR"):
        patch.delenv(name, raising=False)
    patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modelsum_cli) -> Project:
    enter(tmp_path / "project", monkeypatch)
    begun = Project(tmp_path / "project", modelsum_cli)
    begun.begin()
    return begun


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory: pytest.TempPathFactory, modelsum_cli) -> Path:
    """A folder with the project, its baseline stored and committed on main."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        project = Project(folder, modelsum_cli)
        project.begin()
        assert project.check("--update").code == 0
        project.commit()
    return folder


@pytest.fixture
def stored(stored_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modelsum_cli) -> Project:
    """The project with its baseline stored and committed on main."""
    enter(tmp_path / "project", monkeypatch)
    shutil.copytree(stored_once, tmp_path / "project", dirs_exist_ok=True)
    return Project(tmp_path / "project", modelsum_cli)


# ---- from the first baseline to a failing pull request


def test_a_first_run_is_green_with_a_note_and_red_under_ci(project: Project, monkeypatch) -> None:
    done = project.check()
    assert done.code == 0
    assert "small  new" in done.out
    assert "`modelsum check --update small`" in done.out
    assert project.check("--strict").code == 1
    monkeypatch.setenv("CI", "true")
    assert project.check().code == 1


def test_a_changed_model_on_a_branch(stored: Project) -> None:
    """Red against main, with the figures, the layer and the two ways out; green once it is stored."""
    stored.git("checkout", "-q", "-b", "wider")
    stored.model(10)
    stored.commit()
    red = stored.check("--against", "main")
    assert red.code == 1
    assert "macs                   15,872 =>      19,840       +3,968  +25.00%" in red.out
    assert "0: out_channels 8 => 10, params +54" in red.out
    assert "Fix the model, or accept it with `modelsum check --update small`." in " ".join(red.out.split())

    update = stored.check("--update")
    assert update.code == 0
    assert "stored in reports/small.json" in update.out
    assert "15,872 =>      19,840       +3,968  +25.00%" in update.out
    assert stored.check().code == 0
    stored.commit()
    green = stored.check("--against", "main")
    assert green.code == 0
    assert "accepted on this branch:" in green.out
    assert "15,872 =>      19,840       +3,968  +25.00%" in green.out


def test_against_the_merge_base_not_the_branchs_tip(stored: Project) -> None:
    """What main did since is not this branch's doing."""
    stored.git("checkout", "-q", "-b", "other")
    stored.write("README", "a change elsewhere")
    stored.commit()
    stored.git("checkout", "-q", "main")
    stored.model(4)
    assert stored.check("--update").code == 0
    stored.commit()
    stored.git("checkout", "-q", "other")
    done = stored.check("--against", "main")
    assert (done.code, "small  ok" in done.out) == (0, True)


def test_a_project_in_a_folder_of_its_repository(project: Project) -> None:
    shutil.move(project.folder / ".git", project.folder.parent / ".git")
    assert project.check("--update").code == 0
    project.commit()
    project.git("checkout", "-q", "-b", "wider")
    project.model(10)
    done = project.check("--against", "main")
    assert (done.code, "15,872 =>      19,840" in done.out) == (1, True)


def test_in_a_git_hook_of_a_folder_of_its_repository(project: Project, monkeypatch) -> None:
    """Where git says which repository it is, and not which folder of it."""
    shutil.move(project.folder / ".git", project.folder.parent / ".git")
    assert project.check("--update").code == 0
    project.commit()
    project.model(10)
    monkeypatch.setenv("GIT_DIR", str(project.folder.parent / ".git"))
    done = project.check("--against", "main")
    assert (done.code, "the check is new" in done.out) == (1, False)


def test_rules_that_the_branch_changed_are_said(stored: Project) -> None:
    stored.git("checkout", "-q", "-b", "looser")
    stored.write(
        "pyproject.toml", CONFIG + 'limits = {macs = "1 G"}\nseverity = {params = "warn"}\n' + SECOND
    )
    for names in ((), ("second",), ("small",)):
        done = stored.check("--against", "main", *names)
        loosened, changed = done.out.split("Loosened on this branch:")[1].split("Changed on this branch:")
        assert "small: severity of params none => warn" in loosened, names
        assert "small: limit of macs none => 1,000,000,000" in changed
        assert "second: the check is new" in changed


def test_rules_are_compared_with_those_of_the_file_that_had_them(stored: Project) -> None:
    """A modelsum.toml, which goes before pyproject.toml, does not make looser rules new ones."""
    stored.write("pyproject.toml", CONFIG + 'limits = {macs = "1 M"}\n')
    stored.commit()
    stored.git("checkout", "-q", "-b", "moved")
    stored.write("modelsum.toml", CONFIG.replace("tool.modelsum.", "") + 'limits = {macs = "2 M"}\n')
    assert "small: limit of macs 1,000,000 => 2,000,000" in stored.check("--against", "main").out


def test_what_was_unreadable_where_the_branch_began_is_said_and_can_be_repaired(stored: Project) -> None:
    good = stored.baseline.read_text()
    stored.baseline.write_text(CONFLICT + good)
    stored.write("pyproject.toml", "[[tool.modelsum.check]]\n")
    stored.commit()
    stored.git("checkout", "-q", "-b", "repair")
    stored.baseline.write_text(good)
    stored.write("pyproject.toml", CONFIG)
    done = stored.check("--against", "main")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert "the configuration cannot be read where the branch began" in said
    assert "small: the baseline cannot be read where the branch began" in said
    assert "reports/small.json:1: there is a merge conflict in it" in said


def test_a_baseline_removed_on_the_branch_does_not_hide_a_regression(stored: Project) -> None:
    stored.git("checkout", "-q", "-b", "wider")
    stored.baseline.unlink()
    stored.model(10)
    assert stored.check("--against", "main").code == 1


def test_a_renamed_check_is_red_under_ci(stored: Project, monkeypatch) -> None:
    stored.write("pyproject.toml", CONFIG.replace('"small"', '"tiny"'))
    local = stored.check()
    assert local.code == 0
    assert "tiny   new" in local.out
    assert "small  orphan" in local.out
    monkeypatch.setenv("CI", "1")
    assert stored.check().code == 1


def test_resnet50_v1_against_v1_5(project: Project) -> None:
    """The stride on the 1x1 or on the 3x3: 231,211,008 MACs more, in exactly three layers."""
    v1 = '[[tool.modelsum.check]]\nname = "resnet50"\nmodel = "resnet50"\nmemory = false\n'
    project.write("pyproject.toml", v1 + "args = {stride_in_1x1 = true}\n")
    assert project.check("--update").code == 0
    project.write("pyproject.toml", v1)
    done = project.check("--format", "json")
    assert done.code == 1
    (verdict,) = json.loads(done.out)["checks"]
    macs = next(found for found in verdict["findings"] if found["figure"] == "macs")
    assert (macs["old"], macs["new"], macs["difference"]) == (3_857_973_248, 4_089_184_256, 231_211_008)
    causes = {c["path"]: c["differences"]["macs"] for c in verdict["causes"] if "macs" in c["differences"]}
    assert causes == {f"layer{n}.0.conv1": 77_070_336 for n in (2, 3, 4)}
    assert [c["path"] for c in verdict["causes"][:3]] == list(causes), (
        "the changed before what follows from them"
    )
    assert {c["what"] for c in verdict["causes"][:3]} == {"stride 2x2 => 1x1"}


# ---- what goes wrong


def test_a_missing_revision_is_exit_2_with_the_remedy(stored: Project) -> None:
    done = stored.check("--against", "mian")
    assert done.code == 2
    assert "no git revision 'mian'" in done.err
    assert "git fetch" in done.err


@pytest.mark.parametrize("branches", [(), ("--no-single-branch",)], ids=["one branch", "all branches"])
def test_a_shallow_clone_is_exit_2_with_the_remedy(
    stored: Project, tmp_path: Path, monkeypatch, branches: tuple[str, ...]
) -> None:
    for branch in ("topic", "main"):
        stored.git("checkout", "-q", "-B", branch)
        stored.write("README", branch)
        stored.commit()
    url = stored.folder.as_uri()
    clone = tmp_path / "clone"
    stored.git("clone", "-q", "--depth", "1", *branches, "--branch", "topic", url, str(clone))
    monkeypatch.chdir(clone)
    done = stored.check("--against", "origin/main")
    assert done.code == 2
    assert "git fetch --unshallow" in done.err
    assert "fetch-depth: 0" in done.err


def test_outside_a_repository_against_is_exit_2(stored: Project) -> None:
    shutil.rmtree(stored.folder / ".git")
    assert stored.check("--against", "main").code == 2


SPOILED = pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace('"macs": 15872', '"macs": 15000'),
        lambda text: text.replace('"params"', '"parms"', 1),
        lambda text: CONFLICT + text,
        lambda text: "\udcff",
    ],
    ids=["cut off", "empty", "a figure edited", "a key edited", "a merge conflict", "not text"],
)


@SPOILED
@pytest.mark.parametrize("arguments", [(), ("small",), ("--new-only",)], ids=" ".join)
def test_a_spoiled_baseline_is_exit_2_and_left_alone(stored: Project, spoil, arguments) -> None:
    spoiled = spoil(stored.baseline.read_text()).encode(errors="surrogateescape")
    stored.baseline.write_bytes(spoiled)
    done = stored.check(*arguments)
    assert done.code == 2
    assert "reports/small.json" in done.err
    assert "`modelsum check --update small`" in done.err
    assert len(done.err.splitlines()) == 2, "a remedy in the second line"
    assert stored.baseline.read_bytes() == spoiled


@SPOILED
def test_an_update_writes_a_spoiled_baseline_anew(stored: Project, spoil) -> None:
    good = stored.baseline.read_text()
    stored.baseline.write_bytes(spoil(good).encode(errors="surrogateescape"))
    done = stored.check("--update", "small")
    assert (done.code, stored.baseline.read_text()) == (0, good)
    said = " ".join(done.out.split())
    assert "stored in reports/small.json; the old one could not be read" in said
    assert stored.check().code == 0


def test_a_spoiled_baseline_stays_where_its_model_does_not_run(stored: Project) -> None:
    stored.baseline.write_text(CONFLICT)
    stored.write("nets.py", "1 / 0")
    assert stored.check("--update").code == 3
    assert stored.baseline.read_text() == CONFLICT


def test_all_spoiled_baselines_are_said_at_once(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG + SECOND)
    (stored.folder / "reports" / "second.json").write_text("{")
    stored.baseline.write_text("[")
    err = stored.check().err
    assert "small.json" in err
    assert "second.json" in err


def test_a_model_that_raises_beside_one_that_regresses(stored: Project) -> None:
    """Both are said, and the regression decides the exit code."""
    stored.write("pyproject.toml", BROKEN + CONFIG)
    stored.model(10)
    done = stored.check()
    assert done.code == 1
    assert "broken  failed" in done.out
    assert "RuntimeError: there is no such layer" in " ".join(done.out.split())
    assert "small   regressed" in done.out


FAULTY = """
import sys
from modelsum import api
from modelsum.cli.main import run

right = api.run

def faulty(request):
    if request.model.text.endswith("broken"):
        raise ZeroDivisionError("a mistake here")
    return right(request)

api.run = faulty
sys.exit(run(["check", "--debug"]))
"""


def test_a_fault_of_our_own_does_not_stop_the_others(stored: Project) -> None:
    stored.write("pyproject.toml", BROKEN + CONFIG)
    done = subprocess.run([sys.executable, "-c", FAULTY], capture_output=True, text=True)
    assert (done.returncode, "small   ok" in done.stdout) == (3, True)
    assert "a fault of modelsum: ZeroDivisionError: a mistake here" in done.stdout
    assert "Traceback" in done.stderr


def test_a_model_that_ends_the_process_does_not_end_the_gate(stored: Project) -> None:
    stored.write("quits.py", "import sys\n\ndef net():\n    sys.exit(0)\n")
    stored.write("pyproject.toml", BROKEN.replace("nets.py:broken", "quits.py:net") + CONFIG)
    done = stored.check()
    assert (done.code, "small   ok" in done.out) == (3, True)
    assert "SystemExit" in done.out or "sys.exit" in done.out


SAYING = """
import sys
from torch import nn

def small(word):
    print(word, file=sys.stderr)
    return nn.Linear(4, 2)

def gone():
    import os
    os._exit(0)
"""


def table(name: str, model: str, more: str = "") -> str:
    return (
        f'[[tool.modelsum.check]]\nname = "{name}"\nmodel = "{model}"\ninput = "4"\nmemory = false\n{more}\n'
    )


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_what_is_said_is_said_in_order(project: Project, jobs: str) -> None:
    words = [f"word{n}" for n in range(6)]
    project.write("nets.py", SAYING)
    tables = [table(w, "nets.py:small", f'args = {{ word = "{w}" }}') for w in words]
    project.write("pyproject.toml", "\n".join(tables))
    done = project.check("--jobs", jobs)
    assert done.code == 0
    assert [line for line in done.err.splitlines() if line in words] == words
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("word")] == words


def test_a_model_that_ends_its_process_at_once_does_not_end_the_gate(project: Project) -> None:
    project.write("nets.py", SAYING)
    tables = [table("gone", "nets.py:gone"), table("word", "nets.py:small", 'args = { word = "w" }')]
    project.write("pyproject.toml", "\n".join(tables))
    done = project.check("--jobs", "2", "--format", "json")
    states = {check["name"]: check["state"] for check in json.loads(done.out)["checks"]}
    assert done.code == 3
    assert states["word"] == "new"
    assert "the model's code ended the process" in done.out


def test_a_model_that_raises_alone_is_exit_3(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG + BROKEN)
    assert stored.check().code == 3


def test_a_model_that_is_not_there_is_exit_2(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG.replace("nets.py:small", "nets.py:smal"))
    done = stored.check()
    assert (done.code, "Did you mean small?" in done.out) == (2, True)


def test_an_update_stores_what_it_can(project: Project) -> None:
    project.write("pyproject.toml", BROKEN + CONFIG)
    assert project.check("--update").code == 3
    assert project.baseline.is_file()
    assert not project.baseline.with_name("broken.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("smal",), "has no check 'smal'", "Did you mean small?"),
        (("--output", "junit"), "is not FORMAT=FILE", "junit=costs.xml"),
        (("--output", "junti=x.xml"), "unknown format 'junti'", "Did you mean junit?"),
        (("--output", "junit=no/such/folder.xml"), "no directory", "Make it"),
        (("--config", "no.toml"), "cannot read", ""),
        (("--against", "main", "--update"), "--against compares", "one of them"),
        (
            ("--against", ""),
            "--against '' names no git revision",
            "If a variable should have: it is not set.",
        ),
        (("--against", " ", "small"), "--against ' ' names no git revision", "not set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words_are_exit_2(stored: Project, arguments, said: str, hint: str) -> None:
    done = stored.check(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert hint in done.err


def test_without_a_configuration_there_is_an_example(project: Project) -> None:
    (project.folder / "pyproject.toml").unlink()
    done = project.check()
    assert (done.code, "[[tool.modelsum.check]]" in done.err) == (2, True)


@pytest.mark.parametrize("file", ["pyproject.toml", "modelsum.toml"])
def test_a_gate_without_checks_is_not_green(project: Project, file: str) -> None:
    project.write(file, "[tool.modelsum]\n" if file == "pyproject.toml" else "")
    done = project.check()
    assert (done.code, f"{file} has no checks" in done.err) == (2, True)
    project.write(file, done.err.partition("\n\n")[2])
    assert project.check("--list").out.startswith("resnet50")


# ---- storing


def test_update_of_what_did_not_change_touches_nothing(stored: Project) -> None:
    before = stored.baseline.stat().st_mtime_ns
    assert "stored" not in stored.check("--update").out
    assert stored.baseline.stat().st_mtime_ns == before


def test_update_of_one_leaves_the_others(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG + SECOND)
    assert stored.check("--update").code == 0
    second = (stored.folder / "reports" / "second.json").read_text()
    stored.model(10)
    assert stored.check("--update", "small").code == 0
    assert (stored.folder / "reports" / "second.json").read_text() == second
    assert stored.check("small").code == 0
    assert stored.check("second").code == 1


def test_new_only_stores_no_regression(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG + SECOND)
    stored.model(10)
    before = stored.baseline.read_text()
    done = stored.check("--new-only")
    assert done.code == 1
    assert (stored.folder / "reports" / "second.json").is_file()
    assert stored.baseline.read_text() == before


def test_prune_removes_baselines_of_no_check_and_nothing_else(stored: Project) -> None:
    reports = stored.folder / "reports"
    (reports / "old.json").write_text(stored.baseline.read_text())
    (reports / "timings.json").write_text('{"seconds": 3}')
    assert "timings" not in stored.check().out
    done = stored.check("--prune")
    assert (done.code, "reports/old.json is removed" in done.out) == (0, True)
    assert sorted(path.name for path in reports.iterdir()) == ["small.json", "timings.json"]


@pytest.mark.parametrize("arguments", [("--update",), ("--new-only",), ("--prune",)], ids=" ".join)
def test_baselines_are_not_changed_under_ci_without_force(stored: Project, monkeypatch, arguments) -> None:
    stored.model(10)
    monkeypatch.setenv("CI", "true")
    before = stored.baseline.read_text()
    refused = stored.check(*arguments)
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert stored.baseline.read_text() == before
    if arguments == ("--update",):
        assert stored.check("--update", "--force").code == 0
        assert stored.baseline.read_text() != before


def test_two_updates_at_once_leave_one_whole_file(project: Project) -> None:
    """Two processes store different figures in one file: it is that of one of them."""
    configs = []
    for width in (8, 10):
        text = CONFIG.replace("tool.modelsum.", "") + f"args = {{width = {width}}}\n"
        project.write(f"w{width}.toml", text)
        configs.append(f"w{width}.toml")
    start = [sys.executable, "-m", "modelsum", "check", "--update", "--config"]
    running = [subprocess.Popen([*start, file], stdout=subprocess.DEVNULL) for file in configs]
    assert [process.wait() for process in running] == [0, 0]
    macs = json.loads(project.baseline.read_text())["totals"]["macs"]
    assert macs in (64 * 31 * 8, 64 * 31 * 10)
    assert sorted(p.name for p in project.baseline.parent.iterdir()) == ["small.json"]
    assert sorted(project.check("--config", file).code for file in configs) == [0, macs == 64 * 31 * 8]


# ---- where the verdict goes


def test_every_output_is_written_also_when_red(stored: Project) -> None:
    stored.model(10)
    formats = ("text", "markdown", "json", "junit", "github", "codequality", "sarif")
    outputs = [word for name in formats for word in ("--output", f"{name}=out.{name}")]
    done = stored.check(*outputs)
    assert done.code == 1
    for name in formats:
        assert (stored.folder / f"out.{name}").read_text().endswith("\n")
        assert "small" in (stored.folder / f"out.{name}").read_text()
    assert (stored.folder / "out.text").read_text() == done.out
    assert json.loads((stored.folder / "out.json").read_text())["exit_code"] == 1


def test_github_gets_annotations_and_the_step_summary(stored: Project, monkeypatch) -> None:
    summary = stored.folder / "summary.md"
    summary.write_text("what was there\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    stored.model(10)
    stored.check()
    assert summary.read_text() == "what was there\n", "only where GitHub is what the result is for"
    out = stored.check("--format", "github").out
    assert out.startswith(
        "::error file=nets.py,line=3,title=modelsum small%3A regressed (params +25.00%25)::"
    )
    assert out.count("::error") == 1, "one for one change, with all figures in it"
    assert "macs 15,872 => 19,840" in out
    line = int(out.partition("The baseline is reports/small.json:")[2].partition(".")[0])
    assert '"params": 248' in stored.baseline.read_text().splitlines()[line - 1]
    assert summary.read_text().startswith("what was there\n<!-- modelsum check -->")


def test_paths_are_relative_to_the_checkout(stored: Project, monkeypatch) -> None:
    """A project in a folder of the repository, and a command that is called from elsewhere."""
    stored.model(10)
    shutil.move(stored.folder / ".git", stored.folder.parent / ".git")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(stored.folder.parent))
    monkeypatch.chdir(stored.folder.parent)
    out = stored.check("--config", "project/pyproject.toml", "--format", "github").out
    assert out.startswith("::error file=project/nets.py,")
    assert "project/reports/small.json:" in out


def test_a_folder_of_baselines_elsewhere_with_a_space_in_its_name(project: Project) -> None:
    config = f'[tool.modelsum]\nreports = "../the costs"\n{CONFIG}'
    project.write("pyproject.toml", config)
    assert "stored in ../the costs/small.json" in project.check("--update").out
    assert (project.folder.parent / "the costs" / "small.json").is_file()
    project.model(10)
    done = project.check("--format", "github")
    assert (done.code, "The baseline is ../the costs/small.json:" in done.out) == (1, True)


def test_no_strict_holds_under_ci(project: Project, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert project.check("--no-strict").code == 0


def test_from_a_folder_below_the_project_is_found(stored: Project, monkeypatch) -> None:
    (stored.folder / "docs").mkdir()
    monkeypatch.chdir(stored.folder / "docs")
    assert stored.check().code == 0
    assert Path.cwd() == stored.folder / "docs"


def test_an_input_from_a_function(project: Project) -> None:
    """Two samples of 3x8x8: twice the MACs of one."""
    project.write("example.py", "import torch\n\ndef pair():\n    return torch.zeros(2, 3, 8, 8)\n")
    config = CONFIG.replace('input = "3x8x8"', 'inputs_from = "example.py:pair"\nlimits = {macs = "30 K"}')
    project.write("pyproject.toml", config)
    done = project.check()
    assert done.code == 1
    assert "limit 30,000 < 31,744" in " ".join(done.out.split())
    assert "0: Conv2d, macs +27,648" in done.out


def test_what_a_model_prints_is_not_the_result(stored: Project) -> None:
    stored.write("nets.py", NETS.format(width=8) + '\nprint("loading")\n')
    done = stored.check("--format", "json")
    assert json.loads(done.out)["passed"]
    assert "loading" in done.err


def test_list_builds_nothing(stored: Project) -> None:
    stored.write("pyproject.toml", CONFIG + 'limits = {macs = "4 G"}\n' + BROKEN)
    done = stored.check("--list")
    assert done.code == 0
    assert done.out.splitlines() == [
        "small   nets.py:small   3x8x8",
        "        macs <= 4 G",
        "broken  nets.py:broken  3x8x8  no baseline yet",
    ]
    stored.baseline.write_text(CONFLICT)
    assert "3x8x8  baseline cannot be read" in stored.check("--list").out


PROBE = """
import sys
from modelsum.cli.main import run
code = run({arguments!r})
print(code, "torch" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["check", "--list"], "0 False"), (["check"], "2 False"), (["check", "smal"], "2 False")],
    ids=["list", "spoiled", "name"],
)
def test_baselines_and_words_are_read_before_torch_is_imported(
    stored: Project, arguments: list[str], expected: str
) -> None:
    if arguments == ["check"]:
        stored.baseline.write_text("{")
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stderr.strip().endswith(expected)
