"""SqueezeNet: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
<0.5MB model size" (arXiv:1602.07360). Few 3x3 filters, few channels going into them, late pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelsum.zoo import checks

# Squeeze channels of each Fire module and the channels of each of its two expansions (Table 1: fire2
# to fire9, the same in version 1.1).
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))

# The Fire modules behind which a 3x3 max pooling follows. 1.1 pools sooner, for less arithmetic.
POOLED_FIRES = {"1_0": (4, 8), "1_1": (3, 5)}


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side, concatenated (Figure 1).

    (N, inplanes, H, W) -> (N, expand1x1_planes + expand3x3_planes, H, W). With a `bypass`, that of the
    input is added: the identity, or a 1x1 convolution where the channels differ (Figure 2).
    """

    def __init__(
        self,
        inplanes: int,
        squeeze_planes: int,
        expand1x1_planes: int,
        expand3x3_planes: int,
        bypass: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)
        self.bypass = bypass

    def forward(self, x: Tensor) -> Tensor:
        """Both expansions of the squeezed input, plus the bypass if there is one."""
        squeezed = self.squeeze_activation(self.squeeze(x))
        expanded = torch.cat(
            [
                self.expand1x1_activation(self.expand1x1(squeezed)),
                self.expand3x3_activation(self.expand3x3(squeezed)),
            ],
            1,
        )
        return expanded if self.bypass is None else expanded + self.bypass(x)


class SqueezeNet(nn.Module):
    """(N, 3, H, W) -> (N, num_classes); parameter names as torchvision's.

    Args:
        version: "1_0", the paper's, or "1_1" of the authors' repository: 2.4 times less arithmetic.
        num_classes: outputs.
        dropout: probability ahead of the last convolution.
        bypass: "none"; "simple", the input added around every Fire module that keeps the channels (the
            odd ones: 3, 5, 7, 9); "complex", around the others too, through a 1x1 convolution.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        bypass: str = "none",
    ) -> None:
        super().__init__()
        checks.one_of("version", version, POOLED_FIRES)
        checks.whole("num_classes", num_classes)
        checks.probability("dropout", dropout)
        checks.one_of("bypass", bypass, ("none", "simple", "complex"))

        channels, kernel_size = (96, 7) if version == "1_0" else (64, 3)
        features: list[nn.Module] = [
            nn.Conv2d(3, channels, kernel_size, stride=2),
            nn.ReLU(inplace=True),
            _pooling(),
        ]
        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            around = _bypass(bypass, channels, 2 * expand)
            features.append(Fire(channels, squeeze, expand, expand, around))
            channels = 2 * expand
            if number in POOLED_FIRES[version]:
                features.append(_pooling())
        self.features = nn.Sequential(*features)
        last = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, mean=0.0, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        return torch.flatten(self.classifier(self.features(x)), 1)


def _pooling() -> nn.MaxPool2d:
    """3x3 max pooling that halves the map, its last row and column included."""
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


def _bypass(kind: str, in_channels: int, out_channels: int) -> nn.Module | None:
    """What is added around a Fire module of these channels; None for nothing."""
    if kind != "none" and in_channels == out_channels:
        return nn.Identity()
    if kind == "complex":
        return nn.Conv2d(in_channels, out_channels, kernel_size=1)
    return None
