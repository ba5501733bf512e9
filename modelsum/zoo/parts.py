"""What several families are made of: convolution with normalisation, channel rounding, initialisation."""

from __future__ import annotations

from torch import nn


class Conv2dNormActivation(nn.Sequential):
    """Convolution, BatchNorm, activation: (N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride)).

    The convolution has no bias (BatchNorm brings one) and is padded to keep the size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.ReLU] | type[nn.ReLU6] = nn.ReLU,
    ) -> None:
        super().__init__(
            *conv_bn(in_channels, out_channels, kernel_size, stride, groups), activation(inplace=True)
        )


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    momentum: float = 0.1,
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution without bias, padded to keep the size at stride 1, and its BatchNorm."""
    padding = kernel_size // 2
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
    )
    return convolution, nn.BatchNorm2d(out_channels, momentum=momentum)


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A 3x3 convolution without bias, padded to keep the size at stride 1."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size=3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 (pointwise) convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, at least `divisor`, never more than 10 % below.

    The rounding of the MobileNet reference code (tensorflow/models, research/slim/nets/mobilenet).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def init_convolutions(model: nn.Module) -> None:
    """He et al. 2015 ("Delving deep into rectifiers"), fan-out: normal weights, zero biases.

    BatchNorm layers start at weight 1 and bias 0 of their own accord.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_linears(model: nn.Module, std: float = 0.01) -> None:
    """Normal weights of standard deviation `std`, zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, std)
            nn.init.zeros_(module.bias)
