"""MobileNetV2: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks"
(arXiv:1801.04381). The shortcuts join the narrow ends of the blocks, which have no activation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelsum.zoo import checks
from modelsum.zoo.parts import Conv2dNormActivation, init_convolutions, init_linears, make_divisible

# Table 2: expansion t, output channels c, repeats n, stride s of the first repeat.
INVERTED_RESIDUAL_SETTING = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection (Table 1, Figure 4).

    (N, inp, H, W) -> (N, oup, H/stride, W/stride), over expand_ratio * inp channels in between; the
    expansion is left out where it would not expand. The input is added where the shapes agree.
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = inp * expand_ratio
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, 1, activation=nn.ReLU6))
        layers += [
            Conv2dNormActivation(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, oup, kernel_size=1, bias=False),
            nn.BatchNorm2d(oup),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """F(x), plus x where the block keeps the shape."""
        out: Tensor = self.conv(x)
        return x + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """(N, 3, H, W) -> (N, num_classes); parameter names as torchvision's.

    Args:
        num_classes: outputs.
        width_mult: multiplies the channels of every layer; the last convolution is never below 1280.
        inverted_residual_setting: rows (t, c, n, s) as in Table 2, which is the default.
        round_nearest: channels become multiples of this; 1 leaves them unrounded.
        dropout: probability ahead of the linear layer.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        checks.whole("num_classes", num_classes)
        checks.positive("width_mult", width_mult)
        checks.whole("round_nearest", round_nearest)
        checks.probability("dropout", dropout)
        setting = _checked_setting(inverted_residual_setting)

        channels = make_divisible(32 * width_mult, round_nearest)
        last_channels = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2, activation=nn.ReLU6)]
        for t, c, n, s in setting:
            out_channels = make_divisible(c * width_mult, round_nearest)
            for repeat in range(n):
                stride = s if repeat == 0 else 1
                features.append(InvertedResidual(channels, out_channels, stride, expand_ratio=t))
                channels = out_channels
        features.append(Conv2dNormActivation(channels, last_channels, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channels, num_classes))
        init_convolutions(self)
        init_linears(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


def _checked_setting(setting: Sequence[Sequence[int]] | None) -> Sequence[Sequence[int]]:
    """The rows (t, c, n, s), each of them four whole numbers, s 1 or 2; None is Table 2."""
    if setting is None:
        return INVERTED_RESIDUAL_SETTING
    if not isinstance(setting, (list, tuple)) or not setting:
        raise ValueError(f"inverted_residual_setting must be a list of rows (t, c, n, s), not {setting!r}")
    for index, row in enumerate(setting):
        name = f"inverted_residual_setting[{index}]"
        _, _, _, stride = checks.wholes(name, row, length=4)
        checks.one_of(f"{name}: its stride", stride, (1, 2))
    return setting
