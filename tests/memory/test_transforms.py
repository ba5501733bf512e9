"""Models that transform functions with torch.func in their forward, beside real training steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from real_cpu import real_peaks
from torch import Tensor, nn
from torch.func import grad, hessian, jacrev, jvp, vjp, vmap

import modelsum
from modelsum.errors import ForwardError

X = torch.rand(32, 64)


class Transforming(nn.Module):
    def __init__(self, call: Callable[[nn.Module, Tensor], Tensor], outputs: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, outputs))
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.net, x)


def _by_autograd(net: nn.Module, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(net(x).sum(), x, create_graph=True)[0]


def _pulled_back(net: nn.Module, x: Tensor) -> Tensor:
    y, pull = vjp(net, x)
    (pulled,) = pull(torch.ones_like(y))
    return pulled


KINDS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "grad": lambda net, x: grad(lambda y: net(y).sum())(x),
    "grad of each sample": lambda net, x: vmap(grad(lambda y: net(y).sum()))(x),
    "vjp": _pulled_back,
    "jvp": lambda net, x: jvp(net, (x,), (torch.ones_like(x),))[1],
    "jacrev of each sample": lambda net, x: vmap(jacrev(net))(x),
    "hessian of each sample": lambda net, x: vmap(hessian(lambda y: net(y).sum()))(x),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_peaks_are_those_of_real_steps(kind: str) -> None:
    model = Transforming(KINDS[kind])
    memory = modelsum.summarize(model, X, target="cpu", optimizer="none").memory
    assert memory is not None
    real = real_peaks(model, (X,), lambda out: out.sum(), None)
    assert memory.bound == "exact"
    assert memory.inference_peak_bytes == pytest.approx(real.inference, abs=64)
    assert memory.training_peak_bytes == pytest.approx(real.training, abs=64)


def test_what_is_saved_is_as_without_a_transform() -> None:
    """torch's own hooks, which say what autograd saves, are refused inside a transform."""
    with_it, without = (
        modelsum.summarize(Transforming(call), X, target="cpu", optimizer="none").memory
        for call in (KINDS["grad"], _by_autograd)
    )
    assert with_it is not None
    assert without is not None
    assert with_it.saved_for_backward_bytes == without.saved_for_backward_bytes
    assert with_it.training == without.training


def test_hooks_of_the_users_are_refused_as_torch_does() -> None:
    def hooked(net: nn.Module, x: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            return KINDS["grad"](net, x)

    with pytest.raises(ForwardError, match="don't yet support saved tensor hooks"):
        modelsum.summarize(Transforming(hooked), X, target="cpu")
