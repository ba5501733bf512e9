"""Inference of nn.TransformerEncoderLayer and nn.MultiheadAttention, beside real runs of their kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_cpu import inference_peak
from test_cpu_kernels import ISA
from torch import Tensor, nn
from torch_here import CPU_FLAGS

import modelsum
from modelsum.memory.cpu.machine import AVX2

WIDTH, HEADS, BATCH, LENGTH = 64, 4, 8, 64
X = torch.rand(BATCH, LENGTH, WIDTH)
PADDED = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
PADDED[:, -3:] = True
UNEVEN = torch.arange(LENGTH) >= torch.tensor([LENGTH - 4, 9, 20, 33, 41, 1, LENGTH - 4, 50])[:, None]
ALL = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
CAUSAL = torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), 1)


def encoder_layer(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, **{"batch_first": True} | options)


class Calls(nn.Module):
    """Calls a module its own way, with masks that it holds."""

    def __init__(self, inner: nn.Module, call: Callable[..., Any], **masks: Tensor) -> None:
        super().__init__()
        self.inner, self.call, self.names = inner, call, tuple(masks)
        for name, mask in masks.items():
            self.register_buffer(name, mask)

    def forward(self, x: Tensor) -> Any:
        return self.call(self.inner, x, **{name: getattr(self, name) for name in self.names})


def attention(need_weights: bool = True, average: bool = True, **masks: Tensor) -> nn.Module:
    def call(mha: nn.Module, x: Tensor, **masks: Tensor) -> Any:
        return mha(x, x, x, need_weights=need_weights, average_attn_weights=average, **masks)[0]

    return Calls(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), call, **masks)


def layer(**masks: Tensor) -> nn.Module:
    return Calls(encoder_layer(), lambda layer, x, **masks: layer(x, **masks), **masks)


def padded_encoder(padding: Tensor, **options: Any) -> nn.Module:
    return Calls(
        nn.TransformerEncoder(encoder_layer(**options), 2),
        lambda encoder, x, padding: encoder(x, src_key_padding_mask=padding),
        padding=padding,
    )


CASES: dict[str, Callable[[], nn.Module]] = {
    "layer": encoder_layer,
    "gelu, norm first": lambda: encoder_layer(activation="gelu", norm_first=True),
    "sequence first": lambda: encoder_layer(batch_first=False),
    "causal": lambda: layer(src_mask=CAUSAL),
    "padded": lambda: layer(src_key_padding_mask=PADDED),
    "both masks": lambda: layer(src_mask=CAUSAL, src_key_padding_mask=PADDED),
    "attention": attention,
    "without weights": lambda: attention(need_weights=False),
    "weights of heads": lambda: attention(average=False),
    "masked": lambda: attention(attn_mask=CAUSAL, key_padding_mask=PADDED),
    "encoder": lambda: nn.TransformerEncoder(encoder_layer(), 2),
    "encoder without its padding": lambda: padded_encoder(UNEVEN),
    "encoder, nothing padded": lambda: padded_encoder(ALL, norm_first=True),
    "encoder, padded in front": lambda: padded_encoder(PADDED.flip(1)),
    "decoder": lambda: Calls(
        nn.TransformerDecoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True), lambda layer, x: layer(x, x)
    ),
    "transformer": lambda: Calls(
        nn.Transformer(WIDTH, HEADS, 1, 1, 2 * WIDTH, batch_first=True), lambda model, x: model(x, x)
    ),
}

KNOWN = "avx512_bf16" in CPU_FLAGS or ISA == AVX2
bf16 = pytest.mark.skipif(not KNOWN, reason="the rules for bfloat16 are of AVX-512 with it, and of AVX2")


def predicted(model: nn.Module, x: Tensor, **options: Any) -> int:
    memory = modelsum.summarize(model, x, target="cpu", optimizer="none", **options).memory
    assert memory is not None
    assert memory.bound == "exact"
    return memory.inference_peak_bytes


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=bf16)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_peak_is_that_of_the_kernel(name: str, dtype: torch.dtype) -> None:
    model, x = CASES[name]().to(dtype), X.to(dtype)
    assert predicted(model, x) == pytest.approx(inference_peak(model, (x,)), rel=0.005)


#: torch itself does not take such a batch under autocast.
PACKED = {"encoder without its padding"}


@bf16
@pytest.mark.parametrize("name", [name for name in CASES if name not in PACKED])
def test_under_autocast_too(name: str) -> None:
    model = CASES[name]()
    real = inference_peak(model, (X,), lambda: torch.autocast("cpu", torch.bfloat16))
    assert predicted(model, X, amp="bf16") == pytest.approx(real, rel=0.005)


def test_a_hook_of_the_users_takes_the_layer_off_its_kernel() -> None:
    model = encoder_layer()
    model.linear1.register_forward_hook(lambda *_: None)  # type: ignore[union-attr]
    assert predicted(model, X) == pytest.approx(inference_peak(model, (X,)), rel=0.005)


def test_whoever_turned_the_path_off_has_it_off() -> None:
    model = encoder_layer()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert predicted(model, X) == pytest.approx(inference_peak(model, (X,)), rel=0.005)
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_on_cuda_the_scores_are_never_in_memory() -> None:
    """Its kernel takes flash attention where there is neither a mask nor a wish for the weights."""
    scores = BATCH * HEADS * LENGTH * LENGTH * 4
    without, needed = (attention(need_weights=need) for need in (False, True))
    peaks = [
        modelsum.summarize(model, X, optimizer="none").memory.inference_peak_bytes  # type: ignore[union-attr]
        for model in (without, needed)
    ]
    assert peaks[1] - peaks[0] >= scores - X.nbytes


def test_counts_and_training_are_those_of_the_ops() -> None:
    model = encoder_layer()
    assert (
        modelsum.summarize(model, X, mode="eval").totals.macs
        == modelsum.summarize(model, X, mode="train").totals.macs
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("length", "width"), [(16, 128), (100, 32), (8, 64)])
def test_an_encoder_packs_what_is_kept(length: int, width: int, threads: int) -> None:
    """With short sequences it takes the most where it packs, else where it pads and at the softmax."""
    padding = torch.arange(length) >= torch.tensor([length - 1, length // 2, 3])[:, None]
    layer = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width))
    model = Calls(encoder, lambda inner, x, padding: inner(x, src_key_padding_mask=padding), padding=padding)
    x, before = torch.rand(3, length, width), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert predicted(model, x) == pytest.approx(inference_peak(model, (x,)), rel=0.005)
    finally:
        torch.set_num_threads(before)


def test_a_mask_whose_values_nobody_knows_pads_nothing() -> None:
    def padded(encoder: nn.Module, x: Tensor) -> Any:
        least = encoder.get_parameter("layers.0.linear1.weight").min()
        return encoder(x, src_key_padding_mask=x.sum(-1) < WIDTH * least)  # nothing: x is not negative

    model = Calls(nn.TransformerEncoder(encoder_layer(), 2), padded)
    memory = modelsum.summarize(model, X, target="cpu", optimizer="none").memory
    assert memory is not None
    assert memory.assumptions["values"] == "no position is padding"
    assert memory.inference_peak_bytes == pytest.approx(inference_peak(model, (X,)), rel=0.005)


def test_packed_batches_on_cuda_are_a_lower_bound() -> None:
    memory = modelsum.summarize(padded_encoder(UNEVEN), X, optimizer="none").memory
    assert memory is not None
    assert (memory.bound, dict(memory.unmeasured)) == ("lower", {"aten._nested_tensor_from_mask": 1})
