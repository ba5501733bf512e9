"""Where torchvision has an architecture, ours is the same network: weights can be carried over."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from every_day import every_nth
from torch import nn

from modelsum import zoo

models = pytest.importorskip("torchvision.models")

SHARED = [
    *("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenet_v2"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *("squeezenet1_0", "squeezenet1_1"),
]

# name, options of ours, the same network in torchvision
VARIANTS: list[tuple[str, dict[str, Any], Any]] = [
    ("mobilenet_v2", {"width_mult": 0.5}, lambda: models.mobilenet_v2(width_mult=0.5)),
    ("mobilenet_v2", {"width_mult": 1.4}, lambda: models.mobilenet_v2(width_mult=1.4)),
    (
        "mobilenet_v2",
        {"width_mult": 0.3, "round_nearest": 4, "dropout": 0.0},
        lambda: models.mobilenet_v2(width_mult=0.3, round_nearest=4, dropout=0.0),
    ),
    (
        "mobilenet_v2",
        {"inverted_residual_setting": [(1, 16, 1, 1), (4, 24, 2, 2)], "num_classes": 5},
        lambda: models.mobilenet_v2(inverted_residual_setting=[[1, 16, 1, 1], [4, 24, 2, 2]], num_classes=5),
    ),
    ("mnasnet1_0", {"alpha": 0.1}, lambda: models.MNASNet(0.1)),
    ("mnasnet1_0", {"alpha": 1.7, "dropout": 0.4}, lambda: models.MNASNet(1.7, dropout=0.4)),
    (
        "densenet121",
        {"growth_rate": 8, "block_config": (2, 3, 2), "num_init_features": 18, "bn_size": 2},
        lambda: models.DenseNet(growth_rate=8, block_config=(2, 3, 2), num_init_features=18, bn_size=2),
    ),
    ("resnet50", {"groups": 32, "width_per_group": 4}, lambda: models.resnext50_32x4d()),
    ("resnet101", {"groups": 32, "width_per_group": 8}, lambda: models.resnext101_32x8d()),
    ("resnet50", {"width_per_group": 128}, lambda: models.wide_resnet50_2()),
    (
        "resnet50",
        {"replace_stride_with_dilation": (False, True, True)},
        lambda: models.resnet50(replace_stride_with_dilation=[False, True, True]),
    ),
    (
        "resnet18",
        {"layers": (1, 1, 1, 1), "num_classes": 4},
        lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=4),
    ),
    ("vgg11", {"dropout": 0.25, "num_classes": 3}, lambda: models.vgg11(dropout=0.25, num_classes=3)),
    ("squeezenet1_1", {"dropout": 0.1}, lambda: models.squeezenet1_1(dropout=0.1)),
]

# One or two of each family, with options that show in the output.
COMPUTED: list[tuple[str, dict[str, Any]]] = [
    ("mnasnet0_5", {}),
    ("mobilenet_v2", {"width_mult": 0.75}),
    ("densenet121", {"drop_rate": 0.3}),
    ("resnet18", {"zero_init_residual": False}),
    ("resnet50", {"replace_stride_with_dilation": (False, False, True)}),
    ("vgg11_bn", {}),
    ("squeezenet1_0", {}),
    ("squeezenet1_1", {}),
]


def shapes(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, tuple(tensor.shape)) for key, tensor in network.state_dict().items()]


def structure(network: nn.Module) -> list[tuple[str, str, str | None]]:
    """Every submodule's path, class name and kind of container, in the order of `named_modules`."""
    kinds = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return [
        (path, type(module).__name__, next((k.__name__ for k in kinds if isinstance(module, k)), None))
        for path, module in network.named_modules()
    ]


@pytest.mark.parametrize("name", every_nth(SHARED, 3))
def test_states_paths_classes_containers_and_settings_are_the_same_in_the_same_order(name: str) -> None:
    """The settings (stride, padding, momentum, dropout, in place) are what a module's repr shows."""
    with torch.device("meta"):
        ours, theirs = zoo.build(name), getattr(models, name)()
    assert shapes(ours) == shapes(theirs)
    assert structure(ours) == structure(theirs)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize(("name", "options", "torchvisions"), VARIANTS)
def test_an_option_changes_the_network_as_it_does_in_torchvision(
    name: str, options: dict[str, Any], torchvisions: Any
) -> None:
    with torch.device("meta"):
        ours, theirs = zoo.build(name, **options), torchvisions()
    assert shapes(ours) == shapes(theirs)
    assert structure(ours) == structure(theirs)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize(("name", "options"), COMPUTED)
def test_with_torchvisions_weights_the_outputs_are_equal_in_eval_and_in_training(
    name: str, options: dict[str, Any]
) -> None:
    """In training with the same seed, so that dropout is seen to drop the same activations."""
    torch.manual_seed(0)
    theirs = getattr(models, name)(**options)
    with torch.device("meta"):
        ours = zoo.build(name, **options)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    images = torch.rand(2, 3, 64, 64)
    for training in (False, True):
        outputs = []
        for network in (ours, theirs):
            torch.manual_seed(1)
            with torch.no_grad():
                outputs.append(network.train(training)(images))
        assert torch.equal(*outputs)


def test_our_weights_load_into_torchvisions_mnasnet() -> None:
    """torchvision refuses an MNASNet state dict that does not say which layout version it has."""
    models.mnasnet0_5().load_state_dict(zoo.build("mnasnet0_5").state_dict())


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v2", "densenet121", "resnet18", "squeezenet1_1"])
def test_initial_weights_have_the_same_spread(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = zoo.build(name).state_dict(), getattr(models, name)().state_dict()
    for key, value in theirs.items():
        if value.numel() < 1000 or not value.is_floating_point():
            continue
        assert ours[key].std().item() == pytest.approx(value.std().item(), rel=0.15, abs=1e-6), key


@pytest.mark.parametrize(("name", "last_norm"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_zero_init_residual_zeroes_the_last_norm_of_every_block(name: str, last_norm: str) -> None:
    options: dict[str, Any] = {"zero_init_residual": True, "layers": (1, 1, 1, 1)}
    zeroed = [
        key
        for key, value in zoo.build(name, **options).state_dict().items()
        if key.endswith(f"{last_norm}.weight") and not value.any()
    ]
    assert zeroed == [f"layer{stage}.0.{last_norm}.weight" for stage in (1, 2, 3, 4)]


def test_memory_efficient_densenet_computes_the_same_gradients_from_less_saved() -> None:
    """Pleiss et al. 2017: recomputation changes what is kept, not what is computed."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"growth_rate": 4, "block_config": (3, 3), "num_init_features": 8}
    usual = zoo.build("densenet121", **options)
    frugal = zoo.build("densenet121", memory_efficient=True, **options)
    frugal.load_state_dict(usual.state_dict())
    images = torch.rand(2, 3, 32, 32)
    saved: list[int] = []
    for network in (usual, frugal):
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network(images).sum()
        saved.append(kept)
        loss.backward()
    for one, other in zip(usual.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert saved[1] < saved[0]
