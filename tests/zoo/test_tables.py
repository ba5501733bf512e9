"""The rows that a torchsummary table has for the documented networks.

torchsummary gives a row to every call of every submodule that is neither nn.Sequential nor
nn.ModuleList; "forward/backward" is twice the rows' output elements in float32.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from modelsum import zoo

# Notes' tables, one 3x600x600 image: parameters, input, forward/backward, parameter and total MB as
# printed, number of rows.
DOCUMENTED_TABLES = {
    "mnasnet0_5": (2_218_512, "4.12", "501.67", "8.46", "514.26", 157),
    "mobilenet_v2": (3_504_872, "4.12", "1104.27", "13.37", "1121.76", 158),
    "densenet121": (7_978_856, "4.12", "2229.69", "30.44", "2264.25", 428),
    "resnet50": (25_557_032, "4.12", "2069.00", "97.49", "2170.61", 174),
    "vgg16": (138_357_544, "4.12", "1566.19", "527.79", "2098.10", 39),
    "squeezenet1_1": (1_235_496, "4.12", "403.69", "4.71", "412.52", 65),
}

Row = tuple[str, tuple[int, ...], int]


def rows(network: nn.Module, shape: tuple[int, ...]) -> list[Row]:
    """(class, output shape, own weight and bias elements) a row, in the order of the calls."""
    found: list[Row] = []

    def record(module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        own = sum(
            p.numel()
            for p in (getattr(module, "weight", None), getattr(module, "bias", None))
            if p is not None
        )
        found.append((type(module).__name__, tuple(output.shape), own))

    for module in network.modules():
        if module is not network and not isinstance(module, (nn.Sequential, nn.ModuleList)):
            module.register_forward_hook(record)
    with torch.no_grad():
        network(torch.empty(shape, device="meta"))
    return found


@pytest.mark.parametrize("name", DOCUMENTED_TABLES)
def test_the_documented_table_comes_out_to_the_last_digit(name: str) -> None:
    with torch.device("meta"):
        network = zoo.build(name).eval()
    found = rows(network, (1, 3, 600, 600))
    params = sum(p.numel() for p in network.parameters())
    input_mb = 3 * 600 * 600 * 4 / 2**20
    forward_backward_mb = 2 * 4 * sum(torch.Size(shape).numel() for _, shape, _ in found) / 2**20
    params_mb = params * 4 / 2**20
    printed = [f"{mb:.2f}" for mb in (input_mb, forward_backward_mb, params_mb)]
    total = f"{input_mb + forward_backward_mb + params_mb:.2f}"
    assert (params, *printed, total, len(found)) == DOCUMENTED_TABLES[name]
    assert sum(own for _, _, own in found) == params


@pytest.mark.parametrize(
    "name",
    [
        *("mnasnet0_5", "mobilenet_v2", "densenet121", "resnet18", "resnet50", "vgg11"),
        *("vgg11_bn", "squeezenet1_0", "squeezenet1_1"),
    ],
)
def test_the_rows_are_those_of_torchvisions_network(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        ours, theirs = zoo.build(name), getattr(models, name)()
    assert rows(ours, (2, 3, 224, 224)) == rows(theirs, (2, 3, 224, 224))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "squeezenet1_1"])
def test_torchsummary_prints_the_same_text_for_both(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    models = pytest.importorskip("torchvision.models")
    torchsummary = pytest.importorskip("torchsummary")
    texts = []
    for network in (zoo.build(name), getattr(models, name)()):
        torchsummary.summary(network, (3, 64, 64), device="cpu")
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "Total params" in texts[0]
