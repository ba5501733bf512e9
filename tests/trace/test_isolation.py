"""Nothing that a summary touches is left changed: after success, failure and Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import flex_attention
from torch.nn.modules import module as module_hooks

import modelsum

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.arange(24.0).reshape(2, 3, 2, 2)


class Model(nn.Module):
    """Changes all that a forward can: statistics, counters, weights, flags, random numbers, defaults."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.end = end
        self.conv = nn.utils.spectral_norm(nn.Conv2d(3, 4, 1))
        self.norm, self.frozen = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.old = nn.utils.weight_norm(nn.Linear(4, 4))
        self.lazy = nn.LazyLinear(2)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(1))
        self.history: list[Tensor] = []
        self.memory = torch.zeros(4)
        self.lock = threading.Lock()  # no deepcopy takes it
        self.conv.register_forward_hook(lambda module, args, out: out)
        self.norm.weight.requires_grad_(False)
        self.norm.bias.grad = torch.ones(4)
        self.train()
        self.frozen.eval()

    def forward(self, x: Tensor) -> Any:
        x = self.frozen(self.norm(self.conv(F.relu_(x))))
        x = self.lazy(self.drop(self.old(x.mean((2, 3)))))
        self.calls += 1
        self.memory += 1
        self.history.append(x)
        self.last = x
        self.extra = nn.Linear(2, 2)
        with torch.no_grad():
            self.norm.weight.mul_(2)
            self.norm.bias.data.zero_()
            self.old.weight_g.copy_(torch.ones_like(self.old.weight_g))
        self.norm.weight.requires_grad_(True)
        self.norm.bias.grad = None
        self.conv.train(False)
        self.drop.register_forward_hook(lambda module, args, out: out)
        random.random()
        np.random.rand()
        torch.rand(1)
        torch.manual_seed(3)
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float64)
        return self.end(x)


def fine(x: Tensor) -> Tensor:
    return x


def reads(x: Tensor) -> float:
    """What stops meta, so that a second pass follows on the CPU."""
    return x.sum().item()


def fails(x: Tensor) -> None:
    raise ValueError("as it was told to")


def interrupted(x: Tensor) -> None:
    raise KeyboardInterrupt


def state(model: nn.Module) -> list[Any]:
    """Everything of a model that another pass may read."""
    found: list[Any] = []
    for name, module in model.named_modules():
        found.append((name, id(module), type(module), module.training, sorted(vars(module))))
        found += [
            (kind, [id(hook) for hook in getattr(module, kind).values()])
            for kind in vars(module)
            if kind.endswith("hooks")
        ]
        found += [(key, id(value)) for key, value in vars(module).items() if not key.startswith("_")]
        for key, tensor in (*module._parameters.items(), *module._buffers.items(), ("memory", model.memory)):
            found.append((key, id(tensor), type(tensor)))
            if tensor is None or isinstance(tensor, nn.parameter.UninitializedTensorMixin):
                continue
            grad = tensor.grad.tolist() if tensor.is_leaf and tensor.grad is not None else None
            meta = (tensor.dtype, tensor.device, tensor.shape, tensor.requires_grad, tensor.data_ptr())
            found.append((meta, tensor.tolist(), grad, vars(tensor)))
    return [*found, len(model.history)]


def surroundings() -> list[Any]:
    """The state of the process."""
    numpy = np.random.get_state()
    hooks = [
        len(getattr(module_hooks, n)) for n in dir(module_hooks) if n.startswith("_global_") and "hooks" in n
    ]
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        (numpy[1].tolist(), *numpy[2:]),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.autocast.__init__,
        torch.distributions.Distribution._validate_args,
        flex_attention._validate_device,
        [(name, id(value)) for name, value in vars(F).items() if callable(value)],
        [(name, id(value)) for name, value in vars(Tensor).items()],
        len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),
        torch._C._len_torch_function_stack(),
        sys.getrecursionlimit(),
        hooks,
    ]


def raises(end: Callable[[Tensor], Any]) -> Any:
    if end is fails:
        return pytest.raises(modelsum.ForwardError, match="as it was told to")
    return pytest.raises(KeyboardInterrupt) if end is interrupted else contextlib.nullcontext()


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("end", [fine, reads, fails, interrupted])
def test_nothing_is_left_changed(end: Callable[[Tensor], Any], device: str, mode: str) -> None:
    model, x = Model(end), X.clone()
    before, outside = state(model), surroundings()
    with raises(end):
        modelsum.summarize(model, x, device=device, mode=mode)
    after = surroundings()
    assert state(model) == before
    assert after == outside
    assert torch.equal(x, X)


def test_the_test_can_fail() -> None:
    """Run by itself, the model above changes both what belongs to it and what does not."""
    model = Model(fine)
    before, outside = state(model), surroundings()
    limit = torch.get_default_dtype()
    try:
        model(X.clone())
        changed = [a for a, b in zip(surroundings(), outside, strict=True) if a != b]
    finally:
        torch.set_default_dtype(limit)
        torch.set_grad_enabled(True)
    assert state(model) != before
    assert len(changed) >= 4


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_model_trains_on_afterwards_as_if_nothing_had_been(device: str) -> None:
    """Two models, one of them summarised between two steps, take the same steps."""

    def steps(between: Callable[[nn.Module], Any]) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 1)
        )
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(X).sum().backward()
            optimizer.step()
            between(model)
        return [t.clone() for t in model.state_dict().values()]

    summarised = steps(lambda model: modelsum.summarize(model, X, mode="train", device=device))
    assert all(map(torch.equal, summarised, steps(lambda model: None)))


def test_gradients_taken_inside_do_not_reach_the_model() -> None:
    class Learns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                loss = self.linear(x).sum()
                loss.backward()
            with torch.no_grad():
                self.linear.weight -= self.linear.weight.grad
            return loss

    model = Learns()
    before = model.linear.weight.tolist()
    for device in ("auto", "cpu"):
        modelsum.summarize(model, torch.ones(3, 2), device=device)
        assert model.linear.weight.grad is None
        assert model.linear.weight.tolist() == before


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_the_collector_is_as_it_was_afterwards_also_after_an_exception(enabled: bool, fails: bool):
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if fails:
                raise ValueError
            return x

    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(modelsum.ForwardError) if fails else contextlib.nullcontext():
            modelsum.summarize(Net(), torch.zeros(2))
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


class Chooses(nn.Module):
    """Takes as many rows as its random weights say, and some at random."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.last = nn.Linear(4, 1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept = x[self.scores(x)[:, 0] > 0]
        return self.last(kept[torch.rand(len(kept)) > 0.5])


def test_what_is_drawn_inside_is_drawn_the_same_each_time() -> None:
    """A detector chooses among boxes by its weights: its figures do not change from one run to the next."""
    spec = f"{__file__}:Chooses"
    found = set()
    for seed in range(3):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.add(modelsum.summarize(spec, input_size=(4,), batch=64, memory=False).totals.macs)
        assert torch.equal(torch.get_rng_state(), before)
    assert len(found) == 1
