"""What follows the backward pass: any optimizer, clipped gradients, averaged weights; beside real steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_day import every_nth
from real_cpu import real_peaks, storage_bytes
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import modelsum
from modelsum.memory.log import OPTIMIZER_STATE, OPTIMIZER_STEP, Log
from modelsum.memory.optimizers import Trained, step
from modelsum.memory.options import MemoryOptions
from modelsum.memory.peaks import replay
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.step.optimizing import Update

X = torch.rand(16, 64)
_CLASSES = {
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "adamax": "Adamax",
    "asgd": "ASGD",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "rprop": "Rprop",
}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.Tanh(), nn.Linear(256, 10))


class SignOfMomentum(torch.optim.Optimizer):
    """An optimizer as a user writes it."""

    def __init__(self, params: Any, lr: float = 1e-4, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                update = (momentum * group["beta"] + p.grad * (1 - group["beta"])).sign()
                p.add_(update, alpha=-group["lr"])
                momentum.lerp_(p.grad, 1 - group["beta"])


class Steps:
    """An optimizer's steps with what is done before and after them."""

    def __init__(self, optimizer: Any, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        self._optimizer, self._before, self._after = optimizer, before, after

    def step(self) -> None:
        self._before()
        self._optimizer.step()
        self._after()


def real(make: Callable[[list[Tensor]], Any], *, clip: bool = False, ema: bool = False) -> tuple[int, int]:
    """The peaks of the first step and of one in steady state."""
    model, there = net(), []

    def steps(parameters: list[Tensor]) -> Steps:
        optimizer = make(parameters)
        there.extend(t for state in optimizer.state.values() for t in state.values())
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn()) if ema else None
        if average is not None:
            there.extend([*average.parameters(), *average.buffers()])
        return Steps(
            optimizer,
            lambda: nn.utils.clip_grad_norm_(parameters, 1.0) if clip else None,
            lambda: average.update_parameters(model) if average is not None else None,
        )

    peaks = real_peaks(model, (X,), torch.sum, steps)  # type: ignore[arg-type]
    made = storage_bytes([t for t in there if isinstance(t, Tensor)])
    return peaks.first_step + made, peaks.training + made


def predicted(optimizer: Any, **options: Any) -> tuple[int, int]:
    memory = modelsum.summarize(net(), X, target="cpu", optimizer=optimizer, **options).memory
    assert memory is not None
    assert memory.training is not None, memory.notices
    assert memory.bound == "exact"
    return memory.first_step_peak_bytes or 0, memory.training.bytes


# Numbers that are made for a moment, and counts of steps.
NUMBERS = 64


def are_equal(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return all(abs(a - b) <= NUMBERS for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("foreach", [False, True], ids=["for-loop", "foreach"])
@pytest.mark.parametrize("name", every_nth(_CLASSES, 2))
def test_a_traced_optimizer_takes_what_the_real_one_takes(name: str, foreach: bool) -> None:
    kind = getattr(torch.optim, _CLASSES[name])
    assert are_equal(predicted(name, foreach=foreach), real(lambda p: kind(p, foreach=foreach)))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_trains_the_matrices_and_adamw_the_rest() -> None:
    """Beside real steps by their tensors alone: its matmuls in bfloat16 are another kernel on each CPU."""
    peaks = []
    for device in ("cpu", "meta"):
        model = nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 256)).to(device)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        log = Log()
        lifetimes = Lifetimes(log, device)
        lifetimes.watch([t for p in model.parameters() for t in (p, p.grad) if t is not None])
        update = Update(model, lifetimes, MemoryOptions("muon"), "cpu")
        log.phase = OPTIMIZER_STEP
        for first in (True, False):
            update(list(model.parameters()), first=first)
            peaks.append(replay(log.categories, [], log.cut()).peak.bytes)
    assert are_equal((peaks[0], peaks[1]), (peaks[2], peaks[3]))
    momentum, moments = 64 * 256, 2 * (50 * 64 + 256)
    state = sum(n for n, c in zip(log.sizes, log.categories, strict=True) if c == OPTIMIZER_STATE)
    assert state == 4 * (momentum + moments) + 2 * 4  # and two counts of steps


def test_an_optimizer_of_a_users_is_traced() -> None:
    given = SignOfMomentum(net().parameters(), beta=0.5)
    expected = real(lambda p: SignOfMomentum(p))
    assert are_equal(predicted(SignOfMomentum), expected)
    assert are_equal(predicted(given), expected)
    assert not given.state


@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
@pytest.mark.parametrize("options", [{"clip": True}, {"ema": True}, {"clip": True, "ema": True}], ids=str)
def test_clipping_and_averages_take_what_the_real_ones_take(name: str, options: dict[str, bool]) -> None:
    kind = {"adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}[name]
    assert are_equal(
        predicted(name, foreach=False, **options), real(lambda p: kind(p, foreach=False), **options)
    )


def test_a_setting_that_the_closed_form_does_not_have_is_traced() -> None:
    given = torch.optim.Adam(net().parameters(), amsgrad=True, foreach=False)
    expected = real(lambda p: torch.optim.Adam(p, amsgrad=True, foreach=False))
    assert are_equal(predicted(given), expected)


def test_an_average_is_a_part_of_its_own() -> None:
    memory = modelsum.summarize(net(), X, ema=True).memory
    assert memory is not None
    parts = memory.peak.parts
    assert parts["ema"] == parts["weights"] + parts["buffers"]


def test_a_schedule_of_the_learning_rate_takes_nothing() -> None:
    """Every scheduler of torch's that a number makes: the peaks are those without it."""

    def scheduled(kind: Any, *args: Any) -> Callable[[list[Tensor]], Any]:
        def make(parameters: list[Tensor]) -> Any:
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            schedule = kind(optimizer, *args)
            steps = Steps(optimizer, lambda: None, schedule.step)
            steps.state = optimizer.state  # type: ignore[attr-defined]
            return steps

        return make

    schedules = torch.optim.lr_scheduler
    for kind, *args in ((schedules.StepLR, 1), (schedules.CosineAnnealingLR, 5), (schedules.LinearLR,)):
        assert real(scheduled(kind, *args)) == real(lambda p: torch.optim.SGD(p, lr=0.1))


def state_bytes(name: str, sizes: list[tuple[int, ...]]) -> int:
    log = Log()
    trained = [Trained(size, 4) for size in sizes]
    step(log, trained, name, "for-loop", first=True, counts_on_device=False)
    return sum(n for n, c in zip(log.sizes, log.categories, strict=True) if c == OPTIMIZER_STATE)


SIZES = [(64, 64), (4095,), (4097,), (3, 5, 700)]


def test_states_of_8_bits_are_those_of_torchao() -> None:
    optim = pytest.importorskip("torchao.optim")
    made = optim.AdamW8bit([nn.Parameter(torch.zeros(size)) for size in SIZES])
    parts: list[Tensor] = []
    for p in made.param_groups[0]["params"]:
        for signed in (True, False):
            state = made._new_buffer(p, signed)
            names = state.__tensor_flatten__()[0] if hasattr(state, "codes") else ()
            parts += [getattr(state, name) for name in names] or [state]
    assert state_bytes("torchao-adamw8bit", SIZES) == sum(t.nbytes for t in parts)


def test_states_of_8_bits_are_those_of_bitsandbytes() -> None:
    bnb = pytest.importorskip("bitsandbytes")
    made = bnb.optim.AdamW8bit([nn.Parameter(torch.zeros(size)) for size in SIZES])
    for place, p in enumerate(made.param_groups[0]["params"]):
        made.init_state(made.param_groups[0], p, 0, place)
    tensors = [t for state in made.state.values() for t in state.values() if isinstance(t, Tensor)]
    assert state_bytes("bnb-adamw8bit", SIZES) == storage_bytes(tensors)


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(modelsum.UsageError, match="'adamx' is not known"):
        modelsum.summarize(net(), X, optimizer="adamx")
    with pytest.raises(modelsum.UsageError, match="no fused implementation"):
        modelsum.summarize(net(), X, optimizer="rmsprop", fused=True)
    with pytest.raises(modelsum.UsageError, match="one implementation, its own"):
        modelsum.summarize(net(), X, optimizer="bnb-adamw8bit", foreach=True)
    with pytest.raises(modelsum.UsageError, match="closure"):
        modelsum.summarize(net(), X, optimizer=torch.optim.LBFGS)
