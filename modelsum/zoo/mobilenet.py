"""MobileNet v1: Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile
vision applications" (arXiv:1704.04861). Every convolution but the first is depthwise separable.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelsum.zoo import checks
from modelsum.zoo.parts import Conv2dNormActivation, init_convolutions, init_linears

# Table 1: (output channels, stride) of each depthwise separable convolution at width 1.
SEPARABLE_LAYERS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class DepthwiseSeparable(nn.Sequential):
    """Depthwise 3x3, then pointwise 1x1, each with BatchNorm and ReLU (Figure 3, right).

    (N, in, H, W) -> (N, out, H/stride, W/stride). Weights without BatchNorm: 9 * in + in * out, where a
    standard 3x3 convolution has 9 * in * out (section 3.1).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            Conv2dNormActivation(in_channels, in_channels, 3, stride, groups=in_channels),
            Conv2dNormActivation(in_channels, out_channels, 1),
        )


class MobileNetV1(nn.Module):
    """(N, 3, H, W) -> (N, num_classes).

    Args:
        width_mult: width multiplier alpha of section 3.3, for the channels of every layer.
        num_classes: outputs.
        dropout: probability ahead of the linear layer; 0.001 as in the authors' code
            (tensorflow/models, research/slim/nets/mobilenet_v1).

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(self, width_mult: float = 1.0, num_classes: int = 1000, dropout: float = 0.001) -> None:
        super().__init__()
        checks.positive("width_mult", width_mult)
        checks.whole("num_classes", num_classes)
        checks.probability("dropout", dropout)

        def scaled(channels: int) -> int:
            # Truncated, and never below 8: the rounding of the authors' code.
            return max(int(channels * width_mult), 8)

        channels = scaled(32)
        layers: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2)]
        for filters, stride in SEPARABLE_LAYERS:
            layers.append(DepthwiseSeparable(channels, scaled(filters), stride))
            channels = scaled(filters)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        init_convolutions(self)
        init_linears(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits
