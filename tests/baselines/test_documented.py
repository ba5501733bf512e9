"""The stored tables, and what is said of a summary beside them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hand_made_summary import TINY

from modelsum.baselines import against_documented, documented_names, find
from modelsum.baselines.documented import figures
from modelsum.summary import Baseline, Difference, Input, Model, Summary, TorchsummaryTotals, Totals
from modelsum.trace.call import Call
from modelsum.trace.tracing import trace
from modelsum.zoo.registry import ARCHITECTURES

# What the notes print for one image of 3x600x600. All parameters are trainable.
#           name            title          params   input  fwd/bwd  params    total  calls
TABLES = {
    "mnasnet0_5": ("MNASNet", 2_218_512, 4.12, 501.67, 8.46, 514.26, 157),
    "mobilenet_v2": ("MobileNetV2", 3_504_872, 4.12, 1104.27, 13.37, 1121.76, 158),
    "densenet121": ("DenseNet", 7_978_856, 4.12, 2229.69, 30.44, 2264.25, 428),
    "resnet50": ("ResNet50", 25_557_032, 4.12, 2069.00, 97.49, 2170.61, 174),
    "vgg16": ("VGG16", 138_357_544, 4.12, 1566.19, 527.79, 2098.10, 39),
    "squeezenet1_1": ("SqueezeNet", 1_235_496, 4.12, 403.69, 4.71, 412.52, 65),
}

#: ResNet50 as its table has it; bytes that round to the documented MB.
RESNET50 = replace(
    TINY,
    model=Model("resnet50", "documented", "ResNet"),
    inputs=(Input(None, (1, 3, 600, 600), "float32"),),
    batch=1,
    totals=Totals(
        params=25_557_032,
        trainable_params=25_557_032,
        param_bytes=4 * 25_557_032,
        buffers=0,
        buffer_bytes=0,
        packed_params=0,
        macs=29_744_311_296,
        input_bytes=4_320_000,
        module_calls=175,
    ),
    # 2169503192 / 2**20 = 2069.0; 4320000 / 2**20 = 4.1199; 102228128 / 2**20 = 97.4923
    torchsummary=TorchsummaryTotals(174, 4_320_000, 2_169_503_192, 102_228_128),
)

NOTHING = Baseline("none")
OTHER_INPUT = Baseline("none", "documented table of ResNet50 at 3x600x600", input="3x600x600")


def test_the_six_documented_names():
    assert documented_names() == tuple(TABLES)
    assert set(documented_names()) <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", TABLES)
def test_the_stored_figures_are_those_of_the_notes(name: str):
    title, params, input_mb, forward_backward_mb, params_mb, total_mb, calls = TABLES[name]
    table = find(name)
    assert table is not None
    assert (table.source, table.name) == (f"documented table of {title} at 3x600x600", name)
    assert (table.input, table.batch, table.dtype) == ((3, 600, 600), 1, "float32")
    assert table.figures == {
        "params": params,
        "trainable_params": params,
        "input_mb": input_mb,
        "forward_backward_mb": forward_backward_mb,
        "params_mb": params_mb,
        "total_mb": total_mb,
        "hooked_calls": calls,
    }
    assert isinstance(table.figures["params"], int)


@pytest.mark.parametrize("name", TABLES)
def test_every_documented_model_matches_its_table_today(name: str):
    with torch.device("meta"):
        model, image = ARCHITECTURES[name].build(), torch.empty(1, 3, 600, 600)
    identity = Model(name, "documented", type(model).__name__)
    summary = trace(Call(model, (image,)), identity=identity, mode="eval", device=image.device, batch=1)
    baseline = against_documented(summary)
    assert baseline.status == "match"
    assert [figure.documented for figure in baseline.figures] == [TABLES[name][1], *TABLES[name][1:]]


def test_names_are_found_as_the_zoo_finds_them():
    assert find("ResNet50") is find("resnet50")
    assert find("MNASNet0-5") is find("mnasnet0_5")
    assert find("resnet18") is None


def test_a_match_has_every_figure_and_no_difference():
    baseline = against_documented(RESNET50)
    assert (baseline.status, baseline.source) == ("match", "documented table of ResNet50 at 3x600x600")
    assert len(baseline.figures) == 7
    assert baseline.differences == ()


def test_sizes_are_compared_to_the_two_decimals_that_are_documented():
    """2068.996 MB is the documented 2069.00; 2068.994 is not."""

    def forward_backward(mb: float) -> Summary:
        sizes = replace(RESNET50.torchsummary, forward_backward_bytes=int(mb * 2**20))
        return replace(RESNET50, torchsummary=sizes)

    assert against_documented(forward_backward(2068.996)).status == "match"
    assert against_documented(forward_backward(2068.994)).status == "changed"


def test_a_changed_summary_has_each_figure_documented_and_now():
    changed = replace(
        RESNET50,
        totals=replace(RESNET50.totals, params=25_557_033, trainable_params=9408),
        torchsummary=replace(RESNET50.torchsummary, rows=175),
    )
    baseline = against_documented(changed)
    assert baseline.status == "changed"
    assert baseline.figures == (
        Difference("params", 25_557_032, 25_557_033),
        Difference("trainable_params", 25_557_032, 9408),
        Difference("input_mb", 4.12, 4.12),
        Difference("forward_backward_mb", 2069.00, 2069.00),
        Difference("params_mb", 97.49, 97.49),
        Difference("total_mb", 2170.61, 2170.61),
        Difference("hooked_calls", 174, 175),
    )
    assert [figure.figure for figure in baseline.differences] == [
        "params",
        "trainable_params",
        "hooked_calls",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "train"},
        {"device": "cpu"},
        {"batch": None},  # the shape was given with its batch of 1
        {"model": Model("ResNet50", "documented", "ResNet")},
    ],
)
def test_mode_device_and_how_the_shape_was_given_do_not_matter(changes: dict[str, object]):
    assert against_documented(replace(RESNET50, **changes)).status == "match"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": Model("torchvision/resnet50", "torchvision", "ResNet")},
        {"model": Model(None, "object", "ResNet")},
        {"model": Model("resnet18", "documented", "ResNet")},
        {"executed": False},
    ],
)
def test_there_is_no_table_for_another_model_or_a_forward_that_failed(changes: dict[str, object]):
    assert against_documented(replace(RESNET50, **changes)) == NOTHING


def test_there_is_no_table_for_a_model_with_other_constructor_arguments():
    assert against_documented(RESNET50, options_changed=True) == NOTHING


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (Input(None, (1, 3, 224, 224), "float32"),)},
        {"inputs": (Input(None, (2, 3, 600, 600), "float32"),), "batch": 2},
        {"inputs": RESNET50.inputs * 2},
        {"inputs": (Input(None, (1, 3, 600, 600), "float16"),), "dtype": "float16"},
        {"dtype": "float64"},
    ],
)
def test_a_table_for_another_input_is_named_but_not_compared(changes: dict[str, object]):
    assert against_documented(replace(RESNET50, **changes)) == OTHER_INPUT


def test_the_figures_of_a_summary():
    assert figures(RESNET50) == {
        "params": 25_557_032,
        "trainable_params": 25_557_032,
        "input_mb": 4.12,
        "forward_backward_mb": 2069.0,
        "params_mb": 97.49,
        "total_mb": 2170.61,
        "hooked_calls": 174,
    }


def test_baselines_do_not_import_torch():
    code = "import sys, modelsum.baselines as b; b.documented_names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
