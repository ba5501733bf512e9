"""Predicted peaks against real training runs on the CPU, and what the options change."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from real_cpu import RealPeaks, real_peaks
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch_here import CPU_FLAGS

from modelsum import summarize
from modelsum.errors import UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.memory.cpu.machine import MEASURED_THREADS
from modelsum.trace.call import Call
from modelsum.trace.copying import copy_to
from modelsum.trace.inputs import move
from modelsum.trace.step.training import predict_memory

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import memory_models
from memory_cpu_runs import make_optimizer, real_loss

META = torch.device("meta")
with_the_kernels = pytest.mark.skipif(
    "avx512_bf16" not in CPU_FLAGS, reason="the rules for kernels were measured with AVX-512"
)


def predict(model: nn.Module, *args: Any, target: str = "cpu", **options: Any) -> Memory:
    moved, kwargs = move((args, {}), META)
    return predict_memory(
        Call(copy_to(model, META), moved, kwargs),
        options=MemoryOptions(**{"optimizer": "none"} | options),
        target=target,
    )


def really(
    model: nn.Module, x: Tensor, optimizer: str = "none", how: str = "for-loop", **run: Any
) -> RealPeaks:
    torch.set_num_threads(MEASURED_THREADS)
    return real_peaks(model, (x,), lambda output: output.sum(), make_optimizer(optimizer, how), **run)


# ---- real runs


@with_the_kernels
@pytest.mark.parametrize(
    ("name", "optimizer", "implementation", "within"),
    [
        pytest.param("mobilenet_v2", "adam", "for-loop", 0.002, marks=pytest.mark.slow),
        ("squeezenet1_1", "momentum", "foreach", 0.002),
        ("mnasnet0_5", "sgd", "for-loop", 0.002),
        ("torchvision/shufflenet_v2_x1_0", "adam", "foreach", 0.01),
        ("gpt", "adamw", "foreach", 0.01),
        ("unet", "sgd", "for-loop", 0.01),
        ("bidirectional_lstm", "adam", "for-loop", 0.01),
        ("repeated_100_times", "none", "for-loop", 0.01),
    ],
)
def test_the_peaks_are_those_of_a_real_run(
    name: str, optimizer: str, implementation: str, within: float
) -> None:
    torch.set_num_threads(MEASURED_THREADS)
    model, x = memory_models.build(name), memory_models.example(name, 8, 64)
    kind = memory_models.loss_of(name)
    loss, targets = real_loss(model, x, kind)
    real = real_peaks(model, (x,), loss, make_optimizer(optimizer, implementation), targets)
    memory = predict(model, x, optimizer=optimizer, implementation=implementation, loss=kind)
    assert memory.inference_peak_bytes == pytest.approx(real.inference, rel=within)
    assert memory.training_peak_bytes == pytest.approx(real.training, rel=within)
    assert memory.first_step_peak_bytes == pytest.approx(real.first_step, rel=within)
    for phase, peak in memory.phase_peak_bytes.items():
        assert peak == pytest.approx(real.phases[phase], rel=within)


def blocks() -> nn.Sequential:
    """Four residual-free blocks, wide in between, so that recomputing them pays."""
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 64), nn.Tanh()) for _ in range(4))
    )


def test_checkpointing_is_that_of_torch() -> None:
    model, x = blocks(), torch.rand(256, 64)

    def forward(x: Tensor) -> Tensor:
        for block in model:
            x = checkpoint(block, x, use_reentrant=False)
        return x

    real = really(model, x, "momentum", forward=forward)
    memory = predict(model, x, optimizer="momentum", checkpoint=("?",))
    assert memory.training_peak_bytes == pytest.approx(real.training, rel=0.01)
    assert memory.training_peak_bytes < predict(model, x, optimizer="momentum").training_peak_bytes
    assert memory.assumptions["checkpoint"] == "?"


def test_frozen_parameters_have_no_gradients_and_no_state() -> None:
    model, x = blocks(), torch.rand(256, 64)
    memory = predict(model, x, optimizer="adam", freeze=("0", "1.*"))
    for parameter in (*model[0].parameters(), *model[1].parameters()):
        parameter.requires_grad_(False)
    assert memory.training_peak_bytes == pytest.approx(really(model, x, "adam").training, rel=0.01)
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    assert 2 * trained <= memory.training.parts["optimizer_state"] <= 2 * trained + 4 * 8


def test_gradients_are_there_from_the_second_accumulated_pass_on() -> None:
    model, x = blocks(), torch.rand(16, 64)
    real = really(model, x, "sgd", accumulate=3)
    memory = predict(model, x, optimizer="sgd", accumulate=3)
    assert memory.training_peak_bytes == pytest.approx(real.training, rel=0.01)
    assert memory.training_peak_bytes > predict(model, x, optimizer="sgd").training_peak_bytes


def test_a_cache_of_the_model_is_there_in_steady_state() -> None:
    """What the first step leaves behind is found by the second, which puts another in its place.

    The layer has 64 * 65 floats; the input, its output, the copy of it and that of the step before 64,000.
    """

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 64)
            self.last: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            self.last = [y.detach().clone()]
            return y

    memory = predict(Caching(), torch.rand(1000, 64))
    assert memory.training_peak_bytes == 4 * (64 * 65 + 4 * 64_000)
    assert memory.first_step_peak_bytes < memory.training_peak_bytes
    memory = predict(Caching().requires_grad_(False), torch.rand(1000, 64))
    assert memory.inference_peak_bytes == 4 * (64 * 65 + 3 * 64_000)


# ---- what is said


def test_the_parts_add_up_on_every_target() -> None:
    for target in ("cpu", "cuda"):
        memory = predict(blocks(), torch.rand(8, 64), target=target, optimizer="adam")
        for peak in (memory.inference, memory.training, memory.first_step):
            assert sum(peak.parts.values()) == peak.bytes
        assert max(memory.phase_peak_bytes.values()) == memory.training_peak_bytes
        assert max(p.live_bytes for p in memory.timeline) == memory.training_peak_bytes


def test_the_first_step_of_adam_is_lower_until_there_is_state() -> None:
    memory = predict(blocks(), torch.rand(512, 64), optimizer="adam")
    assert memory.training.phase == "backward"
    assert memory.first_step_peak_bytes < memory.training_peak_bytes


def test_cuda_has_three_levels() -> None:
    memory = predict(blocks(), torch.rand(512, 64), target="cuda", optimizer="adam")
    least, most = memory.process_bytes
    assert memory.training_peak_bytes <= memory.allocated_bytes <= memory.reserved_bytes < least < most
    assert memory.training_peak_bytes % 512 == 0
    assert memory.assumptions["optimizer"] == "adam (foreach, default settings)"
    on_cpu = predict(blocks(), torch.rand(512, 64), optimizer="adam")
    assert on_cpu.reserved_bytes is on_cpu.allocated_bytes is on_cpu.process_bytes is None


def test_cross_entropy_has_its_targets_among_the_inputs() -> None:
    x = torch.rand(32, 64)
    with_targets = predict(blocks(), x, loss="cross-entropy").training.parts["inputs"]
    assert with_targets - predict(blocks(), x).training.parts["inputs"] == 32 * 8


def test_a_model_without_trainable_parameters_has_figures_of_inference_alone() -> None:
    memory = predict(blocks().requires_grad_(False), torch.rand(8, 64))
    assert memory.training is None
    assert memory.saved_for_backward_bytes is None
    assert memory.peak is memory.inference
    assert "nothing can be trained" in memory.notices[0]
    assert max(p.live_bytes for p in memory.timeline) == memory.inference_peak_bytes


def test_a_step_that_cannot_be_followed_is_said_to_be_so() -> None:
    class OnlyInference(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("needs targets")
            return super().forward(x)

    memory = predict(OnlyInference(64, 8), torch.rand(8, 64))
    assert memory.training_peak_bytes is None
    assert "needs targets" in memory.notices[0]


def test_modules_say_what_they_save_and_what_was_live_while_they_ran() -> None:
    memory = predict(blocks(), torch.rand(100, 64))
    first = memory.modules["0"]
    assert first.own_saved_bytes == 0
    assert first.saved_bytes == sum(memory.modules[f"0.{i}"].saved_bytes for i in range(4))
    assert memory.modules[""].peak_bytes == memory.training_peak_bytes
    assert (
        memory.modules["0.1"].saved_bytes == 100 * 512 * 4
    )  # GELU keeps its input; the layer after it, its output


def test_the_block_is_that_of_the_design() -> None:
    block = predict(blocks(), torch.rand(8, 64), target="cuda").to_dict()
    assert {
        *("kind", "target", "saved_for_backward_bytes", "inference_peak_bytes", "training_peak_bytes"),
        *("first_step_peak_bytes", "at_peak", "peak_phase", "peak_module", "reserved_bytes"),
        *("process_bytes", "assumptions"),
    } <= block.keys()
    assert block["kind"] == "predicted"
    assert sum(block["at_peak"].values()) == block["training_peak_bytes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adan"}, "optimizer 'adan'"),
        ({"optimizer": "lion", "implementation": "fused"}, "no fused implementation"),
        ({"loss": "mse"}, "loss 'mse'"),
        ({"accumulate": 0}, "at least 1 pass"),
        ({"timeline_points": 1}, "at least 2 points"),
        ({"checkpoint": ("blocks.*",)}, "matches no module"),
        ({"freeze": ("head",)}, "matches no parameter"),
    ],
)
def test_wrong_words_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predict(blocks(), torch.rand(8, 64), **options)


def test_the_model_and_torch_are_left_alone() -> None:
    lstm, attention = torch._VF.lstm, functional.scaled_dot_product_attention
    model = copy_to(blocks(), META)
    state: Callable[[], Any] = lambda: [(n, p.requires_grad, p.grad) for n, p in model.named_parameters()]  # noqa: E731
    before, random = state(), torch.get_rng_state()
    args = (torch.rand(8, 64, device=META),)
    predict_memory(Call(model, args), options=MemoryOptions(freeze=("0",), checkpoint=("1",)), target="cpu")
    assert state() == before
    assert "forward" not in vars(model[1])
    assert torch.equal(torch.get_rng_state(), random)
    assert torch._VF.lstm is lstm
    assert functional.scaled_dot_product_attention is attention


def test_a_scripted_model_trains_its_copy() -> None:
    """TorchScript runs on the CPU alone; its step takes what that of the same layer without it takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch announces the end of TorchScript
        model = torch.jit.script(nn.Linear(64, 8))
    scripted, plain = (
        summarize(m, torch.rand(2, 64), target="cpu", optimizer="none").memory
        for m in (model, nn.Linear(64, 8))
    )
    assert scripted is not None
    assert plain is not None
    assert scripted.training == plain.training
    assert all(p.grad is None for p in model.parameters())


class ChecksItsValues(nn.Module):
    """As encoders do that drop layers at random and clamp what overflowed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            if self.training and torch.rand([]) < 0.1:
                continue
            x = self.layer(x)
            if self.training and not torch.isfinite(x).all():
                x = torch.clamp(x, -1e4, 1e4)
        return x


def test_nothing_is_left_out_at_random_and_values_are_finite() -> None:
    """The three layers keep their inputs for the backward pass: x itself, and two that are not inputs."""
    memory = predict(ChecksItsValues(), torch.rand(8, 64))
    assert memory.saved_for_backward_bytes == 2 * 8 * 64 * 4
    assert memory.assumptions["values"] == "all values are finite, no layer is left out at random"
    assert "values" not in predict(blocks(), torch.rand(8, 64)).assumptions


def test_a_lazy_layer_that_is_never_called_takes_no_memory() -> None:
    class Spare(nn.Module):
        def __init__(self, spare: nn.Module | None) -> None:
            super().__init__()
            self.spare, self.used = spare, nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    x = torch.rand(3, 4)
    with_it, without = (summarize(Spare(spare), x) for spare in (nn.LazyLinear(3), None))
    assert with_it.memory is not None
    assert without.memory is not None
    assert with_it.memory.training_peak_bytes == without.memory.training_peak_bytes
