"""Pre-activation residual networks: He et al. 2016, "Identity mappings in deep residual networks"
(arXiv:1603.05027). BatchNorm and ReLU stand ahead of each weight (Figure 4(e)), nothing stands behind
the addition, and so the shortcut carries the signal unchanged through all units of a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from modelsum.zoo import checks
from modelsum.zoo.parts import conv1x1, conv3x3, init_convolutions
from modelsum.zoo.resnet import ZeroPadShortcut

# Output channels of a unit over the channels that its 3x3 convolution works on.
EXPANSION = {"basic": 1, "bottleneck": 4}


class PreActBasicBlock(nn.Module):
    """Twice BN, ReLU, 3x3: (N, inplanes, H, W) -> (N, planes, H/stride, W/stride).

    With `shares_activation` the shortcut, too, starts from the activated input: so does the first unit
    of each stage (appendix, "Implementation details"). `shortcut` is for where the shape changes.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        shortcut: nn.Module | None = None,
        shares_activation: bool = False,
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inplanes)
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut
        self.shares_activation = shares_activation

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x), with nothing behind it."""
        activated = self.relu(self.bn1(x))
        identity = activated if self.shares_activation else x
        out: Tensor = self.conv1(activated)
        out = self.conv2(self.relu(self.bn2(out)))
        return out + (identity if self.shortcut is None else self.shortcut(identity))


class PreActBottleneck(nn.Module):
    """1x1 squeeze, 3x3, 1x1 expand, BN and ReLU ahead of each.

    (N, inplanes, H, W) -> (N, 4 * planes, H/stride, W/stride). The 3x3 strides, or the first 1x1
    (`stride_in_1x1`); `shortcut` and `shares_activation` as in the basic block.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        shortcut: nn.Module | None = None,
        shares_activation: bool = False,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.bn1 = nn.BatchNorm2d(inplanes)
        self.conv1 = conv1x1(inplanes, planes, stride1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride2)
        self.bn3 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, 4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut
        self.shares_activation = shares_activation

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x), with nothing behind it."""
        activated = self.relu(self.bn1(x))
        identity = activated if self.shares_activation else x
        out: Tensor = self.conv1(activated)
        out = self.conv2(self.relu(self.bn2(out)))
        out = self.conv3(self.relu(self.bn3(out)))
        return out + (identity if self.shortcut is None else self.shortcut(identity))


def _stages(
    block: str,
    inplanes: int,
    planes: Sequence[int],
    units: Sequence[int],
    make_shortcut: Callable[[int, int, int], nn.Module],
    stride_in_1x1: bool,
) -> list[nn.Sequential]:
    """The stages of a network; all but the first halve the map, in their first unit."""
    make_unit: Callable[..., nn.Module] = PreActBasicBlock
    if block == "bottleneck":
        make_unit = partial(PreActBottleneck, stride_in_1x1=stride_in_1x1)
    stages = []
    for number, (width, count) in enumerate(zip(planes, units, strict=True)):
        outplanes, stride = width * EXPANSION[block], 1 if number == 0 else 2
        changes_shape = stride != 1 or inplanes != outplanes
        shortcut = make_shortcut(inplanes, outplanes, stride) if changes_shape else None
        first = make_unit(inplanes, width, stride, shortcut, shares_activation=True)
        stages.append(nn.Sequential(first, *(make_unit(outplanes, width) for _ in range(1, count))))
        inplanes = outplanes
    return stages


class PreActResNet(nn.Module):
    """The ImageNet form: (N, 3, H, W) -> (N, num_classes), projection shortcuts where the shape changes.

    Args:
        block: "basic" or "bottleneck".
        layers: units in each of the four stages.
        num_classes: outputs.
        stride_in_1x1: let the bottleneck's first 1x1 stride, as in the authors' code, not its 3x3.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        block: str = "bottleneck",
        layers: Sequence[int] = (3, 4, 6, 3),
        num_classes: int = 1000,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        checks.one_of("block", block, EXPANSION)
        checks.wholes("layers", layers, length=4)
        checks.whole("num_classes", num_classes)
        checks.flag("stride_in_1x1", stride_in_1x1)
        channels = 512 * EXPANSION[block]
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages = _stages(block, 64, (64, 128, 256, 512), layers, conv1x1, stride_in_1x1)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.maxpool(self.conv1(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.avgpool(self.relu(self.bn(x)))
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


class CifarPreActResNet(nn.Module):
    """The CIFAR form: (N, 3, 32, 32) -> (N, num_classes), stages of 16, 32 and 64 channels.

    The bottleneck (four times the channels between units) projects where the shape changes, the basic
    block takes the parameter-free shortcut of the 2015 paper.

    Args:
        depth: 9n + 2 with the bottleneck (164, 1001), 6n + 2 with the basic block (110).
        block: "basic" or "bottleneck".
        num_classes: outputs.
        stride_in_1x1: let the bottleneck's first 1x1 stride, as in the authors' code, not its 3x3.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        depth: int = 164,
        block: str = "bottleneck",
        num_classes: int = 10,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        checks.one_of("block", block, EXPANSION)
        step = 9 if block == "bottleneck" else 6
        if (checks.whole("depth", depth, minimum=step + 2) - 2) % step:
            raise ValueError(f"depth must be {step}n + 2 with block={block!r}, not {depth}")
        checks.whole("num_classes", num_classes)
        checks.flag("stride_in_1x1", stride_in_1x1)
        make_shortcut = conv1x1 if block == "bottleneck" else ZeroPadShortcut
        units = [(depth - 2) // step] * 3
        channels = 64 * EXPANSION[block]
        self.conv1 = conv3x3(3, 16)
        stages = _stages(block, 16, (16, 32, 64), units, make_shortcut, stride_in_1x1)
        self.layer1, self.layer2, self.layer3 = stages
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.avgpool(self.relu(self.bn(x)))
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits
