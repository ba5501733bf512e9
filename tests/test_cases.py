"""Thirty small models that break other tools: every field of EXPECTED, on each device, in both modes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from every_day import every_nth

import modelsum

CASES = sorted((Path(__file__).parent / "cases").glob("[0-9]*.py"))
ON_META_ONLY = {"33_meta_device_model"}
# The case speaks of eval mode: in train mode the auxiliary head runs too, 2 * (240 + 60) MACs more.
TRAIN_DIFFERS = {
    "30_branch_not_executed": {"macs": 960, "calls": 6, "out": ([2, 3], [2, 3])},
    # Names without _orig_mod: the compiled wrapper is no module of the model.
    "32_compiled_model": {"modules": 4},
}
EVAL_DIFFERS = {"32_compiled_model": {"modules": 4}}


def load(file: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"case_{file.stem}", file)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.loader.exec_module(module)
    return module


def as_lists(tree: Any) -> Any:
    """Shapes as JSON has them."""
    return json.loads(json.dumps(tree))


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    totals, layers = summary["totals"], summary["layers"]
    return {
        "total_params": totals["params"],
        "trainable_params": totals["trainable_params"],
        "param_bytes": totals["param_bytes"],
        "buffer_bytes": totals["buffer_bytes"],
        "packed_params": totals["packed_params"],
        "input_bytes": totals["input_bytes"],
        "macs": totals["macs"],
        "calls": totals["module_calls"],
        "modules": len({layer["path"] for layer in layers}),
        "out": layers[0]["output_shapes"],
        "row_out": {layer["path"]: layer["output_shapes"] for layer in layers},
        "leaf_out_bytes": sum(layer["output_bytes"] for layer in layers[1:]),
    }


def check(expected: dict[str, Any], summary: dict[str, Any]) -> None:
    got = figures(summary)
    for field, value in expected.items():
        if value is None:
            continue  # the case leaves it open
        if field == "row_out":
            for path, shapes in value.items():
                assert got[field][path] == as_lists(shapes)
        else:
            assert got[field] == as_lists(value), field


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("file", CASES, ids=lambda f: f.stem)
def test_summarize_gives_the_expected_figures(file: Path, device: str, mode: str) -> None:
    if device == "cpu" and file.stem in ON_META_ONLY:
        pytest.skip("12.8 GB of weights")
    case = load(file)
    differs = (TRAIN_DIFFERS if mode == "train" else EVAL_DIFFERS).get(file.stem, {})
    args, kwargs = case.example()
    raises = pytest.raises(modelsum.ForwardError) if hasattr(case, "RAISES") else contextlib.nullcontext()
    summary = None
    with raises as caught:
        summary = modelsum.summarize(case.build(), *args, kwargs=kwargs, device=device, mode=mode)
    summary = summary or caught.value.summary
    check(case.EXPECTED | differs, as_lists(summary.to_dict()))


@pytest.mark.parametrize("file", every_nth(CASES, 2), ids=lambda f: f.stem)
def test_the_command_line_gives_the_expected_figures(file: Path, modelsum_cli) -> None:
    case = load(file)
    done = modelsum_cli("show", f"{file}:build", "--inputs-from", f"{file}:example", "--format", "json")
    assert done.code == (3 if hasattr(case, "RAISES") else 0), done.err
    check(case.EXPECTED | EVAL_DIFFERS.get(file.stem, {}), json.loads(done.out))


def test_a_failed_forward_names_the_layer_and_keeps_the_rows_so_far(modelsum_cli) -> None:
    file = next(f for f in CASES if f.stem == "19_failed_forward_cleans_up")
    done = modelsum_cli("show", f"{file}:build", "--inputs-from", f"{file}:example")
    assert done.code == 3
    assert "fc2 takes [..., 32], it was given [2, 16]." in done.err
    assert "Traceback" not in done.err
    rows = {line.split()[0]: line for line in done.out.splitlines() if line[:3] in ("fc1", "act", "fc2")}
    assert "[2, 16]" in rows["fc1"]
    assert "[2, 16]" in rows["act"]
    assert "failed" in rows["fc2"]


@pytest.mark.parametrize("stem", ["18_no_side_effects", "19_failed_forward_cleans_up"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_model_and_the_random_state_are_as_before(stem: str, mode: str, device: str) -> None:
    case = load(next(f for f in CASES if f.stem == stem))
    model = case.build()
    before = case.fingerprint(model)
    args, kwargs = case.example()
    with contextlib.suppress(modelsum.ForwardError):
        modelsum.summarize(model, *args, kwargs=kwargs, mode=mode, device=device)
    assert case.fingerprint(model) == before


def test_lazy_layers_of_the_callers_model_stay_lazy() -> None:
    case = load(next(f for f in CASES if f.stem == "25_lazy_layers"))
    model = case.build()
    args, kwargs = case.example()
    assert modelsum.summarize(model, *args, kwargs=kwargs).totals.params == 3_130
    assert type(model[0]).__name__ == "LazyConv2d"


def test_a_meta_model_of_13_gb_stays_on_meta() -> None:
    case = load(next(f for f in CASES if f.stem == "33_meta_device_model"))
    model = case.build()
    args, kwargs = case.example()
    modelsum.summarize(model, *args, kwargs=kwargs)
    assert all(p.is_meta for p in model.parameters())
