"""Kept answers at the command line: the same to the byte, without torch, and gone with any change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelsum import spec
from modelsum.cache.key import key_of
from modelsum.memory import MemoryOptions
from modelsum.request import Request

PROBE = """
import sys
from modelsum.cli.main import run
code = run(sys.argv[1:])
print("torch" if "torch" in sys.modules else "kept", file=sys.stderr)
sys.exit(code)
"""
NET = """
import os, pathlib, sys
from torch import nn
from sizes import WIDTH
def build(depth=1):
    os.write(2, b"worked out\\n")  # which is not written again with a kept answer
    print("building", file=sys.stderr)
    extra = pathlib.Path(__file__).with_name("extra.txt")
    wide = int(extra.read_text()) if extra.exists() else 0
    return nn.Sequential(*(nn.Linear(WIDTH + wide, WIDTH + wide) for _ in range(depth)))
"""


WORKED_OUT = "worked out\n"


@dataclass(frozen=True)
class Asked:
    out: str
    said: str
    kept: bool
    code: int


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nets.py and sizes.py, where the command is called and may keep its answers."""
    (tmp_path / "nets.py").write_text(NET)
    (tmp_path / "sizes.py").write_text("WIDTH = 8\n")
    monkeypatch.delenv("MODELSUM_NO_CACHE")
    monkeypatch.setenv("MODELSUM_CACHE_DIR", str(tmp_path / "answers"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(folder: Path, modelsum_cli) -> Callable[..., Asked]:
    """Run a command line; its answer was kept if no model was built."""

    def asked(*arguments: str, **variables: str) -> Asked:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            done = modelsum_cli(*arguments)
        return Asked(done.out, done.err.replace(WORKED_OUT, ""), WORKED_OUT not in done.err, done.code)

    return asked


@pytest.fixture
def ask_anew(folder: Path) -> Callable[..., Asked]:
    """Run a command line in an interpreter of its own; its answer was kept if torch was not imported."""

    def asked(*arguments: str) -> Asked:
        done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True)
        *said, last = done.stderr.replace(WORKED_OUT, "").splitlines()
        return Asked(done.stdout, "\n".join(said), last == "kept", done.returncode)

    return asked


SHOW = ("show", "nets.py:build", "--input", "8")


def test_the_second_answer_is_the_same_to_the_byte_and_does_not_import_torch(ask_anew) -> None:
    first, second = ask_anew(*SHOW), ask_anew(*SHOW)
    assert (first.kept, second.kept) == (False, True)
    assert (second.out, second.said, second.code) == (first.out, first.said, 0)
    assert "building" in second.said
    assert "72" in second.out  # 8 * 8 + 8 params
    # Display options need no other answer, and what is kept is told without torch too.
    assert ask_anew(*SHOW, "--format", "json").kept
    assert ask_anew(*SHOW, "--depth", "0").kept
    assert ask_anew("cache", "info").kept


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "nets.py").write_text(NET + "\n# a comment\n"),
        lambda folder: (folder / "sizes.py").write_text("WIDTH = 9\n"),
        lambda folder: (folder / "extra.txt").write_text("1"),
    ],
    ids=["the file", "a module that it imports", "a file that was looked for"],
)
def test_any_change_of_what_the_model_is_made_from_is_a_miss(ask, tmp_path: Path, change) -> None:
    (tmp_path / "extra.txt").write_text("0")
    ask(*SHOW)
    assert ask(*SHOW).kept
    change(tmp_path)
    assert not ask(*SHOW).kept


@pytest.mark.parametrize(
    "other",
    [
        {"model": spec.parse_model("vgg16")},
        {"inputs": (spec.parse_input("3x64x64"),)},
        {"batch": 2},
        {"arguments": {"num_classes": 10}},
        {"mode": "train"},
        {"dtype": "bfloat16"},
        {"memory": None},
        {"memory": MemoryOptions(optimizer="sgd")},
        {"target": "cpu"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_question_has_anotherkey_of(other) -> None:
    question = Request(model=spec.parse_model("resnet50"), memory=MemoryOptions())
    assert key_of(question) == key_of(replace(question))
    assert key_of(question) != key_of(replace(question, **other))


def test_an_environment_that_the_users_code_may_read_counts_and_that_of_a_terminal_does_not(ask) -> None:
    ask(*SHOW)
    assert ask(*SHOW, COLUMNS="40", NO_COLOR="1").kept
    assert not ask(*SHOW, WIDTH="large").kept


def test_what_torch_and_its_libraries_read_counts_for_a_named_model(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Request(model=spec.parse_model("timm/vit_tiny_patch16_224"))
    before = key_of(question)
    monkeypatch.setenv("EDITOR", "ed")
    assert key_of(question) == before
    for name in ("TIMM_FUSED_ATTN", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "7")
        assert key_of(question) != before
        before = key_of(question)


def test_it_can_be_turned_off(ask, tmp_path: Path) -> None:
    assert not ask(*SHOW, "--no-cache").kept
    assert not ask(*SHOW, MODELSUM_NO_CACHE="1").kept
    assert not (tmp_path / "answers").exists()


def test_a_real_run_and_a_failure_are_never_kept(ask, tmp_path: Path) -> None:
    for question in ((*SHOW, "--device", "cpu"), ("show", "nets.py:build", "--input", "7")):
        codes = {ask(*question).code, ask(*question).code}
        assert codes == ({3} if question[-1] == "7" else {0})
    assert not (tmp_path / "answers").exists()


def test_a_model_that_asks_another_program_is_not_kept(ask, tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text(
        "import subprocess\nWIDTH = int(subprocess.check_output(['echo', '8']))\n"
    )
    assert not ask(*SHOW).kept
    assert not ask(*SHOW).kept


def test_damaged_answers_are_worked_out_again(ask, tmp_path: Path) -> None:
    first = ask(*SHOW)
    (entry,) = (tmp_path / "answers").iterdir()
    entry.write_bytes(entry.read_bytes()[:-7])
    second = ask(*SHOW)
    assert not second.kept
    assert second.out == first.out
    assert ask(*SHOW).kept


def test_info_and_clear(ask, tmp_path: Path) -> None:
    ask(*SHOW)
    info = ask("cache", "info")
    assert str(tmp_path / "answers") in info.out
    assert "Answers:  1 (" in info.out
    assert "Removed 1 answers" in ask("cache", "clear").out
    assert "Answers:  0 (0 B)" in ask("cache", "info").out


def test_an_example_of_the_users_is_kept_with_what_made_it(ask, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text("import torch\ndef make():\n    return torch.zeros(3, 8)\n")
    question = ("show", "nets.py:build", "--inputs-from", "example.py:make")
    ask(*question)
    assert ask(*question).kept
    (tmp_path / "example.py").write_text("import torch\ndef make():\n    return torch.zeros(5, 8)\n")
    changed = ask(*question)
    assert not changed.kept
    assert "[5, 8]" in changed.out
