"""Closed forms of optimizers against the real steps, through the same log of CPU tensors."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn

from modelsum.memory import optimizers
from modelsum.memory.log import OPTIMIZER_STATE, OPTIMIZER_STEP, Log
from modelsum.memory.peaks import replay
from modelsum.trace.step.lifetimes import Lifetimes

# A large parameter behind a small one, equal ones beside each other, a vector, a scalar, more dimensions.
SHAPES = ((7,), (40, 30), (40, 30), (3, 2, 5, 5), (), (60, 50), (9,), (11,))


def parameters() -> list[nn.Parameter]:
    made = [nn.Parameter(torch.rand(shape)) for shape in SHAPES]
    for parameter in made:
        parameter.grad = torch.rand_like(parameter)
    return made


def real_optimizer(
    name: str, implementation: str, trained: list[nn.Parameter], decay: bool
) -> torch.optim.Optimizer:
    how: dict[str, Any] = {"foreach": implementation == "foreach", "fused": implementation == "fused"}
    weight_decay = 0.1 if decay else 0.0
    if name in ("sgd", "momentum"):
        return torch.optim.SGD(
            trained, lr=0.1, momentum=0.9 if name == "momentum" else 0, weight_decay=weight_decay, **how
        )
    if name == "adafactor":
        return torch.optim.Adafactor(trained, foreach=how["foreach"])
    if name == "lion":
        timm_optim = pytest.importorskip("timm.optim")
        return timm_optim.Lion(trained, lr=0.1, foreach=how["foreach"])
    made = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return made(trained, lr=0.1, weight_decay=weight_decay, **how)


def peak_and_rest(log: Log) -> tuple[int, int]:
    """The peak of the events since the last cut, on top of what was there, and what they leave."""
    events = log.cut()
    if not events:
        return 0, 0
    result = replay(log.categories, [], events)
    return result.peak.bytes, sum(result.parts.values())


CASES = [
    (name, implementation)
    for name in ("sgd", "momentum", "adam", "adamw", "adafactor", "lion")
    for implementation in ("for-loop", "foreach", "fused")
    if not (name in ("adafactor", "lion") and implementation == "fused")
]


@pytest.mark.parametrize("decay", [False, True], ids=["no decay", "decay"])
@pytest.mark.parametrize(("name", "implementation"), CASES)
def test_state_and_temporaries_are_those_of_the_real_step(
    name: str, implementation: str, decay: bool
) -> None:
    trained = parameters()
    optimizer = real_optimizer(name, implementation, trained, decay)
    real = Log()
    lifetimes = Lifetimes(real, "cpu")
    lifetimes.watch([*trained, *(p.grad for p in trained)])
    predicted = Log()
    sizes = [optimizers.Trained(tuple(p.shape), p.element_size()) for p in trained]
    real.phase = predicted.phase = OPTIMIZER_STEP
    gc.disable()
    try:
        for first in (True, False):
            real.cut()
            with lifetimes:
                optimizer.step()
            # The counts of steps are literals, made by no op that a mode could see.
            lifetimes.watch(t for state in optimizer.state.values() for t in state.values() if t is not None)
            optimizers.step(
                predicted,
                sizes,
                name,
                implementation,
                first=first,
                counts_on_device=True,
                weight_decay=decay,
            )
            (peak, left), (expected_peak, expected_left) = peak_and_rest(real), peak_and_rest(predicted)
            assert left == expected_left
            # foreach makes a number a tensor, by which all counts go up; the first step has new counts.
            assert abs(peak - expected_peak) <= 4 + (4 * len(SHAPES) if first else 0)
    finally:
        gc.enable()


def test_state_is_labelled_and_stays() -> None:
    log = Log()
    optimizers.step(
        log, [optimizers.Trained((10, 10), 4)], "adam", "for-loop", first=True, counts_on_device=True
    )
    assert [log.sizes[n] for n, c in enumerate(log.categories) if c == OPTIMIZER_STATE] == [4, 400, 400]
    assert log.live() == 804


def test_adam_in_a_loop_holds_three_buffers_of_equal_parameters() -> None:
    """denom of the last parameter lives while the root and the quotient of the next are made."""
    log = Log()
    two = [optimizers.Trained((10, 10), 4)] * 2
    optimizers.step(log, two, "adam", "for-loop", first=False, counts_on_device=True)
    assert replay(log.categories, [], log.cut()).peak.bytes == 3 * 400
