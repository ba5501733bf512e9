"""MnasNet: Tan et al. 2019, "MnasNet: platform-aware neural architecture search for mobile"
(arXiv:1807.11626). The search trades accuracy for latency measured on the phone; `mnasnet_blocks` has
its search space, this module lays a point of it out as a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from modelsum.zoo import checks
from modelsum.zoo.mnasnet_blocks import MnasBlock, read_blocks
from modelsum.zoo.parts import conv_bn, init_convolutions, make_divisible

# The running averages decay by 0.9997, as in published weights; torch's momentum is one minus that.
_conv_bn = partial(conv_bn, momentum=1 - 0.9997)


class SqueezeExcitation(nn.Module):
    """Channels gated by what the whole map says of them (Hu et al. 2018): (N, C, H, W) -> the same."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, kernel_size=1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """x times a gate a channel."""
        gates: Tensor = self.gate(self.fc2(self.relu(self.fc1(self.avgpool(x)))))
        return x * gates


class _Layer(nn.Module, ABC):
    """One layer of a block, and the skip around it: (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(self, block: MnasBlock, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*self.parts(block, in_channels, out_channels, stride))
        self.apply_residual = block.skip != "none" and stride == 1 and in_channels == out_channels
        pools = self.apply_residual and block.skip == "pool"
        self.pool = nn.AvgPool2d(kernel_size=3, stride=1, padding=1) if pools else None

    @staticmethod
    @abstractmethod
    def parts(block: MnasBlock, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        """What the layer runs one after another, without the skip."""

    def forward(self, x: Tensor) -> Tensor:
        """F(x), plus x or its pooling where the layer keeps the shape and the block has a skip."""
        out: Tensor = self.layers(x)
        if not self.apply_residual:
            return out
        return out + (x if self.pool is None else self.pool(x))


class _Conv(_Layer):
    """A regular convolution."""

    @staticmethod
    def parts(block: MnasBlock, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        """k x k convolution, squeeze-and-excitation."""
        return [
            *_conv_bn(in_channels, out_channels, block.kernel, stride),
            nn.ReLU(inplace=True),
            *_squeeze_excitation(block, in_channels, out_channels),
        ]


class _SeparableConv(_Layer):
    """A depthwise separable convolution, the pointwise half linear (Figure 7)."""

    @staticmethod
    def parts(block: MnasBlock, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        """k x k depthwise, squeeze-and-excitation, linear 1x1."""
        return [
            *_conv_bn(in_channels, in_channels, block.kernel, stride, groups=in_channels),
            nn.ReLU(inplace=True),
            *_squeeze_excitation(block, in_channels, in_channels),
            *_conv_bn(in_channels, out_channels, 1),
        ]


class _InvertedResidual(_Layer):
    """The mobile inverted bottleneck (Figure 7)."""

    @staticmethod
    def parts(block: MnasBlock, in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
        """1x1 expansion, k x k depthwise, squeeze-and-excitation, linear 1x1."""
        hidden = in_channels * (block.expansion or 1)
        return [
            *_conv_bn(in_channels, hidden, 1),
            nn.ReLU(inplace=True),
            *_conv_bn(hidden, hidden, block.kernel, stride, groups=hidden),
            nn.ReLU(inplace=True),
            *_squeeze_excitation(block, in_channels, hidden),
            *_conv_bn(hidden, out_channels, 1),
        ]


_LAYERS: dict[str, type[_Layer]] = {"conv": _Conv, "sepconv": _SeparableConv, "mbconv": _InvertedResidual}


def _squeeze_excitation(block: MnasBlock, in_channels: int, channels: int) -> list[nn.Module]:
    """The block's gate over `channels`, narrowed to its ratio of the layer's input; or nothing."""
    if not block.se_ratio:
        return []
    return [SqueezeExcitation(channels, max(1, round(in_channels * block.se_ratio)))]


class MNASNet(nn.Module):
    """(N, 3, H, W) -> (N, num_classes); with the blocks of B1, parameter names as torchvision's.

    Args:
        alpha: width multiplier for the first convolution and every block; where it is not 1, channels
            become multiples of 8. The last convolution keeps its 1280.
        num_classes: outputs.
        dropout: probability ahead of the linear layer.
        blocks: "B1", "A1", "small", or a list of blocks: each a `MnasBlock`, a dict of its fields, or a
            tuple (conv, kernel, se_ratio, skip, filters, layers).
        stem: channels of the first convolution.

    Raises:
        ValueError: an argument that makes no network; it names the block and the field.
    """

    # The layout of torchvision's weights since its first layers, too, scale with alpha.
    _version = 2

    def __init__(
        self,
        alpha: float = 1.0,
        num_classes: int = 1000,
        dropout: float = 0.2,
        blocks: str | Sequence[Any] = "B1",
        stem: int = 32,
    ) -> None:
        super().__init__()
        checks.positive("alpha", alpha)
        checks.whole("num_classes", num_classes)
        checks.probability("dropout", dropout)
        checks.whole("stem", stem)

        def scaled(channels: int) -> int:
            return channels if alpha == 1 else make_divisible(channels * alpha)

        channels = scaled(stem)
        layers: list[nn.Module] = [*_conv_bn(3, channels, 3, stride=2), nn.ReLU(inplace=True)]
        for block in read_blocks(blocks):
            layers += _lay_out(block, channels, scaled(block.filters))
            channels = scaled(block.filters)
        layers += [*_conv_bn(channels, 1280, 1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        linear = nn.Linear(1280, num_classes)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), linear)

        init_convolutions(self)
        nn.init.kaiming_uniform_(linear.weight, mode="fan_out", nonlinearity="sigmoid")
        nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        logits: Tensor = self.classifier(self.layers(x).mean([2, 3]))
        return logits


def _lay_out(block: MnasBlock, in_channels: int, out_channels: int) -> list[nn.Module]:
    """The modules of a block: its layers as one Sequential, only the first with the block's stride.

    A single layer without a skip needs no module around it: its parts go straight into the network.
    """
    layer, stride = _LAYERS[block.conv], block.stride or 1
    if block.layers == 1 and block.skip == "none":
        return layer.parts(block, in_channels, out_channels, stride)
    first = layer(block, in_channels, out_channels, stride)
    return [
        nn.Sequential(first, *(layer(block, out_channels, out_channels, 1) for _ in range(1, block.layers)))
    ]
