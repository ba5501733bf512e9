"""Layers in training whose calls are answered: the same events, and none where anything else looks on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import modelsum
from modelsum.trace import leaves
from modelsum.trace.step import stage, trained_layers

X = torch.empty((2, 3, 16, 16), device="meta")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered yet."""
    monkeypatch.setattr(leaves, "_memory", {})


class Net(nn.Module):
    """What a test calls."""

    def __init__(self, called: Callable[[Net, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.relu, self.tanh = nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Tanh()
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(16, 4)
        self.called = called

    def forward(self, x: Tensor) -> Any:
        return self.called(self, x)


def summaries(monkeypatch: pytest.MonkeyPatch, net: Net, **options: Any) -> tuple[Any, Any, int]:
    """What is said where layers are answered, where none is, and how many calls were answered."""
    answers: list[bool] = []
    call = trained_layers.TrainedLayer.__call__

    def counted(layer: trained_layers.TrainedLayer, x: Tensor) -> Tensor | None:
        output = call(layer, x)
        answers.append(output is not None)
        return output

    options = {"timeline_points": 10_000, **options}
    with monkeypatch.context() as patch:
        patch.setattr(trained_layers.TrainedLayer, "__call__", counted)
        one, two = (modelsum.summarize(net, X, **options).to_dict() for _ in range(2))
    assert one == two
    with monkeypatch.context() as patch:
        patch.setattr(stage, "TrainedLayer", lambda *arguments: lambda x: None)
        return one, modelsum.summarize(net, X, **options).to_dict(), sum(answers)


NETS: dict[str, Callable[[Net, Tensor], Any]] = {
    "a chain": lambda net, x: net.linear(net.pool(net.relu(net.norm(net.first(x)))).flatten(2)[..., :16]),
    "a result that two keep": lambda net, x: net.second(net.tanh(net.first(x)) + net.relu(net.norm(x))),
    "a layer called twice": lambda net, x: net.tanh(net.first(net.tanh(net.first(x)))),
    "a linear layer called twice": lambda net, x: net.linear(net.linear(x[0, 0]).repeat(1, 4) + x[0, 0]),
    "a view that is written to": lambda net, x: net.relu(net.linear(x)) + net.tanh(net.first(x)).sum(),
    "one of a matrix": lambda net, x: net.linear(functional.pad(net.linear(x.flatten(0, 2)), (0, 12))),
    "a weight used elsewhere": lambda net, x: functional.conv2d(net.first(x), net.first.weight).sum(),
    "other weights": lambda net, x: net.tanh(functional_call(net.first, {"weight": -net.first.weight}, (x,))),
    "channels last": lambda net, x: net.norm(net.first(x.to(memory_format=torch.channels_last))),
    "a gradient of its own strides": lambda net, x: net.first(x).mean((2, 3)) + net.second(x)[0, 0, 0, :3],
    "no result that counts": lambda net, x: net.first(net.second(x)).detach() + net.linear(x).sum(),
    "a checkpoint": lambda net, x: net.second(checkpoint(net.tanh, net.first(x), use_reentrant=False)),
    "a checkpoint of old": lambda net, x: net.second(checkpoint(net.tanh, net.first(x), use_reentrant=True)),
    "its batches are counted": lambda net, x: net.norm(x)[: int(net.norm.num_batches_tracked.item())],
}  # fmt: skip


@pytest.mark.parametrize("called", NETS.values(), ids=NETS)
@pytest.mark.parametrize("options", [{"target": "cpu"}, {"accumulate": 2, "clip": 1.0}], ids=["cpu", "cuda"])
def test_it_says_what_it_says_where_every_layer_is_called(
    monkeypatch: pytest.MonkeyPatch, called: Callable[[Net, Tensor], Any], options: dict[str, Any]
):
    answered, plain, answers = summaries(monkeypatch, Net(called), **options)
    assert answers
    assert answered == plain


def test_a_derivative_that_is_derived_again_is_gone_through(monkeypatch: pytest.MonkeyPatch):
    def called(net: Net, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(net.tanh(net.first(x)).sum(), x, create_graph=True)[0]

    answered, plain, _ = summaries(monkeypatch, Net(called))
    assert answered["memory"]["training_peak_bytes"] is not None
    assert answered == plain


def test_a_step_that_is_gone_through_again_begins_without_gradients(monkeypatch: pytest.MonkeyPatch):
    """The first derivative has an answer, the second one has none."""
    derived, asked = trained_layers.TrainedLayer.derived, []

    def once(layer: trained_layers.TrainedLayer, node: Any, gradient: Tensor) -> list[Tensor | None]:
        asked.append(layer)
        if len(asked) > 1:
            raise trained_layers.Unlike
        return derived(layer, node, gradient)

    net = Net(lambda net, x: net.first(net.second(x)))
    plain = modelsum.summarize(net, X, target="cpu")
    monkeypatch.setattr(trained_layers.TrainedLayer, "derived", once)
    assert modelsum.summarize(net, X, target="cpu").memory == plain.memory
    assert len(asked) == 2
