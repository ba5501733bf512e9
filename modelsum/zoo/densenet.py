"""DenseNet: Huang et al. 2017, "Densely connected convolutional networks" (arXiv:1608.06993).

Within a dense block, layer l takes the concatenation of everything before it, k0 + k * (l - 1)
channels, and adds k channels of its own; k is the growth rate. Keeping (and normalising anew) all
those concatenations is what makes the network large in memory and small in parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from modelsum.zoo import checks
from modelsum.zoo.parts import conv1x1, conv3x3


class _DenseLayer(nn.Module):
    """BN-ReLU-Conv3x3, behind a BN-ReLU-Conv1x1 bottleneck where `bn_size` is not 0 (section 3).

    Feature maps of `num_input_features` channels in all, as one tensor or as a list of them, each
    (N, c, H, W) -> (N, growth_rate, H, W). The bottleneck has bn_size * growth_rate channels.
    """

    def __init__(
        self,
        num_input_features: int,
        growth_rate: int,
        bn_size: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        if bn_size:
            self.conv1 = conv1x1(num_input_features, bn_size * growth_rate)
            self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
            self.relu2 = nn.ReLU(inplace=True)
            self.conv2 = conv3x3(bn_size * growth_rate, growth_rate)
        else:
            self.conv1 = conv3x3(num_input_features, growth_rate)
        self.has_bottleneck = bn_size > 0
        self.drop_rate = drop_rate
        self.memory_efficient = memory_efficient

    def _concatenate_and_convolve(self, *features: Tensor) -> Tensor:
        out: Tensor = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        return out

    def forward(self, features: Tensor | list[Tensor]) -> Tensor:
        """The `growth_rate` new channels, not yet concatenated with the others."""
        inputs = [features] if isinstance(features, Tensor) else features
        if self.memory_efficient and any(tensor.requires_grad for tensor in inputs):
            # The concatenation is made again in the backward pass in place of being kept for it.
            out = checkpoint(self._concatenate_and_convolve, *inputs, use_reentrant=False)
        else:
            out = self._concatenate_and_convolve(*inputs)
        if self.has_bottleneck:
            out = self.conv2(self.relu2(self.norm2(out)))
        if self.drop_rate > 0:
            out = F.dropout(out, p=self.drop_rate, training=self.training)
        return out


class _DenseBlock(nn.ModuleDict):
    """(N, c, H, W) -> (N, c + num_layers * growth_rate, H, W) (Figure 1)."""

    def __init__(
        self,
        num_layers: int,
        num_input_features: int,
        bn_size: int,
        growth_rate: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        for i in range(num_layers):
            self[f"denselayer{i + 1}"] = _DenseLayer(
                num_input_features + i * growth_rate, growth_rate, bn_size, drop_rate, memory_efficient
            )

    def forward(self, init_features: Tensor) -> Tensor:
        """The input and every layer's output, concatenated."""
        features = [init_features]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


class _Transition(nn.Sequential):
    """Between two blocks: (N, in, H, W) -> (N, out, H // 2, W // 2)."""

    def __init__(self, num_input_features: int, num_output_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = conv1x1(num_input_features, num_output_features)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class _DenselyConnected(nn.Module):
    """A stem, dense blocks with a transition between each two, global pooling and a linear layer."""

    def __init__(
        self,
        stem: OrderedDict[str, nn.Module],
        num_init_features: int,
        block_config: Sequence[int],
        growth_rate: int,
        bn_size: int,
        compression: float,
        drop_rate: float,
        num_classes: int,
        memory_efficient: bool,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(stem)
        channels = num_init_features
        for number, num_layers in enumerate(block_config, start=1):
            block = _DenseBlock(num_layers, channels, bn_size, growth_rate, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{number}", block)
            channels += num_layers * growth_rate
            if number < len(block_config):
                compressed = int(channels * compression)
                if compressed == 0:
                    raise ValueError(f"compression={compression} leaves none of {channels} channels")
                self.features.add_module(f"transition{number}", _Transition(channels, compressed))
                channels = compressed
        # Called norm5 however many blocks there are, as in published weights.
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, num_classes)."""
        x = F.relu(self.features(x), inplace=True)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


class DenseNet(_DenselyConnected):
    """The ImageNet networks of Table 1: (N, 3, H, W) -> (N, num_classes); names as torchvision's.

    Args:
        growth_rate: k, the channels that every layer adds.
        block_config: layers in each dense block.
        num_init_features: channels of the first convolution.
        bn_size: channels of a layer's bottleneck, in growth rates.
        drop_rate: dropout probability behind every layer.
        num_classes: outputs.
        memory_efficient: recompute the concatenations in the backward pass (Pleiss et al. 2017).
        compression: theta, the share of the channels that a transition keeps.

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0.0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        compression: float = 0.5,
    ) -> None:
        checks.whole("num_init_features", num_init_features)
        stem: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, num_init_features, kernel_size=7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(num_init_features),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        super().__init__(
            stem,
            num_init_features,
            block_config=checks.wholes("block_config", block_config),
            growth_rate=checks.whole("growth_rate", growth_rate),
            bn_size=checks.whole("bn_size", bn_size),
            compression=checks.fraction("compression", compression),
            drop_rate=checks.probability("drop_rate", drop_rate),
            num_classes=checks.whole("num_classes", num_classes),
            memory_efficient=checks.flag("memory_efficient", memory_efficient),
        )


class CifarDenseNet(_DenselyConnected):
    """The CIFAR networks of Table 2: (N, 3, 32, 32) -> (N, num_classes).

    A 3x3 convolution and three dense blocks of n layers on maps of 32, 16 and 8; its channels are 16,
    or two growth rates in a DenseNet-BC (section 3, implementation details).

    Args:
        depth: L = 3n + 4, or 6n + 4 with the bottleneck: the layers that have weights.
        growth_rate: k, the channels that every layer adds.
        bottleneck: the B of DenseNet-B: a 1x1 convolution to 4 * k channels ahead of the 3x3.
        compression: theta, the share of the channels that a transition keeps; the C where below 1.
        drop_rate: dropout probability behind every layer (the paper: 0.2 without data augmentation).
        num_classes: outputs.
        memory_efficient: recompute the concatenations in the backward pass (Pleiss et al. 2017).

    Raises:
        ValueError: an argument that makes no network.
    """

    def __init__(
        self,
        depth: int = 40,
        growth_rate: int = 12,
        bottleneck: bool = False,
        compression: float = 1.0,
        drop_rate: float = 0.0,
        num_classes: int = 10,
        memory_efficient: bool = False,
    ) -> None:
        checks.whole("growth_rate", growth_rate)
        checks.fraction("compression", compression)
        step = 6 if checks.flag("bottleneck", bottleneck) else 3
        if (checks.whole("depth", depth, minimum=step + 4) - 4) % step:
            raise ValueError(f"depth must be {step}n + 4 with bottleneck={bottleneck}, not {depth}")
        num_init_features = 2 * growth_rate if bottleneck and compression < 1 else 16
        super().__init__(
            OrderedDict(conv0=conv3x3(3, num_init_features)),
            num_init_features,
            block_config=[(depth - 4) // step] * 3,
            growth_rate=growth_rate,
            bn_size=4 if bottleneck else 0,
            compression=compression,
            drop_rate=checks.probability("drop_rate", drop_rate),
            num_classes=checks.whole("num_classes", num_classes),
            memory_efficient=checks.flag("memory_efficient", memory_efficient),
        )
