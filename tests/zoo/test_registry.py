"""The registry of documented architectures: names, options, and what is refused."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest
import torch
from every_day import DEEPEST, slow_unless

from modelsum import zoo
from modelsum.errors import ArgumentError, UnknownModelError

# Section by section of the documented systems, in the order in which `list` shows them.
DOCUMENTED = {
    "MNASNet": "mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mnasnet_a1 mnasnet_small mnasnet",
    "MobileNetV1": "mobilenet_v1 mobilenet_v1_075 mobilenet_v1_050 mobilenet_v1_025",
    "MobileNetV2": "mobilenet_v2",
    "DenseNet": "densenet121 densenet161 densenet169 densenet201 densenet40_k12 densenet100_k12 "
    "densenet100_k24 densenet100bc_k12 densenet190bc_k40 densenet250bc_k24",
    "ResNet": "resnet18 resnet34 resnet50 resnet101 resnet152 resnet20 resnet32 resnet44 resnet56 resnet110 "
    "resnet1202 plainnet20 plainnet56 preact_resnet18 preact_resnet34 preact_resnet50 preact_resnet101 "
    "preact_resnet152 preact_resnet110 preact_resnet164 preact_resnet1001",
    "VGG": "vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn",
    "SqueezeNet": "squeezenet1_0 squeezenet1_0_simple_bypass squeezenet1_0_complex_bypass squeezenet1_1",
}
NAMES = [name for names in DOCUMENTED.values() for name in names.split()]


def constructor(architecture: zoo.Architecture) -> type[torch.nn.Module]:
    module, _, name = architecture.builder.partition(":")
    return getattr(importlib.import_module(module), name)


def on_meta(name: str, **options: object) -> torch.nn.Module:
    with torch.device("meta"):
        return zoo.build(name, **options).eval()


def test_the_registry_holds_the_documented_names_family_by_family() -> None:
    by_family: dict[str, list[str]] = {}
    for architecture in zoo.ARCHITECTURES.values():
        by_family.setdefault(architecture.family, []).append(architecture.name)
    assert by_family == {family: names.split() for family, names in DOCUMENTED.items()}
    assert list(zoo.ARCHITECTURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_options_are_the_constructor_arguments_with_the_values_that_the_name_stands_for(name: str) -> None:
    architecture = zoo.ARCHITECTURES[name]
    parameters = inspect.signature(constructor(architecture)).parameters
    defaults = {parameter.name: parameter.default for parameter in parameters.values()}
    assert architecture.options == {**defaults, **architecture.arguments}
    assert set(architecture.arguments) <= set(defaults)


@pytest.mark.parametrize("name", slow_unless(NAMES, (frozenset(NAMES[::4]) - DEEPEST).__contains__))
def test_every_name_builds_on_meta_and_classifies_an_image_of_its_input_shape(name: str) -> None:
    architecture = zoo.ARCHITECTURES[name]
    network = on_meta(name)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    with torch.no_grad():
        logits = network(torch.empty(2, *architecture.input_shape, device="meta"))
    assert logits.shape == (2, architecture.options["num_classes"])


def test_input_shapes_and_classes_are_those_of_imagenet_and_cifar() -> None:
    sizes = {(a.input_shape, a.options["num_classes"]) for a in zoo.ARCHITECTURES.values()}
    assert sizes == {((3, 224, 224), 1000), ((3, 32, 32), 10)}


@pytest.mark.parametrize(
    "name",
    [
        *("mnasnet0_5", "mobilenet_v1_025", "mobilenet_v2", "densenet121", "densenet40_k12", "resnet18"),
        *("resnet20", "preact_resnet18", "preact_resnet110", "vgg11", "squeezenet1_0"),
    ],
)
def test_num_classes_is_an_option_of_every_kind_of_network(name: str) -> None:
    network = on_meta(name, num_classes=7)
    with torch.no_grad():
        assert network(torch.empty(1, *zoo.find(name).input_shape, device="meta")).shape == (1, 7)


@pytest.mark.parametrize("spelling", ["resnet50", "ResNet50", "RESNET50"])
def test_a_name_is_found_in_any_case(spelling: str) -> None:
    assert zoo.find(spelling).name == "resnet50"


def test_a_hyphen_in_a_name_is_an_underscore() -> None:
    assert zoo.find("MobileNet-V2").name == "mobilenet_v2"


def test_an_unknown_name_is_quoted_and_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModelError) as caught:
        zoo.find("resnet5O")
    assert caught.value.message == "unknown model 'resnet5O'"
    assert caught.value.hint is not None
    assert "resnet50" in caught.value.hint


def test_a_name_like_no_other_has_no_hint() -> None:
    with pytest.raises(UnknownModelError) as caught:
        zoo.find("zzz")
    assert caught.value.hint is None


def test_an_unknown_option_is_refused_with_the_nearest_and_all_valid_ones() -> None:
    with pytest.raises(ArgumentError) as caught:
        zoo.build("mobilenet_v2", width_mlut=0.5)
    assert caught.value.message == "mobilenet_v2 has no option 'width_mlut'"
    assert caught.value.hint == (
        "Did you mean width_mult? Options of mobilenet_v2: num_classes=1000, width_mult=1.0, "
        "inverted_residual_setting=None, round_nearest=8, dropout=0.2"
    )


REFUSED = [
    ("resnet50", "num_classes", 0),
    ("resnet50", "num_classes", -3),
    ("resnet50", "num_classes", 10.0),
    ("resnet50", "num_classes", "10"),
    ("resnet50", "num_classes", True),
    ("resnet50", "num_classes", None),
    ("resnet50", "layers", (3, 4, 6)),
    ("resnet50", "layers", (3, 4, 0, 3)),
    ("resnet50", "layers", 3),
    ("resnet50", "block", "fancy"),
    ("resnet50", "block", ["basic"]),
    ("resnet50", "groups", 0),
    ("resnet50", "width_per_group", 0),
    ("resnet50", "zero_init_residual", 1),
    ("resnet50", "stride_in_1x1", "yes"),
    ("resnet50", "replace_stride_with_dilation", (True, False)),
    ("resnet50", "replace_stride_with_dilation", (1, 0, 0)),
    ("resnet18", "groups", 2),
    ("resnet18", "replace_stride_with_dilation", (False, False, True)),
    ("resnet20", "depth", 21),
    ("resnet20", "depth", 2),
    ("resnet20", "residual", 0),
    ("preact_resnet50", "block", "plain"),
    ("preact_resnet50", "layers", ()),
    ("preact_resnet110", "depth", 111),
    ("preact_resnet164", "depth", 165),
    ("preact_resnet164", "stride_in_1x1", 1),
    ("vgg16", "configuration", "C"),
    ("vgg16", "batch_norm", 1),
    ("vgg16", "dropout", 1),
    ("vgg16", "dropout", -0.1),
    ("vgg16", "dropout", float("nan")),
    ("vgg16", "dropout", False),
    ("squeezenet1_0", "version", "1.0"),
    ("squeezenet1_0", "bypass", "double"),
    ("densenet121", "growth_rate", 0),
    ("densenet121", "block_config", ()),
    ("densenet121", "block_config", [6, True]),
    ("densenet121", "num_init_features", 0),
    ("densenet121", "bn_size", 0),
    ("densenet121", "drop_rate", 1.0),
    ("densenet121", "compression", 0),
    ("densenet121", "compression", 1.5),
    ("densenet121", "compression", 0.001),
    ("densenet121", "memory_efficient", 1),
    ("densenet40_k12", "depth", 41),
    ("densenet40_k12", "bottleneck", 1),
    ("densenet100bc_k12", "depth", 97),
    ("mobilenet_v1", "width_mult", 0),
    ("mobilenet_v1", "width_mult", -0.5),
    ("mobilenet_v1", "width_mult", float("inf")),
    ("mobilenet_v2", "width_mult", True),
    ("mobilenet_v2", "round_nearest", 0),
    ("mobilenet_v2", "inverted_residual_setting", []),
    ("mobilenet_v2", "inverted_residual_setting", [(6, 24, 2)]),
    ("mobilenet_v2", "inverted_residual_setting", [(6, 24, 2, 3)]),
    ("mnasnet0_5", "alpha", 0),
    ("mnasnet0_5", "stem", 0),
    ("mnasnet0_5", "dropout", 2),
]


@pytest.mark.parametrize(("name", "option", "value"), REFUSED)
def test_a_value_that_makes_no_network_is_refused_by_name(name: str, option: str, value: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        zoo.build(name, **{option: value})
    assert caught.value.message.startswith(f"{name} cannot take {option}={value!r}: ")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"Options of {name}: ")


def test_a_refusal_says_what_would_be_valid() -> None:
    with pytest.raises(ArgumentError) as caught:
        zoo.build("vgg16", dropout=1.5)
    assert caught.value.message == (
        "vgg16 cannot take dropout=1.5: dropout must be a number of at least 0 and below 1, not 1.5"
    )


@pytest.mark.parametrize("option", ["self", "name"])
def test_an_option_may_be_called_anything_and_still_be_refused_as_unknown(option: str) -> None:
    with pytest.raises(ArgumentError, match=f"^resnet20 has no option '{option}'"):
        zoo.build("resnet20", **{option: 1})


def test_a_constructor_that_fails_on_its_own_arguments_is_not_blamed_on_the_user() -> None:
    broken = zoo.Architecture("broken", "VGG", "modelsum.zoo.vgg:VGG", {"dropout": 7}, {}, (3, 8, 8), "none")
    with pytest.raises(ValueError, match="dropout must be"):
        broken.build()


def test_the_plain_networks_differ_from_the_residual_ones_only_in_the_shortcut() -> None:
    """The degradation study compares networks with the same parameters and arithmetic."""
    plain, residual = on_meta("plainnet20"), on_meta("resnet20")
    assert [p.shape for p in plain.parameters()] == [p.shape for p in residual.parameters()]


def test_a_residual_block_whose_weights_are_zero_passes_its_input_on() -> None:
    """F(x) + x is x where F is 0: the point of the shortcut."""
    network = zoo.build("resnet20").eval()
    block = network.layer1[1]
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 16, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_the_parameter_free_shortcut_subsamples_and_pads_with_zeros() -> None:
    shortcut = zoo.build("resnet20").layer2[0].downsample
    x = torch.arange(16 * 16, dtype=torch.float32).reshape(1, 16, 4, 4)
    out = shortcut(x)
    assert out.shape == (1, 32, 2, 2)
    assert out[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert out[0, 16:].abs().sum() == 0


def test_a_preactivation_unit_whose_weights_are_zero_passes_its_input_on_unchanged() -> None:
    """Nothing, no ReLU either, stands behind the addition: negative values come through."""
    unit = zoo.build("preact_resnet110").eval().layer1[1]
    torch.nn.init.zeros_(unit.conv2.weight)
    x = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(unit(x), x)


def test_simple_bypass_adds_the_input_around_fire_3_5_7_and_9_and_no_parameters() -> None:
    """SqueezeNet, Figure 2, middle."""
    fires = [m for m in on_meta("squeezenet1_0_simple_bypass").features if type(m).__name__ == "Fire"]
    bypassed = [number for number, fire in enumerate(fires, start=2) if fire.bypass is not None]
    assert bypassed == [3, 5, 7, 9]
    assert all(isinstance(fire.bypass, torch.nn.Identity) for fire in fires if fire.bypass is not None)


def test_complex_bypass_adds_1x1_convolutions_around_the_other_fires() -> None:
    """SqueezeNet, Figure 2, right: the weights and biases of 96-128, 128-256, 256-384, 384-512."""
    network = on_meta("squeezenet1_0_complex_bypass")
    convolutions = [m for name, m in network.named_modules() if name.endswith("bypass") and m._parameters]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (96, 128, (1, 1)),
        (128, 256, (1, 1)),
        (256, 384, (1, 1)),
        (384, 512, (1, 1)),
    ]
    extra = sum(p.numel() for c in convolutions for p in c.parameters())
    assert extra == 96 * 128 + 128 * 256 + 256 * 384 + 384 * 512 + 128 + 256 + 384 + 512


@pytest.mark.parametrize(
    "statement",
    [
        "zoo.find('resnet50')",
        "list(zoo.ARCHITECTURES)",
        "zoo.ARCHITECTURES.get('resnet5O')",
    ],
)
def test_looking_a_name_up_does_not_import_torch(statement: str) -> None:
    code = f"import sys; from modelsum import zoo; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_building_does_import_torch() -> None:
    """Shows that the test above can fail."""
    code = "import sys; from modelsum import zoo; zoo.build('resnet20'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
