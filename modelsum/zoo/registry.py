"""The documented architectures by name: what each is called, takes, and is built from.

Plain data. torch is imported only when an architecture is built, so that listing the names, or
mistyping one, does not wait for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelsum.errors import ArgumentError, UnknownModelError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

IMAGENET = (3, 224, 224)
CIFAR = (3, 32, 32)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One named architecture.

    Attributes:
        name: what `find` and the command line call it.
        family: the paper's name for the kind of network, "ResNet".
        builder: its class, as "module:class".
        arguments: what the constructor is given to make this member of the family.
        options: every argument that a user may set, with the value that this architecture has for it.
        input_shape: (channels, height, width) of one image as in the paper; the batch is not in it.
        source: the paper, and the table or section that defines the architecture.
    """

    name: str
    family: str
    builder: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    input_shape: tuple[int, int, int]
    source: str

    def build(self, /, **options: Any) -> nn.Module:
        """The network, freshly initialised, on the current default device.

        Raises:
            ArgumentError: an option that the architecture does not have, or a value that it refuses.
        """
        for option in options:
            if option not in self.options:
                raise ArgumentError(
                    f"{self.name} has no option {option!r}",
                    " ".join(filter(None, (did_you_mean(option, self.options), self._valid_options()))),
                )
        module_name, class_name = self.builder.split(":")
        constructor = getattr(importlib.import_module(module_name), class_name)
        try:
            network: nn.Module = constructor(**{**self.arguments, **options})
        except (TypeError, ValueError) as error:
            if not options:
                raise  # then it is not the user's doing
            given = ", ".join(f"{option}={value!r}" for option, value in options.items())
            raise ArgumentError(f"{self.name} cannot take {given}: {error}", self._valid_options()) from error
        return network

    def _valid_options(self) -> str:
        return f"Options of {self.name}: " + ", ".join(f"{k}={v!r}" for k, v in self.options.items())


def find(name: str) -> Architecture:
    """The architecture called `name`; case does not matter, and a hyphen is an underscore.

    Raises:
        UnknownModelError: there is none; the hint names the nearest.
    """
    architecture = ARCHITECTURES.get(name.lower().replace("-", "_"))
    if architecture is None:
        raise UnknownModelError(f"unknown model {name!r}", did_you_mean(name, ARCHITECTURES))
    return architecture


def build(name: str, /, **options: Any) -> nn.Module:
    """The network called `name`: `find(name).build(**options)`, with the errors of both."""
    return find(name).build(**options)


def _members(
    family: str,
    builder: str,
    source: str,
    input_shape: tuple[int, int, int],
    defaults: Mapping[str, Any],
    /,
    **members: Mapping[str, Any],
) -> Iterator[Architecture]:
    """The members of a family that one class builds: name=its arguments, over the class's `defaults`."""
    for name, arguments in members.items():
        options = MappingProxyType({**defaults, **arguments})
        yield Architecture(
            name,
            family,
            f"modelsum.zoo.{builder}",
            MappingProxyType(dict(arguments)),
            options,
            input_shape,
            source,
        )


def _all_members() -> Iterator[Architecture]:
    """Every architecture, family by family, in the order in which they are listed."""
    mnasnet: dict[str, dict[str, dict[str, Any]]] = {
        "Tan et al. 2019, section 4 and Figure 7; the B1 form without squeeze-and-excitation": {
            "mnasnet0_5": {"alpha": 0.5},
            "mnasnet0_75": {"alpha": 0.75},
            "mnasnet1_0": {"alpha": 1.0},
            "mnasnet1_3": {"alpha": 1.3},
        },
        "Tan et al. 2019, Figure 7: MnasNet-A1": {"mnasnet_a1": {"blocks": "A1"}},
        "Tan et al. 2019, the small model of the authors' code (tensorflow/tpu, models/official/mnasnet)": {
            "mnasnet_small": {"blocks": "small", "stem": 8}
        },
        "Tan et al. 2019, section 4.1: any point of the factorized hierarchical search space, by blocks": {
            "mnasnet": {"blocks": "A1"}
        },
    }
    options = {"alpha": 1.0, "num_classes": 1000, "dropout": 0.2, "blocks": "B1", "stem": 32}
    for source, members in mnasnet.items():
        yield from _members("MNASNet", "mnasnet:MNASNet", source, IMAGENET, options, **members)

    yield from _members(
        "MobileNetV1",
        "mobilenet:MobileNetV1",
        "Howard et al. 2017, Table 1; width multiplier of section 3.3",
        IMAGENET,
        {"width_mult": 1.0, "num_classes": 1000, "dropout": 0.001},
        mobilenet_v1={},
        mobilenet_v1_075={"width_mult": 0.75},
        mobilenet_v1_050={"width_mult": 0.5},
        mobilenet_v1_025={"width_mult": 0.25},
    )

    yield from _members(
        "MobileNetV2",
        "mobilenet_v2:MobileNetV2",
        "Sandler et al. 2018, Table 2",
        IMAGENET,
        {
            "num_classes": 1000,
            "width_mult": 1.0,
            "inverted_residual_setting": None,
            "round_nearest": 8,
            "dropout": 0.2,
        },
        mobilenet_v2={},
    )

    yield from _members(
        "DenseNet",
        "densenet:DenseNet",
        "Huang et al. 2017, Table 1",
        IMAGENET,
        {
            "growth_rate": 32,
            "block_config": (6, 12, 24, 16),
            "num_init_features": 64,
            "bn_size": 4,
            "drop_rate": 0.0,
            "num_classes": 1000,
            "memory_efficient": False,
            "compression": 0.5,
        },
        densenet121={},
        densenet161={"growth_rate": 48, "block_config": (6, 12, 36, 24), "num_init_features": 96},
        densenet169={"block_config": (6, 12, 32, 32)},
        densenet201={"block_config": (6, 12, 48, 32)},
    )
    dense_bc = {"bottleneck": True, "compression": 0.5}
    yield from _members(
        "DenseNet",
        "densenet:CifarDenseNet",
        "Huang et al. 2017, Table 2; section 3, implementation details",
        CIFAR,
        {
            "depth": 40,
            "growth_rate": 12,
            "bottleneck": False,
            "compression": 1.0,
            "drop_rate": 0.0,
            "num_classes": 10,
            "memory_efficient": False,
        },
        densenet40_k12={"depth": 40, "growth_rate": 12},
        densenet100_k12={"depth": 100, "growth_rate": 12},
        densenet100_k24={"depth": 100, "growth_rate": 24},
        densenet100bc_k12={"depth": 100, "growth_rate": 12, **dense_bc},
        densenet190bc_k40={"depth": 190, "growth_rate": 40, **dense_bc},
        densenet250bc_k24={"depth": 250, "growth_rate": 24, **dense_bc},
    )

    yield from _members(
        "ResNet",
        "resnet:ResNet",
        "He et al. 2015, Table 1",
        IMAGENET,
        {
            "block": "bottleneck",
            "layers": (3, 4, 6, 3),
            "num_classes": 1000,
            "zero_init_residual": False,
            "groups": 1,
            "width_per_group": 64,
            "replace_stride_with_dilation": None,
            "stride_in_1x1": False,
        },
        resnet18={"block": "basic", "layers": (2, 2, 2, 2)},
        resnet34={"block": "basic", "layers": (3, 4, 6, 3)},
        resnet50={"block": "bottleneck", "layers": (3, 4, 6, 3)},
        resnet101={"block": "bottleneck", "layers": (3, 4, 23, 3)},
        resnet152={"block": "bottleneck", "layers": (3, 8, 36, 3)},
    )
    yield from _members(
        "ResNet",
        "resnet:CifarResNet",
        "He et al. 2015, section 4.2 and Table 6",
        CIFAR,
        {"depth": 20, "num_classes": 10, "residual": True},
        resnet20={"depth": 20},
        resnet32={"depth": 32},
        resnet44={"depth": 44},
        resnet56={"depth": 56},
        resnet110={"depth": 110},
        resnet1202={"depth": 1202},
        plainnet20={"depth": 20, "residual": False},
        plainnet56={"depth": 56, "residual": False},
    )
    yield from _members(
        "ResNet",
        "preact_resnet:PreActResNet",
        "He et al. 2016, Figure 4(e) and section 5, in the layout of He et al. 2015, Table 1",
        IMAGENET,
        {"block": "bottleneck", "layers": (3, 4, 6, 3), "num_classes": 1000, "stride_in_1x1": False},
        preact_resnet18={"block": "basic", "layers": (2, 2, 2, 2)},
        preact_resnet34={"block": "basic", "layers": (3, 4, 6, 3)},
        preact_resnet50={"block": "bottleneck", "layers": (3, 4, 6, 3)},
        preact_resnet101={"block": "bottleneck", "layers": (3, 4, 23, 3)},
        preact_resnet152={"block": "bottleneck", "layers": (3, 8, 36, 3)},
    )
    yield from _members(
        "ResNet",
        "preact_resnet:CifarPreActResNet",
        "He et al. 2016, Figure 4(e), Tables 3 and 4",
        CIFAR,
        {"depth": 164, "block": "bottleneck", "num_classes": 10, "stride_in_1x1": False},
        preact_resnet110={"depth": 110, "block": "basic"},
        preact_resnet164={"depth": 164, "block": "bottleneck"},
        preact_resnet1001={"depth": 1001, "block": "bottleneck"},
    )

    yield from _members(
        "VGG",
        "vgg:VGG",
        "Simonyan and Zisserman 2014, Table 1; with _bn, BatchNorm behind every convolution",
        IMAGENET,
        {"configuration": "D", "batch_norm": False, "num_classes": 1000, "dropout": 0.5},
        vgg11={"configuration": "A"},
        vgg11_bn={"configuration": "A", "batch_norm": True},
        vgg13={"configuration": "B"},
        vgg13_bn={"configuration": "B", "batch_norm": True},
        vgg16={"configuration": "D"},
        vgg16_bn={"configuration": "D", "batch_norm": True},
        vgg19={"configuration": "E"},
        vgg19_bn={"configuration": "E", "batch_norm": True},
    )

    squeezenet = {"version": "1_0", "num_classes": 1000, "dropout": 0.5, "bypass": "none"}
    yield from _members(
        "SqueezeNet",
        "squeezenet:SqueezeNet",
        "Iandola et al. 2016, Table 1 and Figure 2; 1.1 is of the authors' repository",
        IMAGENET,
        squeezenet,
        squeezenet1_0={"version": "1_0"},
        squeezenet1_0_simple_bypass={"version": "1_0", "bypass": "simple"},
        squeezenet1_0_complex_bypass={"version": "1_0", "bypass": "complex"},
        squeezenet1_1={"version": "1_1"},
    )


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({a.name: a for a in _all_members()})
