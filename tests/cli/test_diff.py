"""`modelsum diff`: models, report files and baselines at a revision, in any pair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import git
from hand_made_report import block, report, row

from modelsum.baselines.reports import files as report_files

OLD = report(row("stem", "Conv2d", params=27, macs=270, stride=[2, 2]), *block("a"))
NEW = report(row("stem", "Conv2d", params=27, macs=1080, stride=[1, 1]), *block("a"))

NETS = """
import sys
from torch import nn

def build(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU())

def broken():
    raise ValueError("no such net")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two reports and a model, where the user is."""
    monkeypatch.chdir(tmp_path)
    report_files.write(tmp_path / "old.json", OLD)
    report_files.write(tmp_path / "new.json", NEW)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.fixture
def repository(here: Path) -> Path:
    """A git repository whose first commit stored OLD as `net`, and whose second one NEW."""
    git(here, "init", "-b", "main")
    for stored in (OLD, NEW):
        report_files.write(here / "reports" / "net.json", stored)
        git(here, "add", "reports")
        git(here, "commit", "-m", "net")
    git(here, "tag", "v1", "HEAD~1")
    return here


def test_two_report_files(here, modelsum_cli):
    code, out, err = modelsum_cli("diff", "old.json", "new.json")
    assert (code, err) == (0, "")
    assert "~ stem (Conv2d)       0  +810\n    stride 2x2 -> 1x1\n" in out
    assert out.endswith("Biggest cause: stride 2x2 -> 1x1 of Conv2d (stem): +810 MACs, 100% of the change\n")


def test_two_report_files_do_not_import_torch(here):
    code = (
        "import sys; from modelsum.cli.main import run; "
        "code = run(['diff', 'old.json', 'new.json', '--format', 'csv']); "
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "0 False\n"


def test_a_model_beside_what_show_wrote_of_it(here, modelsum_cli):
    assert (
        modelsum_cli("show", "nets.py:build", "--input", "3", "--format", "json", "--output", "shown.json")[0]
        == 0
    )
    code, out, _ = modelsum_cli("diff", "shown.json", "nets.py:build", "--input", "3", "--arg", "width=5")
    assert code == 0
    assert "~ 0 (Linear)      +4    +3\n    out_features 4 -> 5\n" in out
    assert "argument width: not given -> 5\n" in out
    code, out, _ = modelsum_cli("diff", "shown.json", "nets.py:build", "--input", "3")
    assert out.endswith("No layer changed.\n")


def test_a_model_with_arguments_and_input_of_its_own(here, modelsum_cli):
    """Width 4 has 3*4 + 4 = 16 params, width 6 has 24; MACs are 2 * 12 for a batch of 2, and 5 * 18."""
    code, out, _ = modelsum_cli(
        "diff",
        "nets.py:build@2x3",
        "nets.py:build,width=6@5x3",
        "--no-batch",
        "--format",
        "json",
    )
    value = json.loads(out)
    assert code == 0
    assert value["totals"]["params"] == {"old": 16, "new": 24, "difference": 8}
    assert value["totals"]["macs"] == {"old": 24, "new": 90, "difference": 66}
    assert value["case_differences"]["input"] == {"old": "2x3:float32", "new": "5x3:float32"}
    assert value["new"]["name"] == "nets.py:build,width=6@5x3"


def test_baselines_at_git_revisions(repository, modelsum_cli):
    code, out, _ = modelsum_cli("diff", "HEAD~1:net", "main:net")
    assert code == 0
    assert out.startswith("HEAD~1:net -> main:net\n")
    assert "MACs" in out
    assert "+810" in out
    _, same, _ = modelsum_cli("diff", "v1:net", "old.json")
    assert same.endswith("No layer changed.\n")


def test_a_model_in_a_module_that_has_a_revisions_name(repository, modelsum_cli):
    """There is a branch `nets`, which has no baseline `build`."""
    git(repository, "branch", "nets")
    code, out, _ = modelsum_cli("diff", "nets:build@3", "nets:build,width=6@3", "--format", "json")
    assert code == 0
    assert json.loads(out)["totals"]["params"] == {"old": 16, "new": 24, "difference": 8}
    assert modelsum_cli("diff", "nets:net", "main:net")[0] == 0


def test_the_folder_of_baselines_is_that_of_the_configuration(repository, modelsum_cli):
    (repository / "modelsum.toml").write_text('reports = "elsewhere"\n')
    code, _, err = modelsum_cli("diff", "HEAD:net", "old.json")
    assert code == 2
    assert "revision 'HEAD' has no elsewhere/net.json" in err


@pytest.mark.parametrize(
    ("operand", "message", "hint"),
    [
        ("HEAD:nett", "revision 'HEAD' has no reports/nett.json", "Did you mean net?"),
        ("HEAD:net,width=3", "HEAD:net,width=3: a stored baseline takes no arguments", "Write HEAD:net."),
        ("HEAD:net@3", "HEAD:net@3: a stored baseline takes no arguments", "Write HEAD:net."),
        (
            "nosuch:net,width=3",
            "'nosuch' in 'nosuch:net,width=3' is neither a git revision nor a",
            "REF:NAME",
        ),
        ("HEAD~9:net", "'HEAD~9' in 'HEAD~9:net' is neither a git revision nor a module", "Write REF:NAME"),
        ("none.json", "cannot read none.json: No such file", "Check the path"),
        ("cut.json", "cut.json:9: it is cut off here", "Restore the file from git"),
        ("resnet5O", "unknown model 'resnet5O'", "or resnet50 or"),
        ("resnet50,stride_in_1x1", "resnet50,stride_in_1x1: --arg 'stride_in_1x1' is not KEY=VALUE", ""),
        ("resnet50,strid=1", "resnet50,strid=1: resnet50 has no option 'strid'", ""),
        ("resnet50@3x7xabc", "resnet50@3x7xabc: input '3x7xabc': '3x7xabc' is not a shape", ""),
        ("weights.safetensors", "there is no weights file 'weights.safetensors'", ""),
    ],
)
def test_the_users_words_are_wrong(repository, modelsum_cli, operand: str, message: str, hint: str):
    whole = (repository / "old.json").read_text()
    (repository / "cut.json").write_text("\n".join(whole.split("\n")[:9]))
    code, out, err = modelsum_cli("diff", operand, "new.json")
    assert (code, out) == (2, "")
    assert message in err
    assert hint in err
    assert "Traceback" not in err


def test_a_model_that_cannot_be_built_is_named(here, modelsum_cli):
    code, out, err = modelsum_cli("diff", "old.json", "nets.py:broken", "--input", "3")
    assert (code, out) == (3, "")
    assert "nets.py:broken" in err
    assert "no such net" in err


def test_a_forward_that_fails_is_no_report(here, modelsum_cli):
    code, out, err = modelsum_cli("diff", "nets.py:build", "nets.py:build@4", "--input", "3")
    assert (code, out) == (3, "")
    assert "nets.py:build@4: the forward failed in 0 (Linear)" in err


def test_the_result_goes_to_a_file(here, modelsum_cli):
    code, out, _ = modelsum_cli("diff", "old.json", "new.json", "--format", "markdown", "--output", "d.md")
    assert (code, out) == (0, "")
    assert (here / "d.md").read_text().startswith("## old.json → new.json\n")


def test_one_operand_is_not_enough(here, modelsum_cli):
    code, _, err = modelsum_cli("diff", "old.json")
    assert code == 2
    assert "Missing argument 'B'" in err
