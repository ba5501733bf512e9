"""Calls of torch's own layers that are like an earlier one: told the same, and only where they are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import modelsum
from modelsum.trace import leaves, ops, recorder

X = torch.empty((2, 3, 16, 16), device="meta")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered yet."""
    monkeypatch.setattr(leaves, "_memory", {})


def network() -> nn.Module:
    """Every kind of result: new, in place, its argument; and an input that is not contiguous."""
    return nn.Sequential(
        *(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.MaxPool2d(2),
        ),
        *(nn.Conv2d(8, 8, 3, groups=2), nn.Hardswish(), nn.Flatten(2), nn.Linear(36, 5), nn.Softmax(-1)),
    ).eval()


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_second_summary_says_what_the_first_one_said(target: str):
    first, second = (modelsum.summarize(network(), X, target=target) for _ in range(2))
    assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_it_says_what_it_says_where_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch, target: str):
    twice = nn.Sequential(network()[:8], network()[:8].append(nn.Flatten()))[0]
    remembered = [modelsum.summarize(twice, X, target=target) for _ in range(2)][1]
    monkeypatch.setattr(leaves, "_settings", lambda module, is_training: None)
    assert remembered.to_dict() == modelsum.summarize(twice, X, target=target).to_dict()


def forwards(monkeypatch: pytest.MonkeyPatch, *modules: nn.Module) -> int:
    """How many forwards of torch's layers run in modules that are called one after the other."""
    calls: list[nn.Module] = []
    for kind in (nn.Conv2d, nn.ReLU):

        def forward(layer: nn.Module, x: Tensor, plain: Callable[..., Any] = kind.forward) -> Any:
            calls.append(layer)
            return plain(layer, x)

        monkeypatch.setattr(kind, "forward", forward)
        monkeypatch.setitem(leaves._FORWARDS, kind, forward)
    modelsum.summarize(nn.Sequential(*modules), X, memory=False)
    return len(calls)


def test_the_same_settings_and_shapes_are_called_once(monkeypatch: pytest.MonkeyPatch):
    assert forwards(monkeypatch, *(nn.Conv2d(3, 3, 1).eval() for _ in range(4))) == 1


def test_other_settings_or_shapes_are_called(monkeypatch: pytest.MonkeyPatch):
    """Also a list for a tuple, and weights of other strides."""
    strided = nn.Conv2d(3, 3, 3).to(memory_format=torch.channels_last)
    layers = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, bias=False), strided
    assert forwards(monkeypatch, *layers) == 4


def test_what_is_more_than_the_layer_is_called(monkeypatch: pytest.MonkeyPatch):
    """Hooks, an attribute of the user's, and what is trained."""
    hooked, marked = nn.ReLU(), nn.ReLU()
    hooked.register_forward_hook(lambda *arguments: None)
    marked.mine = object()
    assert forwards(monkeypatch, nn.ReLU(), nn.ReLU(), hooked, hooked, marked, marked) == 5


def test_a_layer_in_a_context_of_the_model_is_called(monkeypatch: pytest.MonkeyPatch):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(self.layer(x))
            with torch.enable_grad():
                x = self.layer(x)
            with torch.device("cpu"):
                return self.layer(x)

    assert forwards(monkeypatch, Net()) == 3


def test_an_op_that_is_counted_otherwise_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch):
    layer = nn.Linear(16, 4, bias=False)
    for name in ("COUNTED", "registered", "_cache"):
        monkeypatch.setattr(ops, name, type(vars(ops)[name])(vars(ops)[name]))
    monkeypatch.setattr(recorder, "registered", ops.registered)
    assert modelsum.summarize(layer, X, memory=False).totals.macs == X.numel() * 4
    modelsum.register_macs("aten::mm", lambda *arguments, out, **named: 7)
    assert modelsum.summarize(layer, X, memory=False).totals.macs == 7


def test_nothing_is_left_on_a_layer_whose_forward_fails():
    model = nn.Sequential(nn.Linear(16, 4), nn.Linear(16, 4))
    with pytest.raises(modelsum.ForwardError) as raised:
        modelsum.summarize(model, X)
    failed = [layer.path for layer in raised.value.summary.layers if layer.failed]
    assert failed == ["1"]
    assert all("_compiled_call_impl" not in vars(module) for module in model.modules())
