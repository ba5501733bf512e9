"""A project's defaults: they stand where the command line says nothing, and what they decided is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("squeezenet1_1", "--input", "3x32x32")
TABLE = """\
[project]
name = "nets"

[tool.modelsum]
target = "cpu"
optimizer = "sgd"
dtype = "bf16"
device = "meta"
"""
FROM = "from pyproject.toml: "


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with defaults; the user is in a folder below its own."""
    (tmp_path / "pyproject.toml").write_text(TABLE)
    inner = tmp_path / "src" / "nets"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path


def shown(cli, *options: str) -> dict:
    done = cli("show", *SMALL, "--format", "json", *options)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_show_takes_all_four_and_says_so(project, modelsum_cli) -> None:
    value = shown(modelsum_cli)
    assert (value["dtype"], value["inputs"][0]["dtype"], value["device"]) == ("bfloat16", "bfloat16", "meta")
    assert value["memory"]["target"] == "cpu"
    assert value["memory"]["assumptions"]["optimizer"].startswith("sgd ")
    assert value["notices"] == [f"{FROM}dtype = bfloat16, device = meta, optimizer = sgd, target = cpu"]
    text = modelsum_cli("show", *SMALL).out
    assert f"\nNotice: {FROM}dtype = bfloat16, device = meta, optimizer = sgd, target = cpu\n" in text


def test_the_command_line_wins(project, modelsum_cli) -> None:
    value = shown(modelsum_cli, "--optimizer", "adam", "--target", "cuda", "--dtype", "float16")
    assert (value["dtype"], value["memory"]["target"]) == ("float16", "cuda")
    assert value["memory"]["assumptions"]["optimizer"].startswith("adam ")
    assert value["notices"] == [f"{FROM}device = meta"]


def test_what_does_not_change_the_answer_is_not_told(project, modelsum_cli) -> None:
    assert shown(modelsum_cli, "--no-memory")["notices"] == [f"{FROM}dtype = bfloat16, device = meta"]
    (project / "pyproject.toml").write_text('[tool.modelsum]\ntarget = "cuda"\noptimizer = "adamw"\n')
    assert shown(modelsum_cli)["notices"] == []


def test_no_defaults_takes_none(project, modelsum_cli) -> None:
    value = shown(modelsum_cli, "--no-defaults")
    assert (value["dtype"], value["memory"]["target"], value["notices"]) == ("float32", "cuda", [])


def test_compare_and_diff_take_them_for_models_alone(project, modelsum_cli) -> None:
    for command in ("compare", "diff"):
        done = modelsum_cli(command, "squeezenet1_1@3x32x32", "squeezenet1_0@3x32x32", "--device", "auto")
        assert done.code == 0
        assert done.err == f"modelsum: notice: {FROM}dtype = bfloat16, optimizer = sgd, target = cpu\n"
    for file in ("a.json", "b.json"):
        modelsum_cli("show", *SMALL, "--format", "json", "-o", file)
    done = modelsum_cli("diff", "a.json", "b.json")
    assert (done.code, done.err) == (0, "")


def test_fit_takes_them(project, modelsum_cli) -> None:
    done = modelsum_cli("fit", *SMALL, "--memory", "100MiB", "--no-ways", "--format", "json")
    value = json.loads(done.out)
    assert (value["target"], value["dtype"]) == ("cpu", "bfloat16")
    assert f"{FROM}dtype = bfloat16, optimizer = sgd, target = cpu" in value["notices"]


def test_a_card_is_one_of_cuda_whatever_the_projects_target(project, modelsum_cli) -> None:
    value = json.loads(modelsum_cli("fit", *SMALL, "--gpu", "t4", "--no-ways", "--format", "json").out)
    assert value["target"] == "cuda"
    assert value["notices"] == [f"{FROM}dtype = bfloat16, optimizer = sgd"]
    assert modelsum_cli("fit", *SMALL, "--gpu", "t4", "--target", "cpu").code == 2


def test_measure_takes_what_a_real_run_can(project, modelsum_cli) -> None:
    """It runs on the CPU and nowhere on meta."""
    options = ("--no-latency", "--format", "json")
    value = json.loads(modelsum_cli("measure", *SMALL, "--device", "cpu", *options).out)
    assert value["notices"][0] == f"{FROM}dtype = bfloat16, optimizer = sgd"
    toml = project / "pyproject.toml"
    toml.write_text('[tool.modelsum]\ndevice = "cpu"\n')
    value = json.loads(modelsum_cli("measure", *SMALL, *options).out)
    assert (value["device"], value["notices"][0]) == ("cpu", f"{FROM}device = cpu")


def test_checks_take_them_where_they_say_nothing_else(project, modelsum_cli) -> None:
    (project / "pyproject.toml").write_text(
        TABLE
        + '[[tool.modelsum.check]]\nname = "a"\nmodel = "squeezenet1_1"\ninput = "3x32x32"\n'
        + '[[tool.modelsum.check]]\nname = "b"\nmodel = "squeezenet1_1"\ninput = "3x32x32"\n'
        + 'optimizer = "adam"\ndtype = "float32"\n'
    )
    assert modelsum_cli("check", "--update", "--force").code == 0
    a, b = (json.loads((project / "reports" / f"{name}.json").read_text())["case"] for name in "ab")
    assert (a["dtype"], a["memory"]["target"]) == ("bfloat16", "cpu")
    assert a["memory"]["optimizer"].startswith("sgd ")
    assert (b["dtype"], b["memory"]["target"]) == ("float32", "cpu")
    assert b["memory"]["optimizer"].startswith("adam ")


def test_a_new_default_never_changes_a_baseline_silently(project, modelsum_cli) -> None:
    toml = project / "pyproject.toml"
    toml.write_text('[[tool.modelsum.check]]\nname = "a"\nmodel = "squeezenet1_1"\ninput = "3x32x32"\n')
    assert modelsum_cli("check", "--update", "--force").code == 0
    toml.write_text(f'[tool.modelsum]\ntarget = "cpu"\n{toml.read_text()}')
    done = modelsum_cli("check")
    assert done.code != 0
    assert "the target of the memory figures is 'cuda' there and 'cpu' now" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('optimizer = "adm"', "pyproject.toml:2: optimizer: optimizer 'adm' is not known", "adam"),
        ('target = "gpu"', "pyproject.toml:2: target: target 'gpu' is not known", "cpu"),
        ('dtype = "bf61"', "pyproject.toml:2: dtype: unknown dtype 'bf61'", "Valid are float32"),
        ('device = "cud"', "pyproject.toml:2: device: unknown device 'cud'", "cuda"),
        ("device = 1", "pyproject.toml:2: device: 1 is not a text", "in quotes"),
        ('optimiser = "sgd"', "pyproject.toml:2: optimiser: there is no such key", "Did you mean optimizer?"),
        ("target = ", "pyproject.toml is not TOML", ""),
    ],
)
@pytest.mark.parametrize("called", [("show", *SMALL), ("check",)], ids=["show", "check"])
def test_a_wrong_default_is_an_error_with_its_line(
    project, modelsum_cli, called, line: str, message: str, hint: str
) -> None:
    (project / "pyproject.toml").write_text(f"[tool.modelsum]\n{line}\n")
    done = modelsum_cli(*called)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"modelsum: error: {message}")
    assert hint in done.err


def test_help_and_no_defaults_work_beside_wrong_ones(project, modelsum_cli) -> None:
    (project / "pyproject.toml").write_text('[tool.modelsum]\ntarget = "gpu"\n')
    assert modelsum_cli("show", "-h").code == 0
    assert modelsum_cli("show", *SMALL, "--no-defaults").code == 0
    assert modelsum_cli("list", "vgg16").code == 0


def test_help_shows_the_projects_default(project, modelsum_cli) -> None:
    assert "[default: sgd]" in " ".join(modelsum_cli("show", "-h").out.split())


def test_an_error_over_a_default_says_where_it_is_from(project, modelsum_cli) -> None:
    toml = project / "pyproject.toml"
    toml.write_text('[tool.modelsum]\noptimizer = "lion"\n')
    done = modelsum_cli("show", *SMALL, "--fused")
    assert (done.code, done.err.splitlines()) == (
        2,
        [
            "modelsum: error: lion has no fused implementation",
            f"Use for-loop or foreach. It is {FROM}optimizer = lion.",
        ],
    )
    done = modelsum_cli("show", *SMALL, "--fused", "--optimizer", "lion")
    assert FROM not in done.err


@pytest.mark.parametrize(
    "text", ["", '[project]\nname = "x"\n', "[[[", '[project]\ndescription = "a modelsum"\n']
)
def test_a_pyproject_without_the_table_is_passed_by(project, modelsum_cli, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    assert shown(modelsum_cli)["notices"] == []


@pytest.mark.parametrize(("text", "parsed"), [('[project]\nname = "x"\n', False), (TABLE, True)])
def test_a_project_that_says_nothing_costs_no_parser(project, text: str, parsed: bool) -> None:
    (project / "pyproject.toml").write_text(text)
    code = (
        "import sys; from modelsum.cli.main import run; run(sys.argv[1:]); "
        "print({'tomllib', 'tomli'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, "show", "resnet5O"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout != "set()\n") == parsed


def test_modelsum_toml_has_them_at_its_root(project, modelsum_cli) -> None:
    (project / "src" / "modelsum.toml").write_text('target = "cpu"\n')
    value = shown(modelsum_cli)
    assert (value["dtype"], value["notices"]) == ("float32", ["from modelsum.toml: target = cpu"])
