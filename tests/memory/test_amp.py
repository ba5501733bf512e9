"""Automatic mixed precision: what a step takes beside real steps under autocast, and how torch is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from real_cpu import RealPeaks, real_peaks
from torch import Tensor, nn
from torch.nn import functional
from torch_here import CPU_FLAGS

from modelsum.errors import UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.copying import copy_to
from modelsum.trace.inputs import move
from modelsum.trace.step.autocast import autocast_for
from modelsum.trace.step.autocast_policy import Policy, policy_of
from modelsum.trace.step.training import predict_memory

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import memory_models
from memory_cpu_runs import autocast, checkpointed, make_optimizer, real_loss

META = torch.device("meta")
with_the_kernels = pytest.mark.skipif(
    "avx512_bf16" not in CPU_FLAGS, reason="the rules for kernels were measured with AVX-512 BF16"
)
aten = torch.ops.aten


def predict(model: nn.Module, x: Tensor, target: str = "cpu", **options: Any) -> Memory:
    args, _ = move(((x,), {}), META)
    chosen = MemoryOptions(**{"optimizer": "none", "implementation": "for-loop"} | options)
    return predict_memory(Call(copy_to(model, META), args), options=chosen, target=target)


def really(model: nn.Module, x: Tensor, kind: str, optimizer: str, checkpoint: str | None) -> RealPeaks:
    loss, targets = real_loss(model, x, kind)
    if checkpoint:
        checkpointed(model, checkpoint)
    return real_peaks(model, (x,), loss, make_optimizer(optimizer, "for-loop"), targets, precision=autocast)


@with_the_kernels
@pytest.mark.parametrize(
    ("name", "optimizer", "checkpoint"),
    [
        ("squeezenet1_1", "adam", None),
        ("mobilenet_v2", "none", None),
        ("gpt", "adam", None),
        ("gpt", "momentum", "blocks.?"),
        ("vit_b_16", "none", None),
    ],
)
def test_real_runs_under_autocast_in_bfloat16(name: str, optimizer: str, checkpoint: str | None) -> None:
    torch.manual_seed(0)
    model, x = memory_models.build(name), memory_models.example(name, 4, 64)
    kind = memory_models.loss_of(name)
    memory = predict(
        model,
        x,
        optimizer=optimizer,
        loss=kind,
        amp="bf16",
        checkpoint=(checkpoint,) if checkpoint else (),
    )
    real = really(model, x, kind, optimizer, checkpoint)
    assert memory.inference_peak_bytes == pytest.approx(real.inference, rel=0.01)
    assert memory.training_peak_bytes == pytest.approx(real.training, rel=0.01)


def test_a_step_by_hand_on_cuda() -> None:
    """Two layers [64, 64] without bias on x [1024, 64]. At the end of the forward pass there are the copies
    of both weights and of x in bfloat16, the result of the first layer (2 bytes an element) and that of the
    second, which the float32 sum reads; saved are the copies of x, of the weights and of the first result.
    """
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    memory = predict(model, torch.rand(1024, 64), "cuda", amp="bf16")
    x, weight = 1024 * 64, 64 * 64
    # The first layer's input takes no gradient, so its weight is not needed for one: only the second's.
    assert memory.saved_for_backward_bytes == 2 * (x + x + weight)
    assert memory.phase_peak_bytes["forward"] >= 4 * (2 * weight + x) + 2 * (2 * weight + 3 * x)


def test_policies_are_the_same_before_and_while_autocast_is_played() -> None:
    """In a process of its own: asked for the first time inside, where names of torch's stand for others."""
    ops = ("mm.default", "bmm.default", "conv2d.default", "layer_norm.default", "gelu.default", "cat.default")
    code = f"""
import torch
from modelsum.trace.step.autocast import autocast_for
from modelsum.trace.step.autocast_policy import policy_of
ops = [getattr(getattr(torch.ops.aten, n.split(".")[0]), n.split(".")[1]) for n in {ops!r}]
for target in ("cpu", "cuda"):
    with autocast_for(target), torch.autocast(target, torch.bfloat16):
        print([policy_of(op, target).name for op in ops])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    for target, inside in zip(("cpu", "cuda"), done.stdout.splitlines(), strict=True):
        outside = [
            policy_of(getattr(getattr(aten, name.split(".")[0]), name.split(".")[1]), target).name
            for name in ops
        ]
        assert inside == str(outside), done.stderr


@pytest.mark.parametrize(
    ("op", "on_cpu", "on_cuda"),
    [
        (aten.mm.default, Policy.LOWER, Policy.LOWER),
        (aten.conv2d.default, Policy.LOWER, Policy.LOWER),
        (aten.mse_loss.default, Policy.FLOAT32, Policy.FLOAT32),
        (aten.relu.default, Policy.AS_IT_IS, Policy.AS_IT_IS),
        (aten.cat.default, Policy.WIDEST, Policy.AS_IT_IS),  # where it promotes by itself
        (aten.atan2.default, Policy.AS_IT_IS, Policy.WIDEST),
        (aten.pow.Tensor_Scalar, Policy.AS_IT_IS, Policy.FLOAT32),
    ],
)
def test_what_torchs_documentation_of_autocast_says(op: Any, on_cpu: Policy, on_cuda: Policy) -> None:
    assert (policy_of(op, "cpu"), policy_of(op, "cuda")) == (on_cpu, on_cuda)


@pytest.mark.parametrize("target", ["cuda", "cpu"])
def test_einsum_is_cast_as_a_whole_or_where_it_multiplies(target: str) -> None:
    """CUDA's list names einsum, the CPU's only the product inside; the other target was served before."""
    x = torch.rand(4, 4, device=META)
    for each in ("cpu", "cuda", target):
        with autocast_for(each), torch.autocast(each, torch.bfloat16):
            assert torch.einsum("ab,cb->ac", x, x).dtype is torch.bfloat16
            assert torch.nn.functional.layer_norm(x @ x, [4]).dtype is (
                torch.float32 if each == "cuda" else torch.bfloat16
            )


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": functional.linear,
    "einsum": lambda x, w: torch.einsum("ab,cb->ac", x, w),
    "norm": lambda x, w: (x @ w.t()).norm(),
    "layer_norm": lambda x, w: functional.layer_norm(x @ w.t(), [8]),
    "mixed cat": lambda x, w: torch.cat([x, x @ w.t()]),
    "mixed sum": lambda x, w: x + x @ w.t(),
    "loss": lambda x, w: functional.mse_loss(x @ w.t(), x),
    "float64": lambda x, w: functional.linear(x.double(), w.double()),
    "product": lambda x, w: (x @ w.t()).prod(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_have_the_types_of_real_autocast(name: str) -> None:
    """And gradients have the type of their leaf, through casts that autograd knows."""
    x, w = torch.rand(8, 8), torch.rand(8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        real = FUNCTIONS[name](x, w)
    weight = w.detach().to(META).requires_grad_()
    with autocast_for("cpu"), torch.autocast("cpu", torch.bfloat16):
        played = FUNCTIONS[name](x.to(META), weight)
    assert played.dtype is real.dtype
    played.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype is torch.float32


def test_a_models_own_block_without_autocast_computes_in_float32() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            seen.append(y.dtype)
            with torch.autocast(x.device.type, enabled=False):
                y = self.layer(y.float())
                seen.append(y.dtype)
            return y

    seen: list[torch.dtype] = []
    predict(Careful(), torch.rand(2, 8), "cuda", amp="bf16")
    assert seen[:2] == [torch.bfloat16, torch.float32]


def test_torch_is_left_as_it_was() -> None:
    names = ("set_autocast_enabled", "is_autocast_enabled", "get_autocast_dtype", "clear_autocast_cache")
    before = [getattr(torch, name) for name in names], torch.autocast.__init__
    predict(nn.Linear(4, 4), torch.rand(2, 4), amp="bf16")
    with pytest.raises(RuntimeError), autocast_for("cuda"), torch.autocast("cuda", torch.bfloat16):
        raise RuntimeError
    assert ([getattr(torch, name) for name in names], torch.autocast.__init__) == before
    assert not torch.is_autocast_enabled("cpu")
    x = torch.empty(2, 4, device=META)
    assert nn.Linear(4, 4, device=META)(x).dtype is torch.float32


def test_a_gradient_scaler_adds_its_numbers() -> None:
    """The scale and the growth tracker, 4 bytes each, in blocks of 512."""
    model, x = nn.Linear(64, 64), torch.rand(8, 64)
    bf16, fp16 = (predict(model, x, "cuda", amp=amp, optimizer="sgd") for amp in ("bf16", "fp16"))
    assert bf16.training_peak_bytes < fp16.training_peak_bytes <= bf16.training_peak_bytes + 4 * 512
    assert "gradients scaled" in fp16.assumptions["amp"]


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="amp 'bfloat8'"):
        MemoryOptions(amp="bfloat8")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("amp", ["bf16", "fp16", None])
def test_real_steps_on_cuda(amp: str | None) -> None:
    device = torch.device("cuda")
    model, x = memory_models.build("gpt").to(device), memory_models.example("gpt", 8, 64).to(device)
    memory = predict(model.cpu(), x.cpu(), "cuda", optimizer="adam", implementation="foreach", amp=amp)
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), foreach=True)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, None: None}[amp]
    scaler = torch.amp.GradScaler("cuda", enabled=amp == "fp16")
    for _ in range(3):
        torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype) if dtype else nullcontext():
            loss = model(x).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert memory.allocated_bytes == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.05)
