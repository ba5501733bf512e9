"""An error in the user's code names their file and line, whatever ran it; no message holds an address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import modelsum
from modelsum.errors import BuildError
from modelsum.raised import fault, told

NETS = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.fc = nn.Linear(8, width)

    def forward(self, x):
        return self.fc(x)

class Checks(nn.Module):
    def forward(self, x):
        assert x.shape[1] == 3
        return x

class Says(nn.Module):
    def forward(self, x):
        raise ValueError(f"not by {self.__class__}, {object()}\\nand more")

class Trains(nn.Linear):
    def train(self, mode=True):
        raise RuntimeError("not now")

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(3)

def broken():
    return nn.Linear(2, "two")

def example():
    raise KeyError("no data")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nets.py:Net", "--input", "5"), "the forward failed in fc (Linear): nets.py:10: RuntimeError: "),
        (
            ("nets.py:Checks", "--input", "5"),
            "failed in Checks itself: nets.py:14: AssertionError (assert x.shape[1] == 3)\n",
        ),
        (
            ("nets.py:Says", "--input", "5"),
            "nets.py:19: ValueError: not by <class 'nets.Says'>, <object object>\n",
        ),
        (("nets.py:broken",), "nets.py:broken could not be built: nets.py:30: TypeError: "),
        (
            ("nets.py:Net", "--inputs-from", "nets.py:example"),
            "nets.py:example failed: nets.py:33: KeyError: 'no data'\n",
        ),
        (
            ("nets.py:Trains", "--input", "5", "--arg", "in_features=5", "--arg", "out_features=1"),
            "nets.py:23: ",
        ),
        (
            ("nets.py:Leaves", "--input", "5"),
            "nets.py:27: the model's code ended the process (sys.exit(3))\n",
        ),
    ],
)
def test_the_line_of_the_users_file_that_failed(modelsum_cli, here: Path, arguments, words: str) -> None:
    done = modelsum_cli("show", *arguments)
    assert done.code == 3
    assert words in done.err.rpartition("modelsum: error: ")[2]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_thing", "bad.py:2: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from .missing import Block", "bad.py:2: ModuleNotFoundError: No module named '.missing'"),
        ("import nets; nets.nothing", "bad.py:2: AttributeError: module 'nets' has no attribute 'nothing'"),
        ("def f(:", "bad.py:2: SyntaxError: invalid syntax"),
        ("import wrong", "wrong.py:1: ZeroDivisionError: division by zero"),
        ("raise SystemExit('gone')", "bad.py:2: SystemExit: gone"),
    ],
)
def test_the_line_at_which_an_import_fails(modelsum_cli, here: Path, code: str, words: str) -> None:
    (here / "wrong.py").write_text("1 / 0\n")
    (here / "bad.py").write_text(f"\n{code}\n")
    done = modelsum_cli("show", "bad.py:Net")
    assert done.code == 3
    assert done.err == f"modelsum: error: importing bad.py failed: {words}\n"


def test_a_file_elsewhere_is_named_by_its_whole_path(modelsum_cli, here: Path, monkeypatch) -> None:
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    done = modelsum_cli("show", f"{here}/nets.py:broken")
    assert f"could not be built: {here}/nets.py:30: TypeError" in done.err


def test_the_whole_traceback_is_there_for_debug(modelsum_cli, here: Path) -> None:
    assert "Traceback" in modelsum_cli("show", "nets.py:broken", "--debug").err


def test_an_error_below_no_code_of_the_user_names_no_line(modelsum_cli) -> None:
    done = modelsum_cli("show", "resnet18", "--input", "1x64x64")
    assert "the forward failed in conv1 (Conv2d): RuntimeError: " in done.err


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_the_line_in_torchscript() -> None:
    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ x

    line = Squares.forward.__code__.co_firstlineno + 1
    with pytest.raises(modelsum.ForwardError, match=rf"{Path(__file__).name}:{line}: RuntimeError"):
        modelsum.summarize(torch.jit.script(Squares()), torch.zeros(1, 5))


def test_an_error_whose_text_fails_has_its_class() -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert told(Wordless()) == "Wordless"


def test_a_fault_is_modelsums_where_no_code_of_the_user_ran() -> None:
    def raised() -> Exception:
        try:
            eval("1 / 0")  # the frame of this file is the user's
        except ZeroDivisionError as error:
            return error

    line = raised.__code__.co_firstlineno + 2
    assert f"{Path(__file__).name}:{line}: ZeroDivisionError" in fault(raised()).message
    assert fault(ZeroDivisionError("odd")).message == "this is a fault of modelsum: ZeroDivisionError: odd"


# ---- addresses


def test_no_notice_holds_the_address_of_an_object(modelsum_cli, here: Path) -> None:
    """As of torch's own messages, which name what they were given."""
    (here / "picky.py").write_text(
        "import torch\n"
        "class Picky(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        if torch.is_grad_enabled():\n"
        "            raise NotImplementedError(f'no rule for {object()} of {iter([])}')\n"
        "        return super().forward(x)\n"
        "def make():\n"
        "    return Picky(4, 4)\n"
    )
    done = modelsum_cli("show", "picky.py:make", "--input", "4")
    said = "picky.py:5: NotImplementedError: no rule for <object object> of <list_iterator object>"
    assert f"the training step could not be predicted: {said}" in done.out
    assert " at 0x" not in done.out


def test_no_message_holds_the_address_of_an_object() -> None:
    error = BuildError(f"{object()} and {len}", f"{object()}")
    assert str(error) == "<object object> and <built-in function len>\n<object object>"
    with pytest.raises(modelsum.UsageError, match="num_classes=<object object>"):
        modelsum.summarize("resnet18", model_args={"num_classes": object()})


# ---- sources of other packages


SOURCE = """\
class Failing:
    name = "failing"
    def knows(self, spec):
        return spec.name.startswith("known") or 1 / 0
    def names(self):
        return []
    def load(self, spec, arguments, device):
        if spec.name == "known_none":
            return None
        raise LookupError("not today")
source = Failing()
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("failing/x", "the model source 'failing' (failing_source:source) failed: {}:4: ZeroDivisionError"),
        ("failing/known", "failing/known could not be built: {}:10: LookupError: not today"),
        ("failing/known_none", "the model source 'failing' returned None for 'failing/known_none'"),
    ],
)
def test_an_error_in_a_source_of_another_package(tmp_path: Path, name: str, words: str) -> None:
    """Installed as in development: its code is outside of site-packages."""
    (tmp_path / "failing_source.py").write_text(SOURCE)
    metadata = tmp_path / "failing_source-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-source\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[modelsum.sources]\nfailing = failing_source:source\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "modelsum", "show", name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=Path(modelsum.__file__).parents[1],
    )
    assert words.format(tmp_path / "failing_source.py") in done.stderr
    assert done.returncode in (2, 3)
