"""A model without an input still has its table: modules, what they hold, and a sentence about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import modelsum
from modelsum.errors import InputError, NoInputError

NETS = """
import torch
from torch import nn


def net():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.ReLU(), nn.Linear(8, 4)))
    model[0].weight.requires_grad_(False)
    return model


parts = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})


class Example(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 2)
        self.example_input_array = torch.zeros(7, 5)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))


def test_params_and_buffers_are_known_and_shapes_and_macs_are_not() -> None:
    summary = modelsum.summarize(net())
    assert not summary.called
    assert not summary.executed
    assert summary.totals.params == 3 * 8 * 9 + 8 + 16 + 36
    assert summary.totals.buffers == 17
    assert summary.totals.macs is summary.totals.flops is None
    assert summary.memory is None
    assert [(layer.path, layer.params, layer.own_buffers) for layer in summary.layers] == [
        ("", 276, 0),
        ("0", 224, 0),
        ("1", 16, 17),
        ("2", 36, 0),
    ]
    assert "Its forward is (input). Give the shape of one sample" in summary.notices[-1]
    assert "no input" in repr(summary)


@pytest.mark.parametrize("given", [(), (torch.zeros(2),)], ids=["no input", "an input"])
def test_containers_have_no_forward(given: tuple[Tensor, ...]) -> None:
    summary = modelsum.summarize(nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 2)]), *given)
    assert summary.totals.params == 12 + 8
    assert summary.notices[-1].startswith("ModuleList has no forward")


def test_text_has_no_columns_of_what_is_not_known(modelsum_cli, nets: None) -> None:
    done = modelsum_cli("show", "nets.py:net")
    assert done.code == 0
    assert ["Layer", "Params", "Trainable", "Buffers"] in [line.split() for line in done.out.splitlines()]
    assert "0 (Conv2d)" in done.out
    for unknown in ("MACs:", "Output shape", "Input size", "Batch:", "not executed", "did not finish"):
        assert unknown not in done.out
    assert "Notice: Sequential needs an input: its shapes, MACs and memory are not known." in done.out


def test_json_has_null_for_what_is_not_known(modelsum_cli, nets: None) -> None:
    summary = json.loads(modelsum_cli("show", "nets.py:parts", "--format", "json").out)
    assert summary["executed"] is False
    assert summary["totals"]["params"] == 24
    assert summary["totals"]["macs"] is summary["totals"]["flops"] is None
    assert summary["memory"] is None
    assert modelsum.Summary.from_dict(summary).to_dict() == summary


def test_markdown_and_csv_say_it_too(modelsum_cli, nets: None) -> None:
    markdown = modelsum_cli("show", "nets.py:net", "--format", "markdown").out
    assert "| Layer | Params | Trainable | Buffers |" in markdown
    assert "needs an input" in markdown
    csv = modelsum_cli("show", "nets.py:net", "--format", "csv").out
    assert "needs an input" in csv


@pytest.mark.parametrize(
    "words",
    [
        ["show", "nets.py:net", "--format", "torchsummary"],
        ["show", "nets.py:net", "--format", "torchinfo"],
        ["compare", "nets.py:net", "resnet18"],
        ["diff", "nets.py:net", "resnet18"],
        ["fit", "nets.py:net", "--memory", "1GiB"],
    ],
    ids=lambda words: " ".join([words[0], *words[2:]]),
)
def test_what_stands_on_a_call_asks_for_an_input(modelsum_cli, nets: None, words: list[str]) -> None:
    done = modelsum_cli(*words)
    assert done.code == 2
    assert "needs an input" in done.err
    assert "--input 3x224x224" in done.err


def test_an_answer_without_an_input_is_not_kept(modelsum_cli, nets: None, tmp_path: Path) -> None:
    assert "224" in modelsum_cli("show", "nets.py:net").out
    (tmp_path / "nets.py").write_text(NETS.replace("nn.Linear(8, 4)", "nn.Linear(8, 10)"))
    assert "90" in modelsum_cli("show", "nets.py:net").out


# ---- models that say what they take


def test_lightnings_example_is_used_with_its_own_batch(modelsum_cli, nets: None) -> None:
    summary = json.loads(modelsum_cli("show", "nets.py:Example", "--format", "json").out)
    assert summary["inputs"] == [{"name": None, "shape": [7, 5], "dtype": "float32"}]
    assert summary["totals"]["macs"] == 7 * 5 * 2
    assert summary["batch"] is None


@pytest.mark.parametrize(
    "example",
    [torch.zeros(7, 5), (torch.zeros(7, 5),), {"x": torch.zeros(7, 5)}],
    ids=["tensor", "tuple", "dict"],
)
def test_an_example_may_be_a_tensor_a_tuple_or_a_dict(example: object) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 2)
            self.example_input_array = example

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    assert modelsum.summarize(Net()).totals.macs == 70
    assert modelsum.summarize(Net(), torch.zeros(3, 5)).totals.macs == 30
    assert modelsum.summarize(Net(), input_size=(5,), batch=2).totals.macs == 20
    with pytest.raises(InputError, match=r"the batch of Net\.example_input_array is its own"):
        modelsum.summarize(Net(), batch=2)


def test_a_forward_that_takes_nothing_is_called_with_nothing() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 2)

        def forward(self) -> Tensor:
            return self.fc.weight @ self.fc.weight.T

    assert modelsum.summarize(Net()).totals.macs == 2 * 5 * 2


def test_a_model_of_transformers_knows_its_own_inputs() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        num_hidden_layers=1, hidden_size=32, num_attention_heads=2, vocab_size=50
    )
    summary = modelsum.summarize(transformers.BertModel(config), batch=3, sequence_length=16)
    assert [(i.name, i.shape) for i in summary.inputs] == [("input_ids", (3, 16))]
    assert summary.executed


def test_from_python_who_stands_on_a_call_has_an_error() -> None:
    with pytest.raises(NoInputError, match="needs an input"):
        modelsum.fit(net(), memory="1GiB")
