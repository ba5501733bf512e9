"""`modelsum fit`: exit codes that a script can use, formats, and every refusal with its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SMALL = ("squeezenet1_1", "--input", "3x64x64", "--target", "cpu", "--no-ways")


def test_a_batch_fits(modelsum_cli) -> None:
    done = modelsum_cli("fit", *SMALL, "--memory", "200MiB")
    assert done.code == 0
    assert "The largest batch that fits is " in done.out
    assert done.err == ""
    assert max(map(len, done.out.splitlines())) <= 80


def test_none_fits(modelsum_cli) -> None:
    done = modelsum_cli("fit", *SMALL, "--memory", "1MiB")
    assert done.code == 1
    assert "parameters and buffers alone are more" in " ".join(done.out.split())


def test_the_exit_code_is_about_the_batch_that_was_asked_about(modelsum_cli) -> None:
    largest = json.loads(modelsum_cli("fit", *SMALL, "--memory", "200MiB", "--format", "json").out)["batch"]
    assert modelsum_cli("fit", *SMALL, "--memory", "200MiB", "--batch", str(largest)).code == 0
    done = modelsum_cli("fit", *SMALL, "--memory", "200MiB", "--batch", str(largest + 1))
    assert done.code == 1
    assert f"Batch {largest + 1} does not fit; the largest batch that fits is {largest}" in " ".join(
        done.out.split()
    )


def test_options_of_the_step_reach_the_prediction(modelsum_cli) -> None:
    def batch(*options: str) -> int:
        done = modelsum_cli("fit", *SMALL, "--memory", "200MiB", "--format", "json", *options)
        return int(json.loads(done.out)["batch"])

    plain = batch()
    assert batch("--optimizer", "sgd") > plain
    assert batch("--checkpoint", "features.*") > plain
    assert batch("--infer") > batch("--optimizer", "none")


def test_a_card(modelsum_cli) -> None:
    found = json.loads(
        modelsum_cli("fit", "squeezenet1_1", "--gpu", "t4", "--no-ways", "--format", "json").out
    )
    assert found["room"] == "T4"
    assert found["room_bytes"] == int(14.56 * 2**30)
    assert found["target"] == "cuda"
    assert found["below"]["bytes"] <= found["room_bytes"] < found["above"]["bytes"]


def test_ways_are_looked_for(modelsum_cli) -> None:
    done = modelsum_cli("fit", *SMALL[:-1], "--memory", "100MiB", "--format", "json")
    words = [way["words"] for way in json.loads(done.out)["ways"]]
    assert any("--checkpoint 'features.*'" in each for each in words)
    assert "--optimizer sgd" in words


def test_an_output_file(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "fit.md"
    done = modelsum_cli("fit", *SMALL, "--memory", "200MiB", "--format", "markdown", "--output", str(file))
    assert done.code == 0
    assert done.out == ""
    assert file.read_text().startswith("## squeezenet1_1 in 200MiB\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "neither memory nor gpu is given"),
        (("--memory", "24GiB", "--gpu", "t4"), "--memory and --gpu are both given"),
        (("--memory", "24"), "memory '24' has no unit"),
        (("--memory", "24 gb"), "Did you mean GB?"),
        (("--memory", "lots"), "'lots' is not an amount"),
        (("--memory", "0GiB"), "is nothing"),
        (("--gpu", "a100"), "A100 80GB"),
        (("--gpu", "rtx4091"), "Did you mean RTX 4090"),
        (("--gpu", "t4", "--target", "cpu"), "the target is the CPU"),
        (("--memory", "1GiB", "--no-batch"), "--no-batch: the batch of such an input cannot be changed"),
        (("--memory", "1GiB", "--inputs-from", "x.py:f"), "there is no file 'x.py'"),
        (("--memory", "1GiB", "--batch", "0"), "batch size 0"),
        (("--memory", "1GiB", "--optimizer", "adamx"), "optimizer 'adamx' is not known"),
        (("--memory", "1GiB", "--format", "torchinfo"), "torchinfo"),
    ],
)
def test_words_that_are_wrong(modelsum_cli, arguments: tuple[str, ...], said: str) -> None:
    done = modelsum_cli("fit", "squeezenet1_1", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_a_model_that_does_not_take_its_input(modelsum_cli) -> None:
    done = modelsum_cli("fit", "squeezenet1_1", "--input", "4x64x64", "--memory", "1GiB")
    assert done.code == 3
    assert "forward failed" in done.err


@pytest.mark.parametrize(
    ("model", "shape", "written"),
    [
        ("squeezenet1_1", "1x3x64x64", "Write --input 3x64x64."),
        ("squeezenet1_1", "8x3x64x64", "Write --batch 8 --input 3x64x64."),
        ("nets.py:Image", "1x3x8x8", "If it holds the batch already, write --input 3x8x8."),
    ],
)
def test_what_to_write_is_what_it_takes(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, shape: str, written: str
) -> None:
    """No --no-batch, which `show` takes too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nclass Image(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(8, 8)\n"
        "    def forward(self, x):\n        n, c, h, w = x.shape\n        return self.fc(x)\n"
    )
    done = modelsum_cli("fit", model, "--input", shape, "--memory", "1GiB")
    assert done.code == 3
    assert done.err.endswith(f"{written}\n")
    options = written[written.lower().index("write ") + len("write ") : -1].split()
    assert modelsum_cli("fit", model, *options, "--memory", "8GiB", "--no-ways").code == 0


def test_an_example_of_the_users_has_its_batch_changed(modelsum_cli, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "example.py").write_text("import torch\ndef make():\n    return torch.rand(3, 3, 224, 224)\n")
    monkeypatch.chdir(tmp_path)
    given = ("fit", "squeezenet1_1", "--memory", "4GiB", "--no-ways", "--format", "json")
    own = json.loads(modelsum_cli(*given, "--inputs-from", "example.py:make").out)
    assert own["batch"] == json.loads(modelsum_cli(*given).out)["batch"]
    done = modelsum_cli(*given, "--inputs-from", "example.py:make", "--batch", "2")
    assert json.loads(done.out)["fits"] is True
    assert "--inputs-from" in modelsum_cli("fit", "--help").out
