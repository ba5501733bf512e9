"""Residual networks: He et al. 2015, "Deep residual learning for image recognition" (arXiv:1512.03385).

A block computes F(x) + x. The shortcut is the identity, except where the block changes the shape: there
the ImageNet networks project it with a 1x1 convolution (option B of section 4.1), the CIFAR networks
subsample it and pad the missing channels with zeros, which takes no parameters (option A).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelsum.zoo import checks
from modelsum.zoo.parts import conv1x1, conv3x3, init_convolutions


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (Figure 5, left): (N, inplanes, H, W) -> (N, planes, H/stride, W/stride)."""

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        if dilation != 1:
            raise ValueError("a basic block has no dilation")
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x), then ReLU."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class Bottleneck(nn.Module):
    """1x1 squeeze, 3x3, 1x1 expand (Figure 5, right).

    (N, inplanes, H, W) -> (N, 4 * planes, H/stride, W/stride). The 3x3 works on planes channels, or on
    groups * planes * base_width / 64 of them (ResNeXt and wide networks). The paper puts the stride on
    the first 1x1 (`stride_in_1x1`); what is known as v1.5, and is usual today, puts it on the 3x3.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        dilation: int = 1,
        groups: int = 1,
        base_width: int = 64,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        width = int(planes * (base_width / 64)) * groups
        stride1, stride2 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv1x1(inplanes, width, stride1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride2, groups, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, 4 * planes)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x), then ReLU."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class ResNet(nn.Module):
    """The ImageNet networks of Table 1: (N, 3, H, W) -> (N, num_classes); parameter names as torchvision's.

    Args:
        block: "basic" (18 and 34 layers) or "bottleneck" (50 and more).
        layers: blocks in each of the four stages.
        num_classes: outputs.
        zero_init_residual: start every block as the identity (Goyal et al. 2017, section 5.1).
        groups, width_per_group: of the bottleneck's 3x3 convolution (ResNeXt: 32 and 4).
        replace_stride_with_dilation: for each of the last three stages, dilate instead of striding.
        stride_in_1x1: the paper's bottleneck in place of v1.5; a basic block has no 1x1 to stride.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        block: str = "bottleneck",
        layers: Sequence[int] = (3, 4, 6, 3),
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        checks.one_of("block", block, ("basic", "bottleneck"))
        checks.wholes("layers", layers, length=4)
        checks.whole("num_classes", num_classes)
        checks.flag("zero_init_residual", zero_init_residual)
        checks.whole("groups", groups)
        checks.whole("width_per_group", width_per_group)
        checks.flag("stride_in_1x1", stride_in_1x1)
        dilate = _three_flags(replace_stride_with_dilation)
        if block == "basic" and (groups != 1 or width_per_group != 64 or any(dilate)):
            raise ValueError(
                "a basic block has groups=1, width_per_group=64 and no dilation; use block='bottleneck'"
            )

        self._make_block: Callable[..., nn.Module] = BasicBlock
        self._expansion = 1
        if block == "bottleneck":
            self._make_block = partial(
                Bottleneck, groups=groups, base_width=width_per_group, stride_in_1x1=stride_in_1x1
            )
            self._expansion = 4
        # What the next block finds: its input's channels, and the spacing of its 3x3 convolution.
        self._inplanes = 64
        self._dilation = 1

        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(64, layers[0], stride=1)
        self.layer2 = self._stage(128, layers[1], stride=2, dilate=dilate[0])
        self.layer3 = self._stage(256, layers[2], stride=2, dilate=dilate[1])
        self.layer4 = self._stage(512, layers[3], stride=2, dilate=dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * self._expansion, num_classes)

        init_convolutions(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Bottleneck):
                    nn.init.zeros_(module.bn3.weight)
                elif isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def _stage(self, planes: int, blocks: int, stride: int, dilate: bool = False) -> nn.Sequential:
        """`blocks` blocks; the first one strides and changes the channels, its shortcut projects."""
        # The first block of a dilated stage still sees the spacing of the stage before it.
        first_dilation = self._dilation
        if dilate:
            self._dilation *= stride
            stride = 1
        outplanes = planes * self._expansion
        downsample = None
        if stride != 1 or self._inplanes != outplanes:
            downsample = nn.Sequential(conv1x1(self._inplanes, outplanes, stride), nn.BatchNorm2d(outplanes))
        first = self._make_block(self._inplanes, planes, stride, downsample, first_dilation)
        self._inplanes = outplanes
        others = (self._make_block(outplanes, planes, dilation=self._dilation) for _ in range(1, blocks))
        return nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class ZeroPadShortcut(nn.Module):
    """Option A: every `stride`-th position, new channels of zeros, no parameters.

    (N, inplanes, H, W) -> (N, outplanes, ceil(H/stride), ceil(W/stride)).
    """

    def __init__(self, inplanes: int, outplanes: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = outplanes - inplanes
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The subsampled input, its channels in front of the zeros."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


class PlainBlock(nn.Sequential):
    """What `BasicBlock` computes without its shortcut: the plain network of the degradation study."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__(
            conv3x3(inplanes, planes, stride),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            conv3x3(planes, planes),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
        )


class CifarResNet(nn.Module):
    """The CIFAR networks of section 4.2: (N, 3, 32, 32) -> (N, num_classes).

    A 3x3 convolution, then three stages of n blocks with 16, 32 and 64 channels on maps of 32, 16 and 8,
    global average pooling and a linear layer: 6n + 2 weighted layers.

    Args:
        depth: 6n + 2, that is 8, 14, 20, ...
        num_classes: outputs.
        residual: False builds the plain network of the same layers.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10, residual: bool = True) -> None:
        super().__init__()
        if (checks.whole("depth", depth, minimum=8) - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), not {depth}")
        checks.whole("num_classes", num_classes)
        checks.flag("residual", residual)
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, blocks, 1, residual)
        self.layer2 = self._stage(16, 32, blocks, 2, residual)
        self.layer3 = self._stage(32, 64, blocks, 2, residual)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        init_convolutions(self)

    @staticmethod
    def _stage(inplanes: int, planes: int, blocks: int, stride: int, residual: bool) -> nn.Sequential:
        if not residual:
            first: nn.Module = PlainBlock(inplanes, planes, stride)
            return nn.Sequential(first, *(PlainBlock(planes, planes) for _ in range(1, blocks)))
        shortcut = None if inplanes == planes else ZeroPadShortcut(inplanes, planes, stride)
        first = BasicBlock(inplanes, planes, stride, shortcut)
        return nn.Sequential(first, *(BasicBlock(planes, planes) for _ in range(1, blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def _three_flags(value: Sequence[bool] | None) -> tuple[bool, bool, bool]:
    """`replace_stride_with_dilation` as three bools; None is three times False."""
    if value is None:
        return (False, False, False)
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(v, bool) for v in value):
        raise ValueError(f"replace_stride_with_dilation must be None or three bools, not {value!r}")
    return (value[0], value[1], value[2])
