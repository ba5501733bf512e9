"""MnasNet from a list of blocks: points of the factorized hierarchical search space."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from modelsum import zoo
from modelsum.errors import ArgumentError
from modelsum.zoo.mnasnet_blocks import PUBLISHED, MnasBlock, read_blocks

# The notes' example of a block: inverted bottleneck, 5x5, residual skip, four layers.
EXAMPLE = ("mbconv", 5, 0, "identity", 24, 4)


def build(*blocks: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return zoo.build("mnasnet", blocks=list(blocks), **options).eval()


def convolutions(network: nn.Module) -> list[tuple[int, int, int, int, bool]]:
    """(in, out, kernel, stride, depthwise) of every convolution behind the first and ahead of the last."""
    found = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.groups > 1)
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    return found[1:-1]


def test_an_inverted_bottleneck_block_repeats_expansion_depthwise_and_projection() -> None:
    one_layer = [(24, 144, 1, 1, False), (144, 144, 5, 1, True), (144, 24, 1, 1, False)]
    first = [(32, 192, 1, 1, False), (192, 192, 5, 1, True), (192, 24, 1, 1, False)]
    assert convolutions(build(EXAMPLE)) == [*first, *one_layer, *one_layer, *one_layer]


def test_a_separable_block_repeats_depthwise_and_pointwise() -> None:
    network = build(("sepconv", 3, 0, "none", 16, 2))
    assert convolutions(network) == [
        *[(32, 32, 3, 1, True), (32, 16, 1, 1, False)],
        *[(16, 16, 3, 1, True), (16, 16, 1, 1, False)],
    ]


def test_a_regular_block_repeats_one_convolution() -> None:
    network = build(("conv", 5, 0, "none", 16, 2))
    assert convolutions(network) == [(32, 16, 5, 1, False), (16, 16, 5, 1, False)]


def test_squeeze_and_excitation_narrows_to_a_quarter_of_the_layers_input() -> None:
    """In a bottleneck it gates the expanded channels: 32 -> 192, squeezed to 8."""
    network = build(("mbconv", 3, 0.25, "none", 16, 1))
    assert convolutions(network) == [
        *[(32, 192, 1, 1, False), (192, 192, 3, 1, True)],
        *[(192, 8, 1, 1, False), (8, 192, 1, 1, False)],
        (192, 16, 1, 1, False),
    ]


@pytest.mark.parametrize("conv", ["conv", "sepconv", "mbconv"])
def test_every_kind_takes_squeeze_and_excitation(conv: str) -> None:
    squeezed = sum(
        type(m).__name__ == "SqueezeExcitation" for m in build((conv, 3, 0.25, "none", 8, 3)).modules()
    )
    assert squeezed == 3


def test_a_block_without_stride_takes_that_of_the_skeleton_at_its_position() -> None:
    """Tan et al. 2019: the skeleton fixes the strides of the seven blocks; one behind them has 1."""
    network = build(*[("conv", 3, 0, "none", 8, 2)] * 8)
    first_of_each_block = [stride for *_, stride, _ in convolutions(network)][::2]
    assert first_of_each_block == [1, 2, 2, 2, 1, 2, 1, 1]
    assert {stride for *_, stride, _ in convolutions(network)[1::2]} == {1}


def test_stride_and_expansion_can_be_given() -> None:
    block = {"conv": "mbconv", "kernel": 3, "se_ratio": 0, "skip": "none", "filters": 16, "layers": 1}
    network = build({**block, "stride": 2, "expansion": 3})
    assert convolutions(network) == [(32, 96, 1, 1, False), (96, 96, 3, 2, True), (96, 16, 1, 1, False)]


def test_a_dict_a_tuple_and_a_block_are_three_spellings_of_one_network() -> None:
    names = ("conv", "kernel", "se_ratio", "skip", "filters", "layers")
    spellings = [EXAMPLE, list(EXAMPLE), dict(zip(names, EXAMPLE, strict=True)), MnasBlock(*EXAMPLE)]
    assert len({str(build(spelling)) for spelling in spellings}) == 1


def skipping(skip: str) -> nn.Module:
    """A layer that keeps 16 channels, its last norm zeroed: it computes its skip alone."""
    torch.manual_seed(0)
    network = zoo.build("mnasnet", blocks=[("mbconv", 3, 0, skip, 16, 2)]).eval()
    layer = network.layers[3][1]
    nn.init.zeros_(layer.layers[-1].weight)
    return layer


def test_skip_identity_adds_the_input() -> None:
    x = torch.rand(1, 16, 6, 6)
    torch.testing.assert_close(skipping("identity")(x), x)


def test_skip_pool_adds_the_input_under_average_pooling() -> None:
    x = torch.rand(1, 16, 6, 6)
    torch.testing.assert_close(skipping("pool")(x), nn.functional.avg_pool2d(x, 3, stride=1, padding=1))


def test_skip_none_adds_nothing() -> None:
    x = torch.rand(1, 16, 6, 6)
    torch.testing.assert_close(skipping("none")(x), torch.zeros_like(x))


def test_a_layer_that_changes_the_shape_has_no_skip() -> None:
    network = build(("mbconv", 3, 0, "identity", 16, 2, 2))
    assert [layer.apply_residual for layer in network.layers[3]] == [False, True]


@pytest.mark.parametrize("conv", ["conv", "sepconv", "mbconv"])
@pytest.mark.parametrize("skip", ["pool", "identity", "none"])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("se_ratio", [0, 0.25])
def test_every_point_of_the_space_runs(conv: str, skip: str, kernel: int, se_ratio: float) -> None:
    network = build((conv, kernel, se_ratio, skip, 24, 3), num_classes=4)
    with torch.no_grad():
        assert network(torch.empty(2, 3, 33, 47, device="meta")).shape == (2, 4)


def test_filters_are_taken_as_given_and_rounded_to_eights_only_when_scaled() -> None:
    blocks = [("conv", 3, 0, "none", 20, 1)]
    assert convolutions(build(*blocks))[0][:2] == (32, 20)
    assert convolutions(build(*blocks, alpha=0.5))[0][:2] == (16, 16)


def test_mnasnet_builds_a1_where_it_is_given_no_blocks() -> None:
    with torch.device("meta"):
        assert str(zoo.build("mnasnet")) == str(zoo.build("mnasnet_a1"))


def test_a_published_list_can_be_named_or_written_out() -> None:
    for name, blocks in PUBLISHED.items():
        assert read_blocks(name) == read_blocks(list(blocks))


@pytest.mark.parametrize(
    ("name", "alpha", "timms"),
    [
        ("mnasnet_a1", 1.0, "semnasnet_100"),
        ("mnasnet_a1", 0.5, "semnasnet_050"),
        ("mnasnet_a1", 0.75, "semnasnet_075"),
        ("mnasnet_a1", 1.4, "semnasnet_140"),
        ("mnasnet_small", 1.0, "mnasnet_small"),
    ],
)
def test_every_convolution_and_norm_is_that_of_timms_network(name: str, alpha: float, timms: str) -> None:
    """In order, by shape, stride and padding; timm names and nests them otherwise."""
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        ours, theirs = zoo.build(name, alpha=alpha), timm.create_model(timms)

    def layers(network: nn.Module) -> list[tuple[Any, ...]]:
        return [
            (tuple(m.weight.shape), getattr(m, "stride", None), getattr(m, "padding", None), m.bias is None)
            for m in network.modules()
            if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))
        ]

    assert layers(ours) == layers(theirs)


GOOD = {"conv": "mbconv", "kernel": 3, "se_ratio": 0.25, "skip": "identity", "filters": 16, "layers": 2}

BAD: list[tuple[Any, str]] = [
    ({**GOOD, "conv": "dwconv"}, "blocks[1].conv must be one of 'conv', 'sepconv', 'mbconv', not 'dwconv'"),
    ({**GOOD, "kernel": 7}, "blocks[1].kernel must be one of 3, 5, not 7"),
    ({**GOOD, "kernel": True}, "blocks[1].kernel must be one of 3, 5, not True"),
    ({**GOOD, "se_ratio": 0.5}, "blocks[1].se_ratio must be one of 0, 0.25, not 0.5"),
    ({**GOOD, "skip": None}, "blocks[1].skip must be one of 'pool', 'identity', 'none', not None"),
    ({**GOOD, "filters": 0}, "blocks[1].filters must be a whole number of at least 1, not 0"),
    ({**GOOD, "layers": 1.0}, "blocks[1].layers must be a whole number of at least 1, not 1.0"),
    ({**GOOD, "stride": 3}, "blocks[1].stride must be one of 1, 2, not 3"),
    ({**GOOD, "expansion": 0}, "blocks[1].expansion must be a whole number of at least 1, not 0"),
    (
        {**GOOD, "conv": "conv", "expansion": 6},
        "blocks[1].expansion is for conv='mbconv'; a conv does not expand",
    ),
    (
        {**GOOD, "filter": 16},
        "blocks[1] has no field 'filter'; "
        "its fields are conv, kernel, se_ratio, skip, filters, layers, stride, expansion",
    ),
    (
        {"conv": "conv", "kernel": 3},
        "blocks[1] lacks se_ratio, skip, filters, layers; "
        "a block decides (conv, kernel, se_ratio, skip, filters, layers)",
    ),
    (
        ("conv", 3, 0),
        "blocks[1] has 3 fields; a block decides (conv, kernel, se_ratio, skip, filters, layers)",
    ),
    (
        "mbconv",
        "blocks[1] must be a dict, or a tuple (conv, kernel, se_ratio, skip, filters, layers), not 'mbconv'",
    ),
]


@pytest.mark.parametrize(("block", "message"), BAD)
def test_a_bad_block_is_refused_by_index_and_field_with_what_is_valid(block: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        read_blocks([GOOD, block])


@pytest.mark.parametrize("blocks", ["A9", [], None, 7, {"conv": "conv"}])
def test_blocks_are_a_list_or_a_published_name(blocks: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        zoo.build("mnasnet", blocks=blocks)
    assert "'B1', 'A1', 'small'" in caught.value.message
