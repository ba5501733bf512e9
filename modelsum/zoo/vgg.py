"""VGG: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image
recognition" (arXiv:1409.1556). Nothing but 3x3 convolutions and 2x2 max pooling, then three linear
layers that hold most of the parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelsum.zoo import checks
from modelsum.zoo.parts import init_convolutions, init_linears

# Table 1, columns A, B, D and E: output channels of each 3x3 convolution, a row a resolution;
# every row ends with a 2x2 max pooling.
CONFIGURATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "B": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "D": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "E": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """(N, 3, H, W) -> (N, num_classes); parameter names as torchvision's.

    The maps in front of the classifier are pooled to 7x7, which is what a 224x224 image has there.

    Args:
        configuration: column of Table 1: "A" (11 weight layers), "B" (13), "D" (16) or "E" (19).
        batch_norm: BatchNorm behind every convolution; the paper has none.
        num_classes: outputs.
        dropout: probability behind each of the first two linear layers.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        configuration: str = "D",
        batch_norm: bool = False,
        num_classes: int = 1000,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        checks.one_of("configuration", configuration, CONFIGURATIONS)
        checks.flag("batch_norm", batch_norm)
        checks.whole("num_classes", num_classes)
        checks.probability("dropout", dropout)
        self.features = _convolutions(CONFIGURATIONS[configuration], batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        init_convolutions(self)
        init_linears(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


def _convolutions(rows: tuple[tuple[int, ...], ...], batch_norm: bool) -> nn.Sequential:
    """The convolutional part: (N, 3, H, W) -> (N, 512, H // 32, W // 32)."""
    layers: list[nn.Module] = []
    in_channels = 3
    for row in rows:
        for out_channels in row:
            layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
            in_channels = out_channels
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)
