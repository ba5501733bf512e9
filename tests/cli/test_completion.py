"""Completion: what the command answers to each shell, and what three real shells make of it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git
from every_day import slow_unless

NETS = """
import torch
from torch import nn
from other import Elsewhere

WIDTH: int = 3
_hidden = 1

class Net(nn.Linear): ...
class Narrow(Net): ...
def make(): raise RuntimeError("nobody shall run this")
raise RuntimeError("nor import it")
"""
CHECKS = """
[[tool.modelsum.check]]
name = "lenet"
model = "nets.py:Net"

[[tool.modelsum.check]]
name = "resnet50"
model = "resnet50"

[[tool.modelsum.check]]
name = "broken"
"""

Complete = Callable[..., list[str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "pyproject.toml").write_text(CHECKS)
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "w.safetensors").write_text("")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import Inner\n")
    (package / "inner.py").write_text("class Inner: ...\n")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


@pytest.fixture
def complete(here: Path, modelsum_cli, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What is offered for the last of some words, as zsh asks for it."""

    def words(*line: str) -> list[str]:
        monkeypatch.setenv("_MODELSUM_COMPLETE", "zsh_complete")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["modelsum", *line]))
        monkeypatch.setenv("COMP_CWORD", str(len(line)))
        done = modelsum_cli()
        assert (done.code, done.err) == (0, "")
        lines = done.out.strip().splitlines()  # a blank line where there is nothing to offer
        offered = zip(lines[::3], lines[1::3], strict=True)
        return [value if kind == "plain" else f"{kind}:{value}" for kind, value in offered]

    return words


# ---- models


def test_documented_names(complete) -> None:
    assert complete("show", "vgg16") == ["vgg16", "vgg16_bn"]
    assert "mobilenet_v2" in complete("fit", "m")


def test_nothing_typed_yet(complete) -> None:
    """Documented names, providers, files, and for show the checks; other files where they are models."""
    offered = complete("show", "")
    assert {"resnet50", "lenet", "nets.py:", "package/", "w.safetensors"} <= set(offered)
    assert not {"old.json", ".hidden/", "timm/vit_base_patch16_224"} & set(offered)
    assert "old.json" in complete("diff", "")
    assert "lenet" not in complete("fit", "")


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ("timm/vit_base_p", "timm/vit_base_patch16_224"),
        ("torchvision/vit", "torchvision/vit_b_16"),
        ("transformers/ber", "transformers/bert"),
    ],
)
def test_names_of_providers(complete, start: str, name: str) -> None:
    pytest.importorskip(start.partition("/")[0])
    offered = complete("compare", "resnet50", start)
    assert name in offered
    assert all(word.startswith(start) for word in offered)


def test_a_provider_that_is_the_only_one_goes_on_at_once(complete) -> None:
    """A shell would put a space behind a single word."""
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    assert "torchvision/vit_b_16" in complete("show", "torc")
    assert {"timm/", "torchvision/"} <= set(complete("show", "t"))


def test_bare_names_of_providers_where_nothing_is_documented(complete) -> None:
    pytest.importorskip("torchvision")
    assert "vit_b_16" in complete("show", "vit_b")
    assert complete("show", "vgg11_b") == ["vgg11_bn"]


def test_what_is_in_a_file_is_read_and_not_run(complete) -> None:
    assert complete("show", "net") == ["nets.py:WIDTH", "nets.py:Net", "nets.py:Narrow", "nets.py:make"]
    assert complete("measure", "nets.py:N") == ["nets.py:Net", "nets.py:Narrow"]
    assert complete("show", "resnet50", "--inputs-from", "nets.py:m") == ["nets.py:make"]


def test_modules_and_packages(complete) -> None:
    assert complete("show", "package.inner:") == ["package.inner:Inner"]
    assert complete("show", "package:I") == ["package:Inner"]
    assert complete("show", "package/") == ["package/inner.py:Inner"]
    assert complete("show", "nowhere:I") == complete("show", "no/where") == []


def test_git_refs(complete, here) -> None:
    assert complete("check", "--against", "") == []
    git(here, "init", "-q", "-b", "trunk")
    git(here, "commit", "-q", "--allow-empty", "-m", "x")
    git(here, "tag", "v1")
    git(here, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert complete("check", "--against", "") == ["trunk", "origin/main", "v1"]
    assert complete("check", "--against", "or") == ["origin/main"]


def test_checks(complete, here) -> None:
    assert complete("show", "len") == ["lenet"]
    assert complete("show", "check:") == ["check:lenet", "check:resnet50", "check:broken"]
    assert complete("check", "") == ["lenet", "resnet50", "broken"]
    assert complete("check", "lenet", "") == ["resnet50", "broken"]
    (here / "pyproject.toml").write_text("[tool.modelsum")
    assert complete("check", "") == []


def test_patterns_of_list(complete) -> None:
    assert complete("list", "plain") == ["plainnet20", "plainnet56"]


# ---- options and their words


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("show m --optimizer adam", ["adam", "adamw", "adamax"]),
        ("show m --loss ", ["sum", "cross-entropy", "chunked-cross-entropy", "fused-cross-entropy"]),
        ("show m --amp ", ["bf16", "fp16"]),
        ("show m --amp bfl", ["bfloat16"]),
        ("show m --dtype b", ["bfloat16"]),
        ("show m --dtype bf1", ["bf16"]),
        ("show m --target ", ["cpu", "cuda"]),
        ("show m --device ", ["auto", "meta", "cpu", "cuda"]),
        ("measure m --device ", ["cpu", "cuda"]),
        ("show m --attention f", ["flash"]),
        ("show m --format torch", ["torchsummary", "torchinfo"]),
        ("show m --format=j", ["json"]),
        ("list --format ", ["text", "json", "csv", "markdown"]),
        ("fit m --gpu rtx-30", ["RTX-3080", "RTX-3060", "RTX-3090-Ti", "RTX-3090"]),
        ("fit m --gpu 4090", ["RTX-4090"]),
        ("fit m --gpu a100", ["A100-40GB", "A100-80GB"]),
        ("check -o jun", ["junit="]),
        ("check --output junit=co", ["file:co"]),
        ("show m -o x", ["file:x"]),
        ("show m --opti", ["--optimizer"]),
        ("chec", ["check"]),
        ("cache ", ["clear", "info"]),
    ],
)
def test_words_of_options(complete, line: str, offered: list[str]) -> None:
    assert complete(*line.split(" ")) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("show squeezenet1_1 --arg ", ["version=", "num_classes=", "dropout=", "bypass="]),
        ("show mobilenet_v2 --arg w", ["width_mult="]),
        ("fit documented/mobilenet-V2 --batch 8 --arg w", ["width_mult="]),
        ("show mobilenet_v2 --arg width_mult=0.5 --arg w", []),
        ("show mobilenet_v2 --arg width_mult=", ["width_mult="]),
        ("show mobilenet_v2 --arg width_mult=0", []),
        ("show nets.py:Net --arg ", []),
        ("show torchvision/squeezenet1_1 --arg ", []),
        ("show --arg ", []),
    ],
)
def test_arguments_of_documented_models(complete, line: str, offered: list[str]) -> None:
    assert complete(*line.split(" ")) == offered


def test_an_offered_card_is_one(complete, modelsum_cli, monkeypatch) -> None:
    cards = complete("fit", "m", "--gpu", "")
    monkeypatch.delenv("_MODELSUM_COMPLETE")
    assert len(cards) > 20
    for card in (cards[0], cards[-1], "RTX-5060-Ti-16GB", "Quadro-RTX-8000"):
        assert card in cards
        done = modelsum_cli("fit", "no_such_model", "--gpu", card)
        assert "unknown model" in done.err


# ---- bash, which takes words apart


@pytest.mark.parametrize(
    ("pieces", "offered"),
    [
        (["show", "nets.py", ":"], ["WIDTH", "Net", "Narrow", "make"]),
        (["show", "nets.py", ":", "N"], ["Net", "Narrow"]),
        (["show", "nets"], ["nets.py:WIDTH", "nets.py:Net", "nets.py:Narrow", "nets.py:make"]),
        (["show", "check", ":", "le"], ["lenet"]),
        (["show", "m", "--format", "=", "js"], ["json"]),
        (["show", "nets.py", ":", "Net", "--optimizer", "=", "adaf"], ["adafactor"]),
        (["compare", "resnet50", "@", "3x64x64", "vgg11_b"], ["vgg11_bn"]),
        (["check", "-o", "junit", "=", "x.xml", "len"], ["lenet"]),
    ],
    ids=" ".join,
)
def test_bash_is_offered_what_stands_behind_its_own_breaks(
    here, modelsum_cli, monkeypatch, pieces: list[str], offered: list[str]
) -> None:
    monkeypatch.setenv("_MODELSUM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["modelsum", *pieces]))
    monkeypatch.setenv("COMP_CWORD", str(len(pieces)))
    assert modelsum_cli().out.split() == [f"plain,{word}" for word in offered]


def test_a_space_behind_a_break_ends_the_word(here, modelsum_cli, monkeypatch) -> None:
    monkeypatch.setenv("_MODELSUM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "modelsum\ncompare\nnets.py\n:\nNet\n")
    monkeypatch.setenv("COMP_CWORD", "5")
    assert "plain,vgg16" in modelsum_cli().out.splitlines()


# ---- real shells

SHELLS = {
    "bash": ("--norc --noprofile -i", 'eval "$(_MODELSUM_COMPLETE=bash_source modelsum)"'),
    "zsh": ("-f -i", 'autoload -U compinit; compinit -u; eval "$(_MODELSUM_COMPLETE=zsh_source modelsum)"'),
    "fish": ("--no-config -i", "_MODELSUM_COMPLETE=fish_source modelsum | source"),
}
NEW_LINE = "\025"  # Ctrl-U: what was typed is gone


class Shell:
    """An interactive shell that has sourced the command's script, on a terminal of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        executable = shutil.which(name)
        if executable is None:
            pytest.skip(f"there is no {name} here")
        options, setup = SHELLS[name]
        command = folder / "bin" / "modelsum"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modelsum "$@"\n')
        command.chmod(0o755)
        environment = {
            "PATH": f"{command.parent}:/usr/bin:/bin",
            "HOME": str(command.parent),
            "TERM": "xterm",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execve(executable, [name, *options.split()], environment)
        self.after("", "")
        self.after(f"{setup}; echo rea''dy\n", "ready")

    def after(self, typed: str, expected: str) -> str:
        """What the terminal shows once something was typed, up to what is expected, or for a minute."""
        os.write(self._terminal, typed.encode())
        shown = b""
        deadline = time.monotonic() + (60 if expected else 2)
        while time.monotonic() < deadline and not (expected and expected.encode() in shown):
            if select.select([self._terminal], [], [], 0.1)[0]:
                shown += os.read(self._terminal, 1 << 16)
                if b"\033[c" in shown:  # fish waits for an answer to what kind of terminal this is
                    os.write(self._terminal, b"\033[?62c")
                    shown = shown.replace(b"\033[c", b"")
        return shown.decode(errors="replace")

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a terminal of its own")
@pytest.mark.parametrize("name", slow_unless(SHELLS, lambda name: name == "bash"))
def test_a_real_shell_completes(name: str, here: Path) -> None:
    shell = Shell(name, here)
    try:
        for typed, whole in [
            ("modelsum sho", "show"),
            (" plainnet2", "plainnet20"),
            (" --opti", "--optimizer"),
            (" adaf", "adafactor"),
            (f"{NEW_LINE}modelsum show nets.py:Na", "nets.py:Narrow"),
            (f"{NEW_LINE}modelsum check --output jun", "junit="),
        ]:
            assert whole in shell.after(f"{typed}\t", whole)
    finally:
        shell.close()
