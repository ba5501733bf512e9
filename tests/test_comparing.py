"""`modelsum.compare` and `modelsum.diff`: the commands from Python, with the values that they render."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import modelsum
from modelsum.baselines.comparison import Comparison
from modelsum.errors import InputError, UnknownModelError, UsageError

NETS = """
from torch import nn

def build(width=4):
    return nn.Linear(3, width)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def figures(comparison: Comparison) -> dict[str, tuple[int | None, ...]]:
    return {figure.name: figure.values for figure in comparison.figures if figure.section == "totals"}


def test_modules_and_named_models_side_by_side() -> None:
    """Params 3*2 + 2 = 8 and 3*5 + 5 = 20; MACs 3*2 and 3*5 for each of 7 samples."""
    found = modelsum.compare(nn.Linear(3, 2), "nets.py:build,width=5", input_size=(3,), batch=7, memory=False)
    assert found.names == ("Linear", "nets.py:build,width=5")
    assert figures(found)["params"] == (8, 20)
    assert figures(found)["macs"] == (42, 105)


def test_a_models_own_arguments_and_input_win() -> None:
    found = modelsum.compare(
        "nets.py:build", "nets.py:build,width=2@7x3", model_args={"width": 9}, input_size=(3,), memory=False
    )
    assert figures(found)["params"] == (36, 8)
    assert figures(found)["macs"] == (27, 42)


def test_what_changed_from_a_summary_to_a_module() -> None:
    before = modelsum.summarize("nets.py:build", input_size=(3,), memory=False)
    changed = modelsum.diff(before, nn.Linear(3, 6), input_size=(3,), memory=False)
    assert changed.names == ("nets.py:build", "Linear")
    assert (changed.total("params").old, changed.total("params").new) == (16, 24)
    assert changed.changes[0].attributes == {"out_features": (4, 6)}


def test_a_report_file(here: Path, modelsum_cli) -> None:
    modelsum_cli("show", "nets.py:build", "--input", "3", "--format", "json", "--output", "old.json")
    changed = modelsum.diff("old.json", "nets.py:build", input_size=(3,))
    assert changed.is_empty


def test_they_print_as_the_commands_do(modelsum_cli) -> None:
    asked = {"input_size": (3,), "memory": False}
    given = ("--input", "3", "--no-memory")
    pair = ("nets.py:build", "nets.py:build,width=5")
    assert f"{modelsum.compare(*pair, **asked)}\n" == modelsum_cli("compare", *pair, *given).out
    assert f"{modelsum.diff(*pair, **asked)}\n" == modelsum_cli("diff", *pair, *given).out


def test_an_unknown_name_is_said_before_anything_is_built() -> None:
    with pytest.raises(UnknownModelError, match="resnet5O"):
        modelsum.compare(nn.Linear(3, 2), "resnet5O")  # which has no input, and could not run


def test_an_error_names_its_model() -> None:
    with pytest.raises(InputError) as raised:
        modelsum.diff("nets.py:build@3", "nets.py:build,width=5", memory=False)
    assert raised.value.message == "nets.py:build,width=5: Linear needs an input"


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (("resnet18",), {}, "fewer than two models"),
        (("resnet18", "vgg16"), {"btach": 2}, "unknown option 'btach'"),
        (("resnet18", 3), {}, "the model is "),
        (("resnet18", "none.json"), {}, "cannot read none.json"),
    ],
)
def test_words_that_are_wrong(models: tuple[object, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        modelsum.compare(*models, **options)  # type: ignore[arg-type]
