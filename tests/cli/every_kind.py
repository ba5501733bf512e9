"""A small model of every kind, as users write them, with an input: for the matrix of the command."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

torch.library.define("every_kind::double", "(Tensor x) -> Tensor")


@torch.library.impl("every_kind::double", "CPU")
def _double(x: Tensor) -> Tensor:
    return x * 2


@torch.library.register_fake("every_kind::double")
def _double_shape(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(20, 8, sparse=True)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.fft.rfft(x).abs())


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.every_kind.double(self.linear(x).detach()) + self.linear(x)


class Noisy(nn.Module):
    """Draws numbers from a generator of its own while it is built."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.rand(4, 8, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 2))


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def compiled() -> nn.Module:
    return torch.compile(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))  # type: ignore[return-value]


def exported() -> nn.Module:
    return torch.export.export(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), (torch.zeros(2, 8),)).module()


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), {nn.Linear})  # type: ignore[no-any-return]


#: By name: the options that its input takes, and MACs of one sample or of the batch of its input.
KINDS = {
    "convolution": (["--input", "3x8x8", "--batch", "2"], 2 * (8 * 27 * 36 + 288 * 4)),
    "Attention": (["--input", "5x16"], 5 * 16 * 16 * 4 + 2 * 4 * 5 * 5 * 4),
    "Recurrent": (["--input", "7x8"], 7 * 4 * 16 * (8 + 16) + 32),
    "embedding": (["--input", "6:int64"], 6 * 16),
    "Sparse": (["--input", "6:int64"], 16),
    "Fourier": (["--input", "16"], 36),
    "Custom": (["--input", "8"], 2 * 64),
    "Noisy": (["--input", "8"], 32),
    "compiled": (["--input", "8"], 64),
    "exported": (["--input", "2x8", "--no-batch"], 2 * 64),
    "quantized": (["--input", "8"], 64),
}
