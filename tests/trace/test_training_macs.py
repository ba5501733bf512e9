"""Multiply-accumulates of a training step, beside what torch's own counter sees of a real one."""

from __future__ import annotations

import copy
from fnmatch import fnmatch
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import modelsum


def real_macs(model: nn.Module, *x: Tensor, freeze: tuple[str, ...] = ()) -> int:
    """Of a forward and backward pass on the CPU, attention written out; the counter has 2 FLOPs a MAC."""
    model = copy.deepcopy(model).train()
    for name, parameter in model.named_parameters():
        if any(fnmatch(name, f"{pattern}.*") for pattern in freeze):
            parameter.requires_grad_(False)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        output = model(*x)
        (output if isinstance(output, Tensor) else output[0]).sum().backward()
    return counter.get_total_flops() // 2


def predicted(model: nn.Module, *x: Tensor, **options: Any) -> modelsum.Summary:
    return modelsum.summarize(model, *x, target="cpu", **{"attention": "math"} | options)


IMAGE = torch.rand(2, 3, 32, 32)
MODELS: dict[str, tuple[Any, tuple[Tensor, ...]]] = {
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 4, 5)), (IMAGE,)),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 4, 2)), (IMAGE,)),
    "3d": (
        lambda: nn.Sequential(nn.Conv3d(3, 8, 3, 2), nn.ConvTranspose3d(8, 4, 4)),
        (torch.rand(2, 3, 9, 9, 9),),
    ),
    "linear": (lambda: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)), (torch.rand(5, 7, 8),)),
    "gru": (lambda: nn.GRU(8, 16, 2, bidirectional=True), (torch.rand(5, 2, 8),)),
    "transformer": (
        lambda: nn.Transformer(32, 4, 1, 1, 64, batch_first=True),
        (torch.rand(2, 10, 32), torch.rand(2, 12, 32)),
    ),
    "resnet18": (torchvision.models.resnet18, (IMAGE,)),
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32), (IMAGE,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_step_has_the_macs_of_a_real_one(name: str) -> None:
    build, x = MODELS[name]
    assert predicted(build(), *x).totals.training_macs == real_macs(build(), *x)


@pytest.mark.parametrize("freeze", [("conv1", "layer1", "layer2"), ("conv1", "bn1", "layer*"), ("layer3",)])
def test_what_is_frozen_is_left_out_as_autograd_leaves_it_out(freeze: tuple[str, ...]) -> None:
    model = torchvision.models.resnet18()
    totals = predicted(model, IMAGE, freeze=freeze).totals
    assert totals.training_macs == real_macs(model, IMAGE, freeze=freeze)


def test_groups_are_as_many_small_convolutions() -> None:
    """torch's counter has the gradient of a grouped weight `groups` times: it is compared by its parts."""
    grouped = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=4)).append(nn.Flatten())
    part = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 3)).append(nn.Flatten())
    assert predicted(grouped, IMAGE).totals.training_macs == 4 * real_macs(part, IMAGE)


def test_a_step_is_its_passes_and_what_a_checkpoint_does_again() -> None:
    inner = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
    model, x = nn.Sequential(inner, nn.Linear(16, 4)), torch.rand(5, 8)
    plain = predicted(model, x).totals
    first, second = 5 * 8 * 16, 5 * 16 * 4
    assert (plain.macs, plain.backward_macs) == (first + second, first + 2 * second)
    assert predicted(model, x, accumulate=3).totals.training_macs == 3 * plain.training_macs
    assert predicted(model, x, checkpoint=("0",)).totals.backward_macs == plain.backward_macs + first


def test_the_derivative_of_fused_attention_is_five_matmuls() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            x = x * self.scale
            return nn.functional.scaled_dot_product_attention(x, x, x)

    pairs, d = 2 * 3 * 5 * 5, 16
    totals = predicted(Attention(), torch.rand(2, 3, 5, 16), attention="flash").totals
    assert (totals.macs, totals.backward_macs) == (2 * pairs * d, 5 * pairs * d)


def test_a_recurrent_layer_derives_what_goes_in_and_its_weights_at_every_step() -> None:
    totals = predicted(nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 16)), torch.rand(5, 2, 8)).totals
    forward = 5 * 2 * (8 * 4 * 16 + 16 * 4 * 16)
    assert totals.backward_macs == 2 * forward + 5 * 2 * 8 * 8


def test_a_deformable_convolution_derives_its_columns_and_its_weight() -> None:
    class Deformable(torchvision.ops.DeformConv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x, torch.zeros(2, 18, 6, 6, device=x.device))

    totals = predicted(Deformable(3, 4, 3), torch.rand(2, 3, 8, 8)).totals
    assert (totals.macs, totals.backward_macs) == (2 * 4 * 36 * 27, 2 * 2 * 4 * 36 * 27)


def test_bilinear_derives_as_products_of_three() -> None:
    """The weight's gradient is as much work as the result; what goes in wants none."""
    totals = predicted(nn.Bilinear(4, 5, 6), torch.rand(3, 4), torch.rand(3, 5)).totals
    assert (totals.macs, totals.backward_macs) == (3 * 4 * 5 * 6, 3 * 4 * 5 * 6)


def test_an_op_without_a_rule_is_named() -> None:
    class Distances(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(super().forward(x), x, p=1)

    summary = predicted(Distances(8, 8), torch.rand(40, 8))
    assert summary.memory is not None
    assert "aten._cdist_backward" in summary.memory.uncounted_ops
    assert "without aten._cdist_backward)" in str(summary)


def test_where_nothing_is_trained_there_is_no_step() -> None:
    totals = predicted(nn.ReLU(), IMAGE).totals
    assert (totals.backward_macs, totals.training_macs) == (None, None)
    assert modelsum.summarize(nn.Linear(2, 2), torch.rand(1, 2), memory=False).totals.training_macs is None
