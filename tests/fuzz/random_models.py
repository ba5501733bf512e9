"""Random models: chains of blocks of many kinds, by a seed.

A block is of a form: "vectors" [batch, width], "sequence" [batch, length, width] or "image" [batch, channels,
height, width]. It takes a tensor of its form and returns one, perhaps of another size or form; what it is
made of is drawn from a `random.Random`, so that a seed is a model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Made = tuple[nn.Module, Shape]

VECTORS, SEQUENCE, IMAGE = "vectors", "sequence", "image"
FORMS = {2: VECTORS, 3: SEQUENCE, 4: IMAGE}


class Apply(nn.Module):
    """A function, with the modules that it calls by name."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Scaled(nn.Module):
    """Parameters of its own, used by plain functions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(x * self.scale + self.shift) + self.offset


@dataclass(frozen=True)
class Kind:
    """A kind of block.

    Attributes:
        form: of what it takes.
        make: called with a random.Random and a shape; the block, and the shape of what it returns.
        kernels: it runs kernels whose own memory was measured on CPUs with AVX-512 or AVX2.
        fused: its op counts are hidden on a real device, in one op.
    """

    form: str
    make: Callable[[random.Random, Shape], Made]
    kernels: bool = False


KINDS: dict[str, Kind] = {}


def kind(form: str, **facts: bool) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    def add(make: Callable[..., Made]) -> Callable[..., Made]:
        KINDS[make.__name__.strip("_")] = Kind(form, make, **facts)
        return make

    return add


# ---- any last dimension


def _linear(r: random.Random, shape: Shape) -> Made:
    width = r.choice((16, 32, 48, 64))
    return nn.Linear(shape[-1], width, bias=r.random() < 0.8), (*shape[:-1], width)


def _gated(r: random.Random, shape: Shape) -> Made:
    return Apply(
        lambda self, x: self.up(x) * torch.sigmoid(self.gate(x)),
        up=nn.Linear(shape[-1], shape[-1]),
        gate=nn.Linear(shape[-1], shape[-1], bias=False),
    ), shape


def _residual(r: random.Random, shape: Shape) -> Made:
    inner = nn.Sequential(nn.LayerNorm(shape[-1]), nn.Linear(shape[-1], shape[-1]), nn.GELU())
    return Apply(lambda self, x: x + self.inner(x), inner=inner), shape


def _activation(r: random.Random, shape: Shape) -> Made:
    kinds = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.ELU, nn.Softplus, nn.Hardswish, nn.LeakyReLU, nn.Mish)
    return r.choice(kinds)(), shape


def _scaled(r: random.Random, shape: Shape) -> Made:
    return Scaled(shape[-1]), shape


def _einsum(r: random.Random, shape: Shape) -> Made:
    return Apply(
        lambda self, x: torch.einsum("...i,oi->...o", x, self.weight.weight),
        weight=nn.Linear(shape[-1], 24, bias=False),
    ), (*shape[:-1], 24)


def _twice(r: random.Random, shape: Shape) -> Made:
    """One layer called twice."""
    return Apply(lambda self, x: self.layer(self.layer(x)), layer=nn.Linear(shape[-1], shape[-1])), shape


def _frozen(r: random.Random, shape: Shape) -> Made:
    layer = nn.Linear(shape[-1], shape[-1]).requires_grad_(False)
    return Apply(lambda self, x: self.layer(x).relu(), layer=layer), shape


def _unused(r: random.Random, shape: Shape) -> Made:
    return Apply(lambda self, x: self.used(x), used=nn.Linear(shape[-1], 32), spare=nn.Linear(7, 7)), (
        *shape[:-1],
        32,
    )


for _make in (_linear, _gated, _residual, _activation, _scaled, _einsum, _twice, _frozen, _unused):
    for _form in (VECTORS, SEQUENCE):
        KINDS[f"{_make.__name__.strip('_')} of {_form}"] = Kind(_form, _make)


@kind(VECTORS)
def batch_norm(r: random.Random, shape: Shape) -> Made:
    return nn.BatchNorm1d(shape[1]), shape


@kind(VECTORS)
def outer_product(r: random.Random, shape: Shape) -> Made:
    pair = Apply(lambda self, x: torch.bmm(x.unsqueeze(2), x.unsqueeze(1)).flatten(1)[:, :64])
    return pair, (shape[0], min(64, shape[1] ** 2))


@kind(VECTORS)
def as_a_sequence(r: random.Random, shape: Shape) -> Made:
    return nn.Sequential(nn.Linear(shape[1], 128), nn.Unflatten(1, (8, 16))), (shape[0], 8, 16)


# ---- sequences


@kind(SEQUENCE)
def attention_written_out(r: random.Random, shape: Shape) -> Made:
    def attend(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return (q @ k.transpose(1, 2) / shape[-1] ** 0.5).softmax(-1) @ v

    return Apply(attend, qkv=nn.Linear(shape[-1], 3 * shape[-1])), shape


@kind(SEQUENCE)
def fused_attention(r: random.Random, shape: Shape) -> Made:
    causal = r.random() < 0.5

    def attend(self: Any, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (4, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return out.transpose(1, 2).flatten(2)

    return Apply(attend, qkv=nn.Linear(shape[-1], 3 * shape[-1])), shape


@kind(SEQUENCE)
def encoder_layer(r: random.Random, shape: Shape) -> Made:
    options = {"batch_first": r.random() < 0.7, "norm_first": r.random() < 0.5, "dropout": 0.0}
    return nn.TransformerEncoderLayer(shape[-1], r.choice((2, 4)), 2 * shape[-1], **options), shape


@kind(SEQUENCE)
def self_attention(r: random.Random, shape: Shape) -> Made:
    inner = nn.MultiheadAttention(shape[-1], 4, batch_first=True)
    wanted = r.random() < 0.5
    return Apply(lambda self, x: self.inner(x, x, x, need_weights=wanted)[0], inner=inner), shape


@kind(SEQUENCE)
def layer_norm(r: random.Random, shape: Shape) -> Made:
    return nn.LayerNorm(shape[-1], elementwise_affine=r.random() < 0.7), shape


@kind(SEQUENCE)
def mean_of_positions(r: random.Random, shape: Shape) -> Made:
    return Apply(lambda self, x: x.mean(1)), (shape[0], shape[2])


@kind(SEQUENCE)
def written_recurrence(r: random.Random, shape: Shape) -> Made:
    def scan(self: Any, x: Tensor) -> Tensor:
        state, outputs = torch.zeros_like(x[:, 0]), []
        for step in x.unbind(1):
            state = torch.tanh(self.cell(step) + state)
            outputs.append(state)
        return torch.stack(outputs, 1)

    return Apply(scan, cell=nn.Linear(shape[-1], shape[-1])), shape


@kind(SEQUENCE)
def recurrent(r: random.Random, shape: Shape) -> Made:
    layer = r.choice((nn.GRU, nn.RNN))(shape[-1], 24, batch_first=True, num_layers=r.choice((1, 2)))
    return Apply(lambda self, x: self.layer(x)[0], layer=layer), (*shape[:2], 24)


@kind(SEQUENCE)
def top_positions(r: random.Random, shape: Shape) -> Made:
    def pick(self: Any, x: Tensor) -> Tensor:
        best = self.score(x).squeeze(-1).topk(4, dim=1).indices
        return x.gather(1, best.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

    return Apply(pick, score=nn.Linear(shape[-1], 1)), (shape[0], 4, shape[2])


# ---- images


@kind(IMAGE, kernels=True)
def convolution(r: random.Random, shape: Shape) -> Made:
    size, stride = r.choice((1, 3, 5)), r.choice((1, 2))
    layer = nn.Conv2d(shape[1], 32, size, stride, size // 2, bias=r.random() < 0.5)
    return layer, _measured(layer, shape)


@kind(IMAGE, kernels=True)
def depthwise(r: random.Random, shape: Shape) -> Made:
    return nn.Conv2d(shape[1], shape[1], 3, padding=1, groups=shape[1]), shape


@kind(IMAGE, kernels=True)
def transposed(r: random.Random, shape: Shape) -> Made:
    layer = nn.ConvTranspose2d(shape[1], 16, 4, 2, 1)
    return layer, _measured(layer, shape)


@kind(IMAGE)
def image_norm(r: random.Random, shape: Shape) -> Made:
    kinds = (lambda: nn.BatchNorm2d(shape[1]), lambda: nn.GroupNorm(4, shape[1]), lambda: nn.Identity())
    return r.choice(kinds)(), shape


@kind(IMAGE)
def pooling(r: random.Random, shape: Shape) -> Made:
    layer = r.choice((nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(4), nn.Upsample(scale_factor=2)))
    return layer, _measured(layer, shape)


@kind(IMAGE)
def image_activation(r: random.Random, shape: Shape) -> Made:
    return r.choice((nn.ReLU(), nn.SiLU(), nn.Hardswish(), nn.ReLU6(), nn.Tanh())), shape


@kind(IMAGE)
def squeeze_and_excite(r: random.Random, shape: Shape) -> Made:
    gate = nn.Sequential(nn.Linear(shape[1], 8), nn.ReLU(), nn.Linear(8, shape[1]), nn.Sigmoid())
    return Apply(lambda self, x: x * self.gate(x.mean((2, 3)))[:, :, None, None], gate=gate), shape


@kind(IMAGE)
def patches(r: random.Random, shape: Shape) -> Made:
    flat = Apply(lambda self, x: self.project(x.flatten(2).transpose(1, 2)), project=nn.Linear(shape[1], 32))
    return flat, (shape[0], shape[2] * shape[3], 32)


@kind(IMAGE)
def pooled(r: random.Random, shape: Shape) -> Made:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), shape[:2]


def _measured(layer: nn.Module, shape: Shape) -> Shape:
    with torch.no_grad():
        return tuple(layer.to("meta")(torch.empty(shape, device="meta")).shape)


# ---- models

_STARTS: dict[str, tuple[Shape, ...]] = {
    VECTORS: ((8, 64), (32, 128), (5, 48)),
    SEQUENCE: ((4, 16, 64), (2, 40, 32), (8, 10, 48)),
    IMAGE: ((2, 16, 16, 16), (4, 16, 24, 20), (1, 32, 12, 12)),
}


@dataclass(frozen=True)
class RandomModel:
    """A model by its seed: the kinds of its blocks, itself, and an input for it."""

    kinds: tuple[str, ...]
    model: nn.Module
    x: Tensor

    @property
    def kernels(self) -> bool:
        """Whether a block of it runs kernels that were measured on CPUs with AVX-512 or AVX2."""
        return any(KINDS[name].kernels for name in self.kinds)


def random_model(seed: int) -> RandomModel:
    """The model of a seed: two to five blocks, one after the other, and at least one that is trained."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    form = r.choice((VECTORS, SEQUENCE, IMAGE))
    start = shape = r.choice(_STARTS[form])
    names: list[str] = []
    blocks: list[nn.Module] = []
    for _ in range(r.randint(2, 5)):
        name = r.choice([name for name, each in KINDS.items() if each.form == FORMS[len(shape)]])
        block, shape = KINDS[name].make(r, shape)
        names.append(name)
        blocks.append(block.to_empty(device="cpu") if any(p.is_meta for p in block.parameters()) else block)
    if not any(p.requires_grad for block in blocks for p in block.parameters()):
        blocks.append(Scaled(shape[-1]))
    model = nn.Sequential(*blocks)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return RandomModel(tuple(names), model, torch.rand(start))
