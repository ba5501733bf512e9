"""`modelsum show CHECK`: a configured check's name stands for its model and all that it is called with."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

NETS = """
from torch import nn

class LeNet(nn.Sequential):
    def __init__(self, width=6):
        super().__init__(nn.Conv2d(1, width, 5), nn.Flatten(), nn.Linear(width * 24 * 24, 10))

def example():
    import torch
    return torch.zeros(3, 1, 28, 28)
"""
CHECKS = """
[tool.modelsum]
target = "cpu"

[[tool.modelsum.check]]
name = "lenet-small"
model = "nets.py:LeNet"
args = {width = 4}
input = "1x28x28"
batch = 8
mode = "train"
dtype = "float64"
optimizer = "adam"

[[tool.modelsum.check]]
name = "counts"
model = "nets.py:LeNet"
inputs_from = "nets.py:example"
memory = false

[[tool.modelsum.check]]
name = "resnet18"
model = "nets.py:LeNet"
no_batch = true
input = "2x1x28x28"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user is in a folder below the project's."""
    (tmp_path / "pyproject.toml").write_text(CHECKS)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    return tmp_path


def shown(cli, *arguments: str) -> dict:
    done = cli("show", *arguments, "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_checks_model_with_its_input_and_options(project, modelsum_cli) -> None:
    """Width 4: 1*4*25 + 4 params of the convolution, 4*576*10 + 10 of the layer behind it."""
    value = shown(modelsum_cli, "lenet-small")
    assert value["totals"]["params"] == 104 + 23_050
    assert value["inputs"] == [{"name": None, "shape": [8, 1, 28, 28], "dtype": "float64"}]
    assert (value["mode"], value["memory"]["target"]) == ("train", "cpu")
    assert value["memory"]["assumptions"]["optimizer"].startswith("adam ")
    assert value["notices"] == ["this is the check 'lenet-small' of pyproject.toml, line 5: nets.py:LeNet"]


def test_options_on_the_command_line_win(project, modelsum_cli) -> None:
    value = shown(
        modelsum_cli, "lenet-small", "--arg", "width=2", "--batch", "3", "--eval", "--optimizer", "sgd"
    )
    assert value["totals"]["params"] == (25 * 2 + 2) + (2 * 576 * 10 + 10)
    assert value["inputs"][0]["shape"] == [3, 1, 28, 28]
    assert value["inputs"][0]["dtype"] == "float64"
    assert value["mode"] == "eval"
    assert value["memory"]["assumptions"]["optimizer"].startswith("sgd ")


def test_an_option_replaces_what_it_cannot_stand_beside(project, modelsum_cli) -> None:
    counts = shown(modelsum_cli, "counts")
    assert (counts["inputs"][0]["shape"], counts["memory"]) == ([3, 1, 28, 28], None)
    assert shown(modelsum_cli, "counts", "--input", "1x28x28")["inputs"][0]["shape"] == [1, 1, 28, 28]
    assert shown(modelsum_cli, "counts", "--loss", "sum")["memory"]["target"] == "cpu"
    assert shown(modelsum_cli, "check:resnet18")["inputs"][0]["shape"] == [2, 1, 28, 28]
    batched = shown(modelsum_cli, "check:resnet18", "--batch", "5", "--input", "1x28x28")
    assert batched["inputs"][0]["shape"] == [5, 1, 28, 28]
    assert shown(modelsum_cli, "lenet-small", "--no-memory")["memory"] is None


def test_the_batch_of_an_example_is_not_known(project, modelsum_cli, monkeypatch) -> None:
    """torchsummary's -1 stands for it, whoever names the function; it is another where it is given."""

    def first_size(*arguments: str) -> str:
        out = modelsum_cli("show", *arguments, "--format", "torchsummary").out
        return out.split("Conv2d-1")[1].split(",")[0].strip()

    monkeypatch.chdir(project)
    example = ("--inputs-from", "nets.py:example")
    assert first_size("nets.py:LeNet", *example) == "[-1"
    assert first_size("lenet-small", *example, "--dtype", "float32") == "[-1"
    assert first_size("counts") == "[-1"
    assert first_size("lenet-small") == "[8"


def test_a_documented_name_is_the_model_and_check_in_front_is_the_check(project, modelsum_cli) -> None:
    model = shown(modelsum_cli, "resnet18")
    assert (model["model"]["class"], model["totals"]["params"]) == ("ResNet", 11_689_512)
    assert shown(modelsum_cli, "check:resnet18")["model"]["class"] == "LeNet"


def test_a_terminal_is_told_of_the_check_of_that_name(project) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "modelsum", "show", "resnet18", "--depth", "0"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    os.close(theirs)
    told = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "resnet18 is also a check of this project: `modelsum show check:resnet18` shows that" in told


def test_a_check_comes_before_an_installed_providers_model(project, modelsum_cli) -> None:
    pytest.importorskip("torchvision")
    toml = project / "pyproject.toml"
    toml.write_text(toml.read_text().replace('"counts"', '"swin_t"'))
    assert shown(modelsum_cli, "swin_t")["model"]["class"] == "LeNet"
    assert shown(modelsum_cli, "torchvision/swin_t", "--no-memory")["model"]["class"] == "SwinTransformer"


def test_output_files_are_where_the_user_is(project, modelsum_cli) -> None:
    assert modelsum_cli("show", "lenet-small", "-o", "lenet.txt").code == 0
    assert (project / "docs" / "lenet.txt").is_file()


@pytest.mark.parametrize("name", ["lenet-smal", "check:lenet-smal"])
def test_a_mistyped_check_is_answered_with_the_nearest(project, modelsum_cli, name: str) -> None:
    done = modelsum_cli("show", name)
    assert (done.code, done.out) == (2, "")
    assert "Did you mean lenet-small?" in done.err


def test_check_in_front_wants_a_project(tmp_path, monkeypatch, modelsum_cli) -> None:
    monkeypatch.chdir(tmp_path)
    done = modelsum_cli("show", "check:lenet")
    assert (done.code, "there is no [tool.modelsum]" in done.err) == (2, True)


def test_a_module_called_check_is_still_one(project, modelsum_cli, monkeypatch) -> None:
    monkeypatch.chdir(project)
    (project / "check.py").write_text(NETS)
    assert shown(modelsum_cli, "check:LeNet", "--input", "1x28x28")["model"]["spec"] == "check:LeNet"
    assert shown(modelsum_cli, "check:lenet-small")["model"]["spec"] == "nets.py:LeNet"


def test_a_spoiled_check_is_an_error_for_who_asks_for_one(project, modelsum_cli) -> None:
    toml = project / "pyproject.toml"
    toml.write_text(toml.read_text().replace("batch = 8", "batch = 0"))
    done = modelsum_cli("show", "lenet-small")
    assert (done.code, "pyproject.toml:10: batch: 0 is not" in done.err) == (2, True)
    assert modelsum_cli("show", "squeezenet1_1", "--depth", "0").code == 0
