"""What all commands have: help in groups, options that are given once, and the nearest of a mistyped word."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelsum.version import __version__

COMMANDS = ("show", "compare", "diff", "fit", "measure", "check", "list")


def said(text: str) -> str:
    return " ".join(text.split())


# ---- help


def groups_of(text: str) -> dict[str, list[str]]:
    """The options under each heading, by their last name."""
    groups: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line[:-1]
        elif line.startswith("  -"):
            names = [word.strip(",") for word in line.split() if word.startswith("-")]
            groups.setdefault(heading, []).append(names[-1])
    return groups


def test_the_options_of_show_stand_in_groups(modelsum_cli) -> None:
    groups = groups_of(modelsum_cli("show", "--help").out)
    of_models = ["Input", "Run", "Training step", "Memory", "Many GPUs", "Text"]
    assert list(groups) == [*of_models, "Output", "Other"]
    assert groups["Input"][0] == "--input"
    assert groups["Run"] == ["--eval", "--device", "--no-cache"]
    assert groups["Training step"][:2] == ["--optimizer", "--foreach"]
    assert {"--target", "--no-memory"} < set(groups["Memory"])
    assert groups["Output"] == ["--depth", "--all", "--top", "--sort", "--format", "--output"]
    assert groups["Other"] == ["--no-defaults", "--debug", "--help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help_in_groups_in_80_columns(modelsum_cli, name: str) -> None:
    done = modelsum_cli(name, "-h")
    assert (done.code, done.err) == (0, "")
    groups = groups_of(done.out)
    assert list(groups)[-2:] == ["Output", "Other"] or name == "check"
    assert "Options" not in groups
    assert all(len(line) <= 80 for line in done.out.splitlines() if line.startswith(("  -", " " * 30)))


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(modelsum_cli, option: str) -> None:
    assert modelsum_cli(option).out.strip() == f"modelsum, version {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "squeezenet1_1", "--input", "3x32x32"),
        ("list", "vgg16"),
        ("compare", "squeezenet1_0@3x32x32", "squeezenet1_1@3x32x32", "--no-memory"),
        ("fit", "squeezenet1_1", "--memory", "8GiB", "--no-ways", "--infer"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_o_is_output(modelsum_cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert modelsum_cli(*arguments, "-o", str(short)).code == 0
    assert modelsum_cli(*arguments, "--output", str(long)).code == 0
    assert short.read_text() == long.read_text() != ""


# ---- given once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show m --foreach --fused", "--foreach and --fused are both given"),
        ("show m --for-loop --foreach", "--for-loop and --foreach are both given"),
        ("show m --train --eval", "--train and --eval are both given"),
        ("show m --eval --eval", "--eval is given twice"),
        ("show m --optimizer sgd --optimizer adam", "--optimizer is given twice"),
        ("show m --optimizer=sgd --optimizer sgd", "--optimizer is given twice"),
        ("show m --batch 2 --batch 2 --batch 2", "--batch is given twice"),
        ("show m --no-batch --batch 2", "--no-batch and --batch are both given"),
        ("show m --batch 2 --no-batch", "--batch and --no-batch are both given"),
        ("show m -o a --output b", "-o and --output are both given"),
        ("show m -oa -ob", "--output is given twice"),
        ("show resnet50 --arg n=1 --arg n=2", "argument 'n' is given twice"),
        ("show resnet50 --input x=3 --input x=4", "input 'x' is given twice"),
        ("show m --inputs-from a.py:f --input 3", "--inputs-from and --input are both given"),
        ("show m --seq-len 3 --inputs-from a.py:f", "--seq-len and --inputs-from are both given"),
        ("show m --input 3 --seq-len 3", "--input and --seq-len are both given"),
        ("show m --no-memory --optimizer sgd", "--no-memory and --optimizer are both given"),
        ("show m --target cpu --no-memory", "--target and --no-memory are both given"),
        ("compare a b --fused --no-memory", "--fused and --no-memory are both given"),
        ("compare resnet50,n=1,n=2 resnet50", "argument 'n' is given twice"),
        ("diff resnet50@x=3@x=4 resnet50", "input 'x' is given twice"),
        ("diff a b --depth 1 --depth 2", "--depth is given twice"),
        ("fit m --memory 1GiB --gpu t4", "--memory and --gpu are both given"),
        ("fit m --gpu t4 --train --infer", "--train and --infer are both given"),
        ("fit m --gpu t4 --infer --optimizer adam", "--infer and --optimizer are both given"),
        ("fit m --gpu t4 --fused --infer", "--fused and --infer are both given"),
        ("fit m --gpu t4 --infer --freeze stem", "--infer and --freeze are both given"),
        ("measure m --min-time 1 --no-latency", "--min-time and --no-latency are both given"),
        ("check --update --against main", "--update and --against are both given"),
        ("check --new-only --update", "--new-only and --update are both given"),
        ("check --strict --no-strict", "--strict and --no-strict are both given"),
        ("check --list --format json", "--list and --format are both given"),
        ("check -o junit=x.xml -o markdown=x.xml", "'junit=x.xml': another result goes to the same file"),
        ("list --format json --format csv", "--format is given twice"),
    ],
    ids=str,
)
def test_what_is_said_twice_or_contradicts_itself_is_refused(
    modelsum_cli, tmp_path, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = modelsum_cli(*arguments.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("modelsum: error: ")
    assert message in done.err


def test_the_reason_is_told(modelsum_cli) -> None:
    done = modelsum_cli("show", "m", "--inputs-from", "a.py:f", "--batch", "2")
    assert done.err.splitlines()[1] == "--inputs-from gives the whole call. Give one of them."


def test_help_helps_with_options_that_contradict_each_other(modelsum_cli) -> None:
    done = modelsum_cli("show", "--foreach", "--fused", "-h")
    assert (done.code, "--fused" in done.out) == (0, True)


def test_repeatable_options_are_repeatable(modelsum_cli) -> None:
    """The first convolution has 3*64*9 + 64 params; Fire 64*16 + 16, 16*64 + 64 and 16*64*9 + 64."""
    arguments = (
        "--freeze",
        "features.0",
        "--freeze",
        "features.3",
        "--checkpoint",
        "x*",
        "--checkpoint",
        "y*",
    )
    done = modelsum_cli("show", "squeezenet1_1", *arguments, "--input", "3x32x32", "--format", "csv")
    assert "is given twice" not in done.err


# ---- the nearest words


@pytest.mark.parametrize(
    ("arguments", "message", "nearest"),
    [
        ("show m --format jsn", "format 'jsn' is not known", "json"),
        ("show m --format torchsumary", "format 'torchsumary' is not known", "torchsummary"),
        ("show resnet50 --optimizer adamww", "optimizer 'adamww' is not known", "adamw"),
        ("show resnet50 --loss crossentropy", "loss 'crossentropy' is not known", "cross-entropy"),
        ("show resnet50 --amp bf61", "amp 'bf61' is not known", "bf16"),
        ("show resnet50 --attention flsh", "attention 'flsh' is not known", "flash"),
        ("show m --dtype flot16", "unknown dtype 'flot16'", "float16"),
        ("show m --target cda", "target 'cda' is not known", "cuda"),
        ("show m --device cudda", "unknown device 'cudda'", "cuda"),
        ("compare a b --format markdwon", "format 'markdwon' is not known", "markdown"),
        ("fit m --gpu rtx4091", "gpu 'rtx4091' is not in the table", "RTX 4090"),
        ("check --format jnuit", "format 'jnuit' is not known", "junit"),
        ("check -o markdwon=x", "unknown format 'markdwon'", "markdown"),
        ("list --format cvs", "format 'cvs' is not known", "csv"),
        ("lsit", "no command 'lsit'", "list"),
    ],
    ids=str,
)
def test_a_mistyped_word_is_answered_with_the_nearest(
    modelsum_cli, arguments: str, message: str, nearest: str
) -> None:
    done = modelsum_cli(*arguments.split())
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert f"Did you mean {nearest}" in done.err


def test_all_words_are_told(modelsum_cli) -> None:
    done = modelsum_cli("show", "m", "--format", "x")
    assert (
        "Valid are text, torchsummary, json, csv, markdown, html, trace, speedscope, torchinfo." in done.err
    )


# ---- words that are taken


def test_half_precision_by_any_name(modelsum_cli) -> None:
    options = ("--input", "3x32x32", "--format", "json", "--target", "cpu")
    answers = {
        modelsum_cli("show", "squeezenet1_1", *options, "--dtype", dtype, "--amp", amp).out
        for dtype, amp in (("float32", "bf16"), ("fp32", "bfloat16"), ("float", "BF16"))
    }
    assert len(answers) == 1
    assert '"dtype": "float32"' in answers.pop()


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        ("2G", "Notice: 2G is taken as 2 GB = 1.86 GiB; for powers of 1024 write 2GiB"),
        ("2 g", None),
        ("2GB", None),
        ("2GiB", None),
    ],
)
def test_memory_says_how_a_bare_prefix_is_taken(modelsum_cli, memory: str, line: str | None) -> None:
    done = modelsum_cli("fit", "squeezenet1_1", "--memory", memory, "--no-ways", "--target", "cpu")
    assert ("is taken as" in done.out) == (line is not None)
    assert line is None or line in said(done.out)
    if memory == "2 g":
        assert (done.code, "Did you mean G?" in done.err) == (2, True)
