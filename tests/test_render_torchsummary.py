"""torchsummary's text, held against the installed torchsummary 1.5.1 on every documented model."""

from __future__ import annotations

import contextlib
import io
import itertools
from dataclasses import replace

import pytest
import torch
import torchsummary
from hand_made_summary import LAYERS, TINY
from torch import nn

from modelsum.render import RenderOptions, render
from modelsum.summary import Model, Summary
from modelsum.trace.tracing import trace
from modelsum.zoo.registry import ARCHITECTURES

WHOLE = """\
----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Conv2d-1              [-1, 8, 4, 4]             224
       BatchNorm2d-2              [-1, 8, 4, 4]              16
              ReLU-3              [-1, 8, 4, 4]               0
            Conv2d-4              [-1, 8, 4, 4]              64
            Conv2d-5              [-1, 8, 4, 4]               0
          Residual-6              [-1, 8, 4, 4]               0
 AdaptiveAvgPool2d-7              [-1, 8, 1, 1]               0
            Linear-8                   [-1, 10]              90
            Linear-9                   [-1, 10]              10
================================================================
Total params: 440
Trainable params: 424
Non-trainable params: 16
----------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.01
Params size (MB): 0.00
Estimated Total Size (MB): 0.01
----------------------------------------------------------------
"""

# The original runs two images for real, so they are small; every one of its architectures takes 32x32.
SIDE = 32
CRASHES = tuple(name for name, known in ARCHITECTURES.items() if known.family == "DenseNet")
RUNS = tuple(name for name in ARCHITECTURES if name not in CRASHES)


def build(name: str) -> nn.Module:
    """The model with zeros for weights: no value is printed, and initialising them takes longer than the rest."""
    with torch.device("meta"):
        model = ARCHITECTURES[name].build()
    model = model.to_empty(device="cpu").eval()
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.detach().zero_()
    return model


def original(model: nn.Module, batch: int) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), torch.no_grad():
        torchsummary.summary(model, (3, SIDE, SIDE), batch_size=batch, device="cpu")
    return printed.getvalue()


def summarised(model: nn.Module, batch: int) -> Summary:
    image = torch.empty(batch, 3, SIDE, SIDE, device="meta")
    identity = Model(None, "object", type(model).__name__)
    return trace(
        model.to("meta"), (image,), {}, identity=identity, mode="eval", device=image.device, batch=batch
    )


def text(summary: Summary, batch: int = -1) -> str:
    return render(summary, "torchsummary", RenderOptions(torchsummary_batch=batch))


@pytest.mark.parametrize("name", RUNS)
def test_byte_for_byte_what_torchsummary_prints(name: str):
    model = build(name)
    printed = original(model, -1)
    assert text(summarised(model, 1)) == printed
