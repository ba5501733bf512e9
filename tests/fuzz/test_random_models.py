"""Random models beside real runs of them: counts, memory, and that the model is left as it was.

python -m pytest tests/fuzz -m slow            # thousands, by MODELSUM_FUZZ_SEEDS=FIRST:LAST
"""

from __future__ import annotations

import copy
import os
from contextlib import nullcontext

import pytest
import torch
from random_models import KINDS, random_model
from real_cpu import real_peaks, saved_bytes
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import modelsum
from modelsum.memory.cpu.machine import ISA_OF

HAS_KERNELS = torch.backends.cpu.get_cpu_capability() in ISA_OF
FIRST, LAST = map(int, os.environ.get("MODELSUM_FUZZ_SEEDS", "100:1600").split(":"))


def real_macs(model: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """Of a forward pass and of a whole step, each op as it is written; the counter has 2 FLOPs a MAC."""
    model = copy.deepcopy(model).train()
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(x)
        forward = counter.get_total_flops() // 2
        with FlopCounterMode(display=False) as counter:
            model(x).sum().backward()
    return forward, counter.get_total_flops() // 2


def state_of(model: nn.Module) -> tuple[object, ...]:
    return (
        [m.training for m in model.modules()],
        [(n, p.requires_grad, p._version, p.data_ptr()) for n, p in model.named_parameters()],
        [(n, b._version) for n, b in model.named_buffers()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
    )


def check(seed: int) -> None:
    made = random_model(seed)
    model, x = made.model, made.x
    before = state_of(model)
    summary = modelsum.summarize(model, x, target="cpu", optimizer="adam", attention="auto")
    assert state_of(model) == before
    written = modelsum.summarize(model, x, target="cpu", attention="math")

    memory = summary.memory
    assert memory is not None
    if memory.training is None:
        with pytest.raises(ValueError, match="more than 1 value") if len(x) == 1 else nullcontext():
            assert not model(x).requires_grad
        return
    totals = summary.totals
    assert totals.params == sum(p.numel() for p in model.parameters())
    assert totals.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert summary.uncounted_ops == {}
    grouped = any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in model.modules())
    forward, step = real_macs(model, x)
    assert totals.macs == forward
    if not grouped:  # the gradient of a grouped weight is too much in torch's counter
        assert written.totals.training_macs == step

    if made.kernels and not HAS_KERNELS:
        return
    real = real_peaks(model, (x,), torch.sum, lambda p: torch.optim.Adam(p, foreach=False))
    for predicted, peak in (
        (memory.inference_peak_bytes, real.inference),
        (memory.training_peak_bytes, real.training),
        (memory.first_step_peak_bytes, real.first_step),
    ):
        assert predicted is not None
        assert predicted <= 1.01 * peak
        assert memory.bound == "lower" or predicted == pytest.approx(peak, rel=0.005)
    if memory.bound == "exact":
        assert memory.saved_for_backward_bytes == saved_bytes(model, x)


@pytest.mark.parametrize("seed", range(60))
def test_a_random_model_is_as_predicted(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_thousands_of_random_models_are_as_predicted(seed: int) -> None:
    check(seed)


def test_every_kind_is_in_some_model() -> None:
    assert {name for seed in range(400) for name in random_model(seed).kinds} == set(KINDS)
