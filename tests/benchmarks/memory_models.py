"""Models that the memory rules were not made on, small enough to run for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONTEXT, VOCABULARY = 64, 512


class GptBlock(nn.Module):
    """Pre-norm decoder block: causal attention, then a feed-forward network of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = (
            part.view(n, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(attended.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    """A small GPT: token and position embeddings, blocks, a head tied to nothing."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(GptBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.blocks(x)))


class BidirectionalLstm(nn.Module):
    """Two bidirectional LSTM layers over token embeddings; a classification of the last position."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, 128, num_layers=2, bidirectional=True, batch_first=True)
        self.classify = nn.Linear(256, 10)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classify(self.lstm(self.tokens(ids))[0][:, -1])


def double_convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Three levels down by max pooling, up by transposed convolution, the levels joined by concatenation."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            double_convolution(channels_in, channels_out)
            for channels_in, channels_out in ((3, width), (width, 2 * width), (2 * width, 4 * width))
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(n * width, n * width // 2, 2, stride=2) for n in (4, 2))
        self.merge = nn.ModuleList(double_convolution(n * width, n * width // 2) for n in (4, 2))
        self.classify = nn.Conv2d(width, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for block in self.down:
            x = block(functional.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        levels.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([levels.pop(), up(x)], dim=1))
        return self.classify(x)


class Repeated(nn.Module):
    """One small network called a hundred times, each time on what it made before."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(100):
            x = x + self.cell(x)
        return x


def _ids(batch: int) -> Tensor:
    return torch.randint(VOCABULARY, (batch, CONTEXT))


OWN: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Any], str]] = {
    "gpt": (Gpt, _ids, "cross-entropy"),
    "bidirectional_lstm": (BidirectionalLstm, _ids, "cross-entropy"),
    "unet": (UNet, lambda batch: torch.rand(batch, 3, 64, 64), "cross-entropy"),
    "repeated_100_times": (Repeated, lambda batch: torch.rand(batch, 64), "sum"),
}
TORCHVISION = (
    *("vit_b_16", "swin_t", "convnext_tiny", "efficientnet_b0"),
    *("regnet_y_400mf", "mobilenet_v3_large"),
)
DOCUMENTED = ("resnet50", "mobilenet_v2", "densenet121", "vgg16", "squeezenet1_1", "mnasnet0_5")


def build(name: str) -> nn.Module:
    """The model, with random weights."""
    if name in OWN:
        return OWN[name][0]()
    if name in TORCHVISION:
        import torchvision

        options = {"image_size": 64} if name == "vit_b_16" else {}
        return torchvision.models.get_model(name, weights=None, **options)
    from modelsum.zoo import registry

    return registry.build(name)


def example(name: str, batch: int, size: int) -> Tensor:
    """An input for the model: images of `size` pixels, or tokens."""
    return OWN[name][1](batch) if name in OWN else torch.rand(batch, 3, size, size)


def loss_of(name: str) -> str:
    """The loss that the model is trained with."""
    return OWN[name][2] if name in OWN else "sum"
