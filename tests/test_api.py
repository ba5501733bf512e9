"""`modelsum.summarize` and the calls of older tools, from Python."""

from __future__ import annotations

import gc
import json

import pytest
import torch
from torch import nn

import modelsum
from modelsum import zoo
from modelsum.compat import summary


def net() -> nn.Module:
    """3x3 convolution from 3 to 4 channels without padding, and its batch norm."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())


def test_a_module_and_a_tensor() -> None:
    s = modelsum.summarize(net(), torch.zeros(2, 3, 8, 8))
    assert s.totals.params == 4 * 27 + 4 + 8
    assert s.totals.macs == 2 * 4 * 36 * 27
    assert s.model.source == "object"
    assert s.batch is None


def test_a_module_and_a_shape() -> None:
    s = modelsum.summarize(net(), input_size=(3, 8, 8), batch=5)
    assert s.totals.macs == 5 * 4 * 36 * 27
    assert s.layers[0].output_shapes == (5, 4, 6, 6)


def test_several_shapes() -> None:
    s = modelsum.summarize(nn.Bilinear(3, 4, 2), input_size=[(3,), (4,)], batch=2)
    assert [i.shape for i in s.inputs] == [(2, 3), (2, 4)]


def test_a_name_with_constructor_arguments() -> None:
    s = modelsum.summarize("resnet18", model_args={"num_classes": 7}, input_size=(3, 64, 64))
    assert s.layers[-1].output_shapes == (1, 7)
    assert s.model.source == "documented"


def test_keyword_arguments_are_named_inputs() -> None:
    class Gated(nn.Module):
        def forward(self, x: torch.Tensor, *, mask: torch.Tensor) -> torch.Tensor:
            return x * mask

    s = modelsum.summarize(Gated(), torch.ones(2, 3), kwargs={"mask": torch.ones(2, 3)})
    assert [i.name for i in s.inputs] == [None, "mask"]


def test_printing_a_summary_shows_the_table() -> None:
    s = modelsum.summarize(net(), input_size=(3, 8, 8))
    assert "0 (Conv2d)" in str(s)
    assert "Total params:" in str(s)
    assert repr(s) == "<Summary of Sequential: 120 params, 3,888 MACs>"


def test_to_dict_is_json_with_the_keys_of_the_schema() -> None:
    value = json.loads(json.dumps(modelsum.summarize(net(), input_size=(3, 8, 8)).to_dict()))
    assert value["schema_version"] == 1
    assert value["kind"] == "summary"
    for key in ("model", "inputs", "mode", "device", "executed", "totals", "torchsummary", "uncounted_ops"):
        assert key in value
    for key in ("layers", "baseline", "notices", "made_with"):
        assert key in value
    totals = {"params", "trainable_params", "frozen_params", "param_bytes", "buffers", "buffer_bytes"}
    assert totals | {"macs", "flops", "input_bytes", "module_calls"} <= value["totals"].keys()
    layer = {"path", "class", "call", "depth", "input_shapes", "output_shapes", "params", "own_params"}
    assert layer | {"trainable_params", "macs", "output_bytes", "reused"} <= value["layers"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_size": (3, 0, 8)}, "size 0 is not positive"),
        ({"input_size": (3, 8, 8), "batch": 0}, "batch size 0"),
        ({"input_size": (3, 8, 8), "batch": True}, "batch size True"),
        ({"input_size": (3, 8, 8), "mode": "same"}, "unknown mode 'same'"),
        ({"input_size": (3, 8, 8), "device": "tpu"}, "unknown device 'tpu'"),
        ({"input_size": (3, 8, 8), "dtype": "int8"}, "unknown dtype 'int8'"),
        (
            {"input_size": (3, 8, 8), "model_args": {"a": 1}},
            "constructor arguments are for a model that is named",
        ),
    ],
)
def test_wrong_words_are_usage_errors(arguments: dict, words: str) -> None:
    with pytest.raises(modelsum.UsageError, match=words):
        modelsum.summarize(net(), **arguments)


def test_inputs_and_a_shape_together_are_refused() -> None:
    with pytest.raises(modelsum.InputError, match="both"):
        modelsum.summarize(net(), torch.zeros(1, 3, 8, 8), input_size=(3, 8, 8))


def test_the_model_is_left_as_it_was_found() -> None:
    model = net().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random_state = torch.get_rng_state()
    for device in ("auto", "cpu"):
        modelsum.summarize(model, torch.ones(2, 3, 8, 8), mode="train", device=device)
        modelsum.summarize(model, torch.ones(2, 3, 8, 8), mode="eval", device=device)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None and not p.is_meta for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_nothing_is_left_for_the_garbage_collector() -> None:
    """Of two hundred layers none is in a cycle with others once they were gone through."""
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(200)])
    modelsum.summarize(model, torch.zeros(2, 4))
    gc.collect()
    gc.disable()
    try:
        modelsum.summarize(model, torch.zeros(2, 4))
        assert gc.collect() < 100
    finally:
        gc.enable()


@pytest.mark.parametrize("batch_size", [-1, 4])
def test_compat_prints_what_torchsummary_prints(capsys: pytest.CaptureFixture[str], batch_size: int) -> None:
    import torchsummary

    model = zoo.build("squeezenet1_1").eval()
    torchsummary.summary(model, (3, 64, 64), batch_size=batch_size, device="cpu")
    theirs = capsys.readouterr().out
    summary(model, (3, 64, 64), batch_size=batch_size)
    assert capsys.readouterr().out == theirs
