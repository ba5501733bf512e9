"""The models of memory_cpu.py: documented ones, hold-outs, and those that no rule was made with.

What is "unseen" was chosen, and its first prediction kept, before a real run of it was looked at.
"""

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


# ---- unseen models, of three libraries


class Translation(nn.Module):
    """A T5 that is given the same tokens on both sides."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids, decoder_input_ids=ids).logits


def _torchvision(name: str, **options: Any) -> nn.Module:
    import torchvision

    return torchvision.models.get_model(name, weights=None, **options)


def _timm(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, **options)


def _transformers(name: str) -> nn.Module:
    import transformers

    width = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": VOCABULARY}
    if name == "bert":
        return transformers.BertForMaskedLM(transformers.BertConfig(**width, intermediate_size=512))
    if name == "llama":
        config = transformers.LlamaConfig(**width, intermediate_size=384, num_key_value_heads=2)
        return transformers.LlamaForCausalLM(config)
    if name == "gpt2":
        sizes = {"n_embd": 128, "n_layer": 3, "n_head": 4, "vocab_size": VOCABULARY}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    sizes = {"d_model": 128, "d_ff": 512, "d_kv": 32, "num_layers": 3, "num_heads": 4}
    config = transformers.T5Config(**sizes, vocab_size=VOCABULARY, decoder_start_token_id=0)
    return Translation(transformers.T5ForConditionalGeneration(config))


def _image(pixels: int) -> Callable[[int], Tensor]:
    return lambda batch: torch.rand(batch, 3, pixels, pixels)


UNSEEN: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Any], str]] = {
    "torchvision/googlenet": (lambda: _torchvision("googlenet", init_weights=False), _image(64), "sum"),
    "torchvision/shufflenet_v2_x1_0": (lambda: _torchvision("shufflenet_v2_x1_0"), _image(64), "sum"),
    "torchvision/resnext50_32x4d": (lambda: _torchvision("resnext50_32x4d"), _image(64), "sum"),
    "torchvision/lraspp_mobilenet_v3_large": (
        lambda: _torchvision("lraspp_mobilenet_v3_large", weights_backbone=None),
        _image(64),
        "sum",
    ),
    "timm/resnetv2_50": (lambda: _timm("resnetv2_50"), _image(64), "sum"),
    "timm/mixer_s16_224": (lambda: _timm("mixer_s16_224", img_size=64), _image(64), "sum"),
    "timm/eca_nfnet_l0": (lambda: _timm("eca_nfnet_l0"), _image(64), "sum"),
    "timm/deit_tiny_patch16_224": (lambda: _timm("deit_tiny_patch16_224", img_size=64), _image(64), "sum"),
    "timm/poolformer_s12": (lambda: _timm("poolformer_s12"), _image(64), "sum"),
    "timm/coatnet_pico_rw_224": (lambda: _timm("coatnet_pico_rw_224", img_size=64), _image(64), "sum"),
    "timm/hrnet_w18_small": (lambda: _timm("hrnet_w18_small"), _image(64), "sum"),
    "timm/ghostnet_100": (lambda: _timm("ghostnet_100"), _image(64), "sum"),
    "timm/mobilevit_xs": (lambda: _timm("mobilevit_xs"), _image(64), "sum"),
    "timm/res2net50_26w_4s": (lambda: _timm("res2net50_26w_4s"), _image(64), "sum"),
    "transformers/bert": (lambda: _transformers("bert"), _ids, "cross-entropy"),
    "transformers/gpt2": (lambda: _transformers("gpt2"), _ids, "cross-entropy"),
    "transformers/llama": (lambda: _transformers("llama"), _ids, "cross-entropy"),
    "transformers/t5": (lambda: _transformers("t5"), _ids, "cross-entropy"),
}
HOLD_OUTS = (*TORCHVISION, *OWN)
ALL = (*DOCUMENTED, *HOLD_OUTS, *UNSEEN)
_WITH_INPUTS = OWN | UNSEEN


def group_of(name: str) -> str:
    """What the rules have to do with a model: "documented", "hold-outs" or "unseen"."""
    return "documented" if name in DOCUMENTED else "unseen" if name in UNSEEN else "hold-outs"


def build(name: str) -> nn.Module:
    """The model, with random weights."""
    if name in _WITH_INPUTS:
        return _WITH_INPUTS[name][0]()
    if name in TORCHVISION:
        return _torchvision(name, **({"image_size": 64} if name == "vit_b_16" else {}))
    from modelsum.zoo import registry

    return registry.build(name)


def example(name: str, batch: int, size: int) -> Tensor:
    """An input for the model: images of `size` pixels, or tokens."""
    return _WITH_INPUTS[name][1](batch) if name in _WITH_INPUTS else torch.rand(batch, 3, size, size)


def loss_of(name: str) -> str:
    """The loss that the model is trained with."""
    return _WITH_INPUTS[name][2] if name in _WITH_INPUTS else "sum"
