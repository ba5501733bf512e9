"""The user's files are imported under their own names, once, and each with its own neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(cli, model: str) -> dict:
    done = cli("show", model, "--input", "8", "--no-memory", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


NAMED = """\
import sys
from torch import nn
class Net(nn.Linear):
    def __init__(self):
        super().__init__(8, 2)
        assert sys.modules[__name__].Net is Net
        print("I am", __name__, type(self))
"""


@pytest.mark.parametrize("file", ["own_net.py", "own-net.py", "own.net.py"])
def test_a_file_has_its_own_name(modelsum_cli, here: Path, file: str) -> None:
    (here / file).write_text(NAMED)
    done = modelsum_cli("show", f"{file}:Net", "--input", "8", "--no-memory")
    name = file.removesuffix(".py")
    assert done.code == 0
    assert f"I am {name} <class '{name}.Net'>" in done.err


def test_a_file_with_the_name_of_a_module_in_use_has_its_folders_in_front(modelsum_cli, here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "json.py").write_text(NAMED)
    done = modelsum_cli("show", "mine/json.py:Net", "--input", "8", "--no-memory", "--format", "json")
    assert "I am mine_json <class 'mine_json.Net'>" in done.err
    assert json.loads(done.out)["totals"]["params"] == 8 * 2 + 2


def test_a_file_that_another_one_imports_is_the_same_module(modelsum_cli, here: Path) -> None:
    (here / "single.py").write_text(NAMED + "print('imported')\n")
    (here / "data.py").write_text(
        "import torch, single\nfrom single import Net\n"
        "def example():\n    return torch.zeros(1, Net().in_features)\n"
    )
    done = modelsum_cli("show", "single.py:Net", "--inputs-from", "data.py:example", "--no-memory")
    assert done.code == 0
    assert done.err.count("imported\n") == 1


def test_neighbours_that_import_each_other(modelsum_cli, here: Path) -> None:
    (here / "circle.py").write_text(
        "from torch import nn\nWIDTH = 3\nfrom .other import Other\nclass Net(Other): pass\n"
    )
    (here / "other.py").write_text(
        "from torch import nn\nfrom .circle import WIDTH\n"
        "class Other(nn.Linear):\n    def __init__(self): super().__init__(8, WIDTH)\n"
    )
    assert shown(modelsum_cli, "circle.py:Net")["totals"]["params"] == 8 * 3 + 3


@pytest.mark.parametrize("line", ["from parts import WIDTH", "from .parts import WIDTH"])
def test_two_versions_of_a_file_have_each_their_own_neighbours(modelsum_cli, here: Path, line: str) -> None:
    """Widths 3 and 5: 27 and 45 params."""
    for folder, width in (("old", 3), ("new", 5)):
        (here / folder).mkdir()
        (here / folder / "parts.py").write_text(f"WIDTH = {width}\n")
        (here / folder / "net.py").write_text(
            f"from torch import nn\n{line}\ndef build():\n    return nn.Linear(8, WIDTH)\n"
        )
    done = modelsum_cli(
        *("compare", "old/net.py:build", "new/net.py:build", "old/net.py:build"),
        *("--input", "8", "--no-memory", "--format", "csv"),
    )
    assert "totals,params,27,45,27," in done.out


@pytest.mark.parametrize(
    "call",
    [
        ("show", "bad.py:Net"),
        ("show", "bad.py:Net", "--device", "cpu"),
        ("measure", "bad.py:Net"),
        ("compare", "resnet20", "bad.py:Net"),
        ("fit", "bad.py:Net", "--memory", "1GiB"),
        ("check",),
    ],
    ids=" ".join,
)
def test_a_file_whose_import_fails_is_run_once(modelsum_cli, here: Path, call: tuple[str, ...]) -> None:
    (here / "bad.py").write_text("print('once')\n1 / 0\n")
    (here / "modelsum.toml").write_text('[[check]]\nname = "bad"\nmodel = "bad.py:Net"\ninput = "8"\n')
    done = modelsum_cli(*call)
    assert done.code == 3
    assert done.err.count("once\n") == 1
    assert "bad.py:2: ZeroDivisionError: division by zero" in " ".join((done.out + done.err).split())
