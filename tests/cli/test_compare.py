"""`modelsum compare`: models side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelsum.comparing import Named, parse_model
from modelsum.errors import UsageError
from modelsum.spec import InputSpec

NETS = """
from torch import nn

def build(width=4, opts=None):
    print("building")
    return nn.Sequential(nn.Linear(3, width), nn.ReLU())

def broken():
    raise ValueError("no such net")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_mobilenet_v2_and_squeezenet1_0_without_options(here, modelsum_cli):
    """Figures: tests/oracles have torchvision's params and MACs of both."""
    code, out, err = modelsum_cli("compare", "mobilenet_v2", "squeezenet1_0")
    assert (code, err) == (0, "")
    lines = {line[:20].strip(): line.split() for line in out.splitlines()}
    assert lines["Params"][1:] == ["3,504,872", "▲", "1,248,424", "x0.36", "▼"]
    assert lines["MACs"][1:] == ["300,774,272", "▼", "818,924,576", "x2.72", "▲"]
    assert "Training peak" in lines
    assert "Input: [1, 3, 224, 224] float32\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_each_model_with_its_own_arguments_and_input(here, modelsum_cli):
    """Params 3*4 + 4 = 16 and 3*8 + 8 = 32; MACs 12, and 24 for each of 5 rows."""
    code, out, err = modelsum_cli(
        "compare",
        "nets.py:build@3",
        "nets.py:build,width=8@5x3",
        "--format",
        "json",
        "--no-memory",
    )
    assert code == 0
    assert err.count("building") >= 2  # what a model prints is not part of the result
    value = json.loads(out)
    figures = {(f["section"], f["name"]): f["values"] for f in value["figures"]}
    assert figures["totals", "params"] == [16, 32]
    assert figures["totals", "macs"] == [12, 120]
    assert value["different_conditions"] == ["inputs"]
    assert value["models"][1]["case"]["arguments"] == {"width": 8}


def test_the_options_hold_for_all_and_a_models_own_win(here, modelsum_cli):
    _, out, _ = modelsum_cli(
        *("compare", "nets.py:build", "nets.py:build,width=2@7x3", "--input", "3", "--arg", "width=10"),
        *("--batch", "4", "--format", "json", "--no-memory"),
    )
    cases = [model["case"] for model in json.loads(out)["models"]]
    assert [case["arguments"] for case in cases] == [{"width": 10}, {"width": 2}]
    assert [case["inputs"][0]["shape"] for case in cases] == [[4, 3], [4, 7, 3]]


def test_a_report_is_a_column_too(here, modelsum_cli):
    assert (
        modelsum_cli("show", "nets.py:build", "--input", "3", "--format", "json", "--output", "a.json")[0]
        == 0
    )
    code, out, _ = modelsum_cli("compare", "a.json", "nets.py:build,width=8@3", "--format", "csv")
    assert code == 0
    assert "totals,params,16,32,1,2\n" in out


@pytest.mark.parametrize("broken", ["nets.py:broken", "nets.py:build@4"])
def test_one_broken_model_is_named_with_exit_code_3(here, modelsum_cli, broken: str):
    code, out, err = modelsum_cli("compare", "nets.py:build", broken, "--input", "3")
    assert (code, out) == (3, "")
    assert broken in err.rpartition("modelsum: error: ")[2]


def test_a_mistyped_name_is_found_before_anything_is_built(here, modelsum_cli):
    code, out, err = modelsum_cli("compare", "nets.py:build", "resnet5O", "--input", "3")
    assert (code, out) == (2, "")
    assert "building" not in err


def test_one_model_is_shown_and_not_compared(here, modelsum_cli):
    code, _, err = modelsum_cli("compare", "resnet50")
    assert code == 2
    assert "`modelsum show resnet50`" in err


@pytest.mark.parametrize("own", ["", ",width=8", "@5x3", ",width=8@5x3", ",opts={'a': [1, 2]},width=8@5x3"])
@pytest.mark.parametrize(
    "model", ["nets:build", "package.nets:build", "nets.py:build", "{here}/nets.py:build"]
)
def test_every_way_to_name_a_model_with_arguments_and_input(here, modelsum_cli, model: str, own: str):
    """Params 3w + w; MACs 3w for each of 1 or 5 rows."""
    (here / "package").mkdir()
    (here / "package" / "nets.py").write_text(NETS)
    operand = model.format(here=here) + own
    code, out, err = modelsum_cli(
        "compare", "nets.py:build", operand, "--input", "3", "--no-memory", "--format", "csv"
    )
    assert (code, "error" in err) == (0, False)
    width, rows = 8 if "width" in own else 4, 5 if "@" in own else 1
    assert f"totals,params,16,{4 * width}," in out
    assert f"totals,macs,12,{3 * width * rows}," in out


def test_providers_models_and_documented_ones_with_a_colon_in_their_arguments(here, modelsum_cli):
    pytest.importorskip("transformers")
    block = {"conv": "mbconv", "kernel": 3, "se_ratio": 0.25, "skip": "identity", "filters": 16, "layers": 1}
    code, _, _ = modelsum_cli(
        *("compare", f"mnasnet,blocks={[block]}@3x64x64"),
        *("transformers/gpt2:GPT2LMHeadModel,n_layer=1@input_ids=8:int64", "--no-memory"),
    )
    assert code == 0


# ---- what a model's own arguments and input look like


def parts(operand: Named) -> tuple[str, dict[str, object], tuple[InputSpec, ...]]:
    return operand.model.text, dict(operand.arguments), operand.inputs


@pytest.mark.parametrize(
    ("text", "name", "arguments", "inputs"),
    [
        ("resnet50", "resnet50", {}, ()),
        ("resnet50,num_classes=10", "resnet50", {"num_classes": 10}, ()),
        ("a.b:C,sizes=[1, 2],name='x,y'", "a.b:C", {"sizes": [1, 2], "name": "x,y"}, ()),
        ("vit@3x8x8", "vit", {}, (InputSpec(None, (3, 8, 8), None),)),
        (
            "bert@ids=16:int64@mask=16:bool",
            "bert",
            {},
            (InputSpec("ids", (16,), "int64"), InputSpec("mask", (16,), "bool")),
        ),
        ("n.py:f,a=1@3", "n.py:f", {"a": 1}, (InputSpec(None, (3,), None),)),
        ("timm/hf_hub:x@main/y", "timm/hf_hub:x@main/y", {}, ()),
        ("timm/hf_hub:x@main/y,a=1", "timm/hf_hub:x@main/y", {"a": 1}, ()),
        (
            "a.b:C,blocks=[{'k': 3, 's': 1}]@3",
            "a.b:C",
            {"blocks": [{"k": 3, "s": 1}]},
            (InputSpec(None, (3,), None),),
        ),
        ("net,mail='x@y, z'", "net", {"mail": "x@y, z"}, ()),
        ("o'brien/n.py:f,a=1", "o'brien/n.py:f", {"a": 1}, ()),
        ("C:\\nets\\n.py:f,a=1@3", "C:\\nets\\n.py:f", {"a": 1}, (InputSpec(None, (3,), None),)),
    ],
)
def test_an_operand_is_a_model_its_arguments_and_its_inputs(text, name, arguments, inputs):
    assert parts(parse_model(text)) == (name, arguments, inputs)


@pytest.mark.parametrize("text", ["", ",a=1", "resnet50,", "resnet50@", "resnet50@3x", "resnet50,a", "a@b@3"])
def test_what_cannot_be_an_operand(text: str):
    with pytest.raises(UsageError):
        parse_model(text)
