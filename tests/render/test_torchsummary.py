"""torchsummary's text, held against the installed torchsummary 1.5.1 on every documented model."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torchsummary
from every_day import every_nth
from hand_made_summary import LAYERS, TINY
from torch import nn

from modelsum.render import RenderOptions, render
from modelsum.summary import Model, Summary
from modelsum.trace.call import Call
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With the cores in use by others, small convolutions take a hundred times longer on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str) -> nn.Module:
    """The model with zeros for weights: no value is printed, and to initialise them takes the longest."""
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
        Call(model.to("meta"), (image,)), identity=identity, mode="eval", device=image.device, batch=batch
    )


def text(summary: Summary, batch: int = -1) -> str:
    return render(summary, "torchsummary", RenderOptions(torchsummary_batch=batch))


def test_the_whole_text():
    assert text(TINY) == WHOLE


@pytest.mark.parametrize("name", every_nth(RUNS, 6))
def test_byte_for_byte_what_torchsummary_prints(name: str):
    model = build(name)
    printed = original(model, -1)
    assert text(summarised(model, 1)) == printed


def test_byte_for_byte_with_a_batch_size():
    model = build("squeezenet1_1")
    printed = original(model, 4)
    assert "[4, 64, 15, 15]" in printed
    assert text(summarised(model, 4), 4) == printed


def test_the_batch_that_was_run_does_not_show_in_the_default_text():
    model = build("squeezenet1_1")
    assert text(summarised(model, 8)) == text(summarised(model, 1))


@pytest.mark.parametrize("name", every_nth(CRASHES, 3))
def test_the_original_crashes_on_densenet(name: str):
    with pytest.raises(AttributeError, match="'list' object has no attribute 'size'"):
        original(build(name), -1)


def test_densenet_has_its_documented_totals():
    with torch.device("meta"):
        model, image = ARCHITECTURES["densenet121"].build().eval(), torch.empty(1, 3, 600, 600)
    identity = Model("densenet121", "documented", "DenseNet")
    summary = trace(Call(model, (image,)), identity=identity, mode="eval", device=image.device, batch=1)
    *rows, totals = text(summary).rpartition("=" * 64)
    assert "".join(rows).count("\n") == 3 + 428
    assert (
        totals
        == """
Total params: 7,978,856
Trainable params: 7,978,856
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 4.12
Forward/backward pass size (MB): 2229.69
Params size (MB): 30.44
Estimated Total Size (MB): 2264.25
----------------------------------------------------------------
"""
    )


def test_frozen_layers_are_non_trainable_as_in_the_original():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    model[0].requires_grad_(False)
    printed = original(model, -1)
    assert "Non-trainable params: 224\n" in printed
    assert text(summarised(model, 1)) == printed


def outputs(*trees: object) -> list[str]:
    """The rows of a summary whose layers put these out, as shape and params."""
    root = replace(LAYERS[0], output_shapes=None)
    rows = [
        replace(LAYERS[4], parent=0, exit_order=order, output_shapes=tree) for order, tree in enumerate(trees)
    ]
    lines = text(replace(TINY, layers=(root, *rows))).splitlines()
    return [line.split(maxsplit=1)[1].rsplit(maxsplit=1)[0].strip() for line in lines[3 : 3 + len(trees)]]


def test_outputs_that_the_original_crashes_on_are_lists_of_shapes():
    assert outputs([(2, 7, 16), [(4, 2, 16), (4, 2, 16)]], {"out": (2, 10), "aux": None}, None, ()) == [
        "[[-1, 7, 16], [-1, 2, 16], [-1, 2, 16]]",
        "[[-1, 10]]",
        "[]",
        "[]",
    ]


def test_shapes_that_were_taken_literally_are_sized_as_they_are():
    literal = replace(TINY, batch=None, torchsummary=replace(TINY.torchsummary, input_bytes=3 * 2**20))
    assert "Input size (MB): 3.00\n" in text(literal)


def test_a_model_without_parameters_has_zero():
    bare = replace(
        TINY,
        layers=(LAYERS[0], replace(LAYERS[4], parent=0)),
        totals=replace(TINY.totals, params=0, trainable_params=0),
        torchsummary=replace(TINY.torchsummary, params_bytes=0),
    )
    assert "Total params: 0\nTrainable params: 0\nNon-trainable params: 0\n" in text(bare)
