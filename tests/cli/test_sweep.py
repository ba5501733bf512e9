"""`modelsum sweep`: grids on the command line and in a file, the rows, and what is shown of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

# The exact figures are those of tests/oracles/papers-recount.csv.
TABLE = """\
model         input      args.width_mult     Params         MACs
mobilenet_v1  3x224x224  0.25               470,072   41,030,272
mobilenet_v1  3x224x224  0.5              1,331,592  149,497,088
mobilenet_v1  3x128x128  0.25               470,072   13,570,048

Points: 3
memory: false
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


GRID = ("--model", "mobilenet_v1", "--input", "3x224x224,3x128x128", "--arg", "width_mult=0.25,0.5")
CALL = ("sweep", *GRID, "--memory", "false", "--exclude", "input=3x128x128,args.width_mult=0.5")


def test_a_grid_of_the_command_line_is_a_table(modelsum_cli) -> None:
    assert modelsum_cli(*CALL).out == TABLE


def test_a_grid_goes_to_a_file_and_is_read_again(modelsum_cli, here: Path) -> None:
    done = modelsum_cli(*CALL, "--output", "rows.csv")
    assert (done.code, done.out, done.err) == (0, "", "modelsum: 3 points in rows.csv: 3 ok\n")
    written = (here / "rows.csv").read_text()
    assert written.startswith("model,input,memory,args.width_mult,params,trainable_params,param_bytes,")

    again = modelsum_cli(*CALL, "--output", "rows.csv", "--sort", "-macs", "--format", "csv")
    assert (again.code, (here / "rows.csv").read_text()) == (0, written)
    assert sorted(again.out.splitlines()) == sorted(written.splitlines())

    shown = json.loads(modelsum_cli("sweep", "rows.csv", "--where", "params < 1 M", "--format", "json").out)
    assert (shown["kind"], shown["where"], shown["rows_left_out"]) == ("sweep", ["params < 1,000,000"], 1)
    assert sorted((row["input"], row["macs"]) for row in shown["rows"]) == [
        ("3x128x128", 13_570_048),
        ("3x224x224", 41_030_272),
    ]

    assert modelsum_cli("sweep", "rows.csv", "--pareto", "macs", "--format", "markdown").out == (
        "| model | Params | MACs |\n| :--- | ---: | ---: |\n| mobilenet_v1 | 470,072 | 13,570,048 |\n\n"
        "- Points: 1 of 3\n- Front of: macs\n- input: 3x128x128\n- memory: false\n- args.width_mult: 0.25\n"
    )


def test_what_is_shown_of_rows_goes_to_a_file(modelsum_cli, here: Path) -> None:
    modelsum_cli(*CALL, "--output", "rows.csv")
    rows = (here / "rows.csv").read_text()
    done = modelsum_cli("sweep", "rows.csv", "--pareto", "macs", "--format", "html", "-o", "page.html")
    assert (done.code, done.out) == (0, ""), done.err
    assert "<!doctype html>" in (here / "page.html").read_text().lower()
    refused = modelsum_cli("sweep", "rows.csv", "--format", "html", "-o", "rows.csv")
    assert refused.code == 2
    assert (here / "rows.csv").read_text() == rows


def test_failures_are_rows_with_their_reasons(modelsum_cli, here: Path) -> None:
    (here / "grid.toml").write_text(
        '[[grid]]\nmodel = "mobilenet_v1"\ninput = "3x32x32"\nmemory = false\n'
        'args.width_mult = [0.25, "wide"]\n'
        '[[grid]]\nmodel = "mobilenet_v1"\noptimizer = "lion"\nimplementation = ["fused", "foreach"]\n'
    )
    done = modelsum_cli("sweep", "grid.toml", "--sort", "args.width_mult", "--jobs", "1")
    assert done.code == 0, done.err
    assert [line.split()[-1] for line in done.out.splitlines()[1:5]] == ["ok", "error", "error", "ok"]
    assert "lion has no fused implementation" in done.out
    assert modelsum_cli("sweep", "--model", "mobilenet_v1", "--arg", "width_mult='wide'").code == 3


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "there is no grid", "Name a file, or axes"),
        (("grid.toml",), "cannot read 'grid.toml'", ""),
        (("--model", "resnet81"), "unknown model 'resnet81'", "resnet18"),
        (("--model", "vgg16", "--batch", "1,0"), "batch: 0 is not a positive whole number", "1 or more"),
        (("--model", "vgg16", "--amp", "bf17"), "amp 'bf17' is not known", "bf16"),
        (("--model", "vgg16", "--exclude", "bacth=1"), "bacth: there is no such axis", "Axes are model"),
        (("--model", "vgg16", "--shard", "3"), "--shard '3' is not I/N", "3/8"),
        (("--model", "vgg16", "--pareto", "mac"), "there is no figure 'mac'", "macs"),
        (("--model", "vgg16", "--where", "macs"), "'macs' is no condition", "params < 5 M"),
        (("--model", "vgg16", "-o", "rows.xls"), "'.xls' is no file of rows", ".csv"),
        (("--model", "vgg16", "-o", "no/rows.csv"), "there is no directory 'no'", "Make it first"),
        (("--model", "vgg16", "--search", "3"), "nothing to search for", "pareto"),
        pytest.param(
            *(("--model", "vgg16", "--dask", "tcp://127.0.0.1:9"), "there is no Dask scheduler at", ""),
            marks=pytest.mark.slow,  # ten seconds are waited for one
        ),
        (("grid.toml", "--model", "vgg16"), "axes are given, and a file of them", "GRID.toml"),
        (("--merge", "-o", "all.csv"), "no files are given to merge", ""),
        (("rows.csv",), "'rows.csv' is no file of rows that can be read: No such file", ""),
    ],
)
def test_wrong_words_are_told_before_anything_is_done(
    modelsum_cli, here: Path, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    done = modelsum_cli("sweep", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint in done.err
    assert list(here.iterdir()) == []


def test_a_shell_completes_the_last_of_several_values(modelsum_cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, offered in [
        ("--model resnet18,resnet10", "resnet18,resnet101"),
        ("--dtype float32,bf", "float32,bfloat16"),
        ("--weight", "--weight-decay"),
    ]:
        words = ["modelsum", "sweep", *typed.split()]
        monkeypatch.setenv("_MODELSUM_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert offered in modelsum_cli().out
