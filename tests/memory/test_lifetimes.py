"""The log of a model's storages: what is followed, to whom it is attributed, what is put back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import modelsum
from modelsum.memory import MemoryOptions
from modelsum.memory.log import BACKWARD, FORWARD, GRADIENTS, SAVED_ACTIVATIONS, Log
from modelsum.trace.call import Call
from modelsum.trace.inputs import move
from modelsum.trace.step.attention import _choice, _cpu_kernel_shares_keys, redirected
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.step.stage import Stage
from modelsum.trace.step.training import predict_memory

META = torch.device("meta")


def test_a_storage_is_logged_once_and_released_with_its_last_view() -> None:
    log = Log()
    with Lifetimes(log, "cpu"):
        x = torch.ones(10)
        view = x.view(2, 5)
        del x
        assert log.live() == 40
        del view
    assert [event.bytes for event in log.events] == [40, -40]


def test_in_place_ops_allocate_nothing_and_resizing_counts() -> None:
    log = Log()
    with Lifetimes(log, "cpu"):
        x = torch.ones(10)
        x.mul_(2)
        x.resize_(20)
    assert [event.bytes for event in log.events] == [40, 40]


def test_memory_inside_a_kernel_comes_and_goes() -> None:
    log = Log()
    a, b = torch.ones(3, 4, device=META), torch.ones(4, 5, device=META)
    with Lifetimes(log, "meta", {"mm": lambda a, b, out: 1000}):
        out = a @ b
    assert [event.bytes for event in log.events] == [60, 1000, -1000]
    del out


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def test_an_op_with_a_kernel_of_its_own_is_not_taken_apart() -> None:
    """torch could do silu_backward by a sigmoid and products; on the CPU and on CUDA one kernel does it."""
    log = Log()
    x = torch.empty(100, device="meta")
    with Lifetimes(log, "meta"), torch.no_grad():
        torch.ops.aten.silu_backward(x, x)
    assert [event.bytes for event in log.events] == [400, -400]


def test_the_backward_pass_is_attributed_to_the_module_whose_op_is_derived() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Squares(), nn.Linear(4, 2)).to(META)
    recording = Stage(Call(model, (torch.empty(3, 4, device=META),))).training(
        MemoryOptions(optimizer="none"), "cpu"
    )
    assert recording is not None
    order = [e.module for e in recording.first if e.phase == BACKWARD and e.bytes > 0 and e.module]
    assert list(dict.fromkeys(order)) == ["2", "1", "0"]
    assert {e.module for e in recording.first if e.phase == FORWARD} >= {"0", "1", "2"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vit_b_16", "convnext_tiny"])
def test_every_gradient_is_made_by_the_module_that_has_the_parameter(name: str) -> None:
    """BatchNorm counts its batches before it makes its autograd node: the node before is not its own."""
    models = pytest.importorskip("torchvision.models")
    with META:
        model, x = models.get_model(name), torch.empty(2, 3, 224, 224)
    stage = Stage(Call(model, (x,)))
    recording = stage.training(MemoryOptions(optimizer="none"), "cpu")
    assert recording is not None
    makers = {
        (event.module, event.bytes)
        for event in recording.first
        if event.bytes > 0 and recording.categories[event.storage] == GRADIENTS
    }
    owners = {
        (path, parameter.numel() * 4)
        for path, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
    }
    if name == "vit_b_16":  # nn.MultiheadAttention uses the weights of its projection itself
        owners = {(path.removesuffix(".out_proj"), size) for path, size in owners}
    assert makers == owners


def test_no_hook_is_left_behind() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).to(META)
    predict_memory(
        Call(model, (torch.empty(3, 4, device=META),)), options=MemoryOptions(optimizer="none"), target="cpu"
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_gradients_that_meet_are_added_in_place_as_without_a_mode() -> None:
    """x is used three times: autograd adds the second and third gradient to the first one's memory."""

    class Thrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(100, 100)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return torch.cat([y.sin(), y.cos(), y.exp()])

    from real_cpu import real_peaks

    x = torch.rand(1000, 100)
    real = real_peaks(Thrice(), (x,), lambda output: output.sum(), None)
    args, kwargs = move(((x,), {}), META)
    memory = predict_memory(
        Call(Thrice().to(META), args, kwargs), options=MemoryOptions(optimizer="none"), target="cpu"
    )
    assert memory.training_peak_bytes == pytest.approx(real.training, rel=1e-4)


# ---- saved for backward: how much is that of real hooks is said by test_saved.py


def test_what_is_saved_has_its_category_from_the_start() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Squares()).to(META)
    recording = Stage(Call(model, (torch.empty(3, 4, device=META),))).training(
        MemoryOptions(optimizer="none"), "cpu"
    )
    assert recording is not None
    saved = [n for n, c in enumerate(recording.categories) if c == SAVED_ACTIVATIONS]
    assert [e.bytes for e in recording.first if e.storage in saved and e.bytes > 0] == [48]


# ---- attention


def test_the_function_is_put_back_also_after_an_exception() -> None:
    original = functional.scaled_dot_product_attention

    def failing() -> None:
        with redirected("cpu"):
            assert functional.scaled_dot_product_attention is not original
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert functional.scaled_dot_product_attention is original


MASKS = {
    "none": None,
    "bool [L, S]": torch.ones(5, 5, dtype=torch.bool),
    "float [L, S]": torch.zeros(5, 5),
    "[N, heads, L, S]": torch.zeros(2, 4, 5, 5),
    "[N, 1, 1, S]": torch.zeros(2, 1, 1, 5),
    "with gradient": torch.zeros(5, 5, requires_grad=True),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize(
    ("dropout", "causal", "key_heads", "gqa", "value_size"),
    [
        (0.0, False, 4, False, 8),
        (0.1, False, 4, False, 8),
        (0.0, True, 4, False, 8),
        (0.0, False, 2, True, 8),
        (0.0, False, 4, False, 16),
    ],
)
def test_the_choice_for_the_cpu_is_the_one_that_torch_makes(
    mask: Tensor | None, dropout: float, causal: bool, key_heads: int, gqa: bool, value_size: int
) -> None:
    if causal and mask is not None:
        pytest.skip("torch refuses a mask with is_causal")
    query, key, value = (
        torch.rand(2, 4, 5, 8),
        torch.rand(2, key_heads, 5, 8),
        torch.rand(2, key_heads, 5, value_size),
    )
    flash = torch._fused_sdp_choice(query, key, value, mask, dropout, causal, enable_gqa=gqa) == 1
    shares = _cpu_kernel_shares_keys()
    chosen = _choice("cpu", "auto", shares, query, key, value, mask, dropout, causal, gqa)
    assert chosen == ("flash" if flash else "math")


@pytest.mark.parametrize(
    ("dtype", "masked", "kernel"),
    [
        (torch.float32, False, "efficient"),
        (torch.bfloat16, False, "flash"),
        (torch.bfloat16, True, "efficient"),
    ],
)
def test_the_choice_for_cuda_goes_by_dtype_and_mask(dtype: torch.dtype, masked: bool, kernel: str) -> None:
    q = torch.empty(2, 4, 5, 8, dtype=dtype, device=META)
    mask = torch.empty(5, 5, dtype=dtype, device=META) if masked else None
    with redirected("cuda") as chosen:
        out = functional.scaled_dot_product_attention(q, q, q, mask)
    assert out.shape == q.shape
    assert chosen.words == kernel


def test_multi_head_attention_is_redirected_too() -> None:
    model = nn.MultiheadAttention(16, 4, batch_first=True).to(META)
    x = torch.empty(2, 50, 16, device=META)
    figures = {}
    for attention in ("math", "auto"):
        memory = predict_memory(
            Call(model, (x, x, x), {"need_weights": False}),
            options=MemoryOptions(optimizer="none", attention=attention),
            target="cpu",
        )
        figures[attention] = memory.saved_for_backward_bytes
        assert ("flash" if attention == "auto" else "math") in memory.assumptions["attention"]
    scores = 2 * 4 * 50 * 50 * 4
    assert figures["math"] - figures["auto"] >= scores


class Replaces(nn.Module):
    """Holds what it made last, and makes it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.zeros(4, 64)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x * self.scale
        return torch.cat([self.kept, self.kept, self.kept])


@pytest.mark.parametrize("optimizer", ["none", "sgd"])
def test_what_a_forward_replaces_is_given_back(optimizer: str) -> None:
    """Input, what it holds now, and three times that; not what it held before."""
    x = torch.rand(4, 64)
    memory = modelsum.summarize(Replaces(), x, target="cpu", optimizer=optimizer).memory
    assert memory is not None
    assert memory.inference_peak_bytes == 5 * x.nbytes + 4
    # In the derivative: the three beside their sum; what they are made of is there in the first step too.
    assert memory.first_step_peak_bytes == memory.training_peak_bytes
