"""nn.TransformerEncoderLayer and nn.MultiheadAttention as torch computes them at inference: one op each.

In evaluation mode without gradients both hand all their work to a kernel, which has fewer results in memory
than the ops that they are written with, and others: the scores of all pairs of positions. On meta they never
do. Here they do where a real device would, with the kernel written out, so that what it allocates is seen.
Written after what ATen/native/transformers/{transformer,attention}.cpp and cuda/attention.cu (torch 2.14)
allocate and release, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelsum.trace.census import modules_of
from modelsum.trace.step.autocast import as_cast
from modelsum.trace.step.packed_batches import (
    Packing,
    as_packed,
    packed_attention,
    packed_batches,
    samples_of,
)
from modelsum.trace.torch_private import (
    ENCODER_LAYER_FORWARD,
    FUSED_ATTENTION,
    FUSED_DEVICE,
    HAS_TORCH_FUNCTION,
    has_hooks,
)


@contextmanager
def fused_layers(model: nn.Module, target: str, *, enabled: bool) -> Iterator[Packing]:
    """Have the layers take their fused path inside, where the target would; what became of masks of padding.

    Args:
        model: whose layers it is about, before hooks of ours are on them.
        target: "cpu" or "cuda".
        enabled: as the user has torch.backends.mha.
    """
    packing = Packing()
    if not enabled:
        yield packing
        return
    hooked = {id(layer) for layer in _encoder_layers(model) if any(map(has_hooks, layer.modules()))}
    plain = ENCODER_LAYER_FORWARD.value

    def forward(
        layer: nn.TransformerEncoderLayer,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        if id(layer) in hooked or not _is_fused(layer, src):
            return plain(layer, src, src_mask, src_key_padding_mask, is_causal)
        padding, causal = _canonical(src_key_padding_mask, src), _canonical(src_mask, src)
        mask, kind = layer.self_attn.merge_masks(causal, padding, src)
        return _encoder_layer(layer, src, _Masked(mask, kind), target)

    def attention(
        query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *arguments: Any
    ) -> tuple[Tensor, Tensor | None]:
        *weights, mask, need_weights, average, kind = arguments
        return _attention(query, heads, weights, _Masked(mask, kind), target, need_weights, average)

    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(True)
    try:
        with ExitStack() as changed:
            changed.enter_context(ENCODER_LAYER_FORWARD.replaced(forward))
            changed.enter_context(FUSED_ATTENTION.replaced(attention))
            changed.enter_context(FUSED_DEVICE.replaced("meta"))
            changed.enter_context(HAS_TORCH_FUNCTION.replaced(lambda tensors: False))
            changed.enter_context(packed_batches(target, packing))
            yield packing
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


def _encoder_layers(model: nn.Module) -> Iterator[nn.TransformerEncoderLayer]:
    for module in modules_of(model).values():
        if isinstance(module, nn.TransformerEncoderLayer):
            yield module


def _is_fused(layer: nn.TransformerEncoderLayer, src: Tensor) -> bool:
    """What torch asks before it hands a layer's work to the kernel."""
    attention = layer.self_attn
    return (
        src.dim() == 3
        and not (src.is_nested or layer.training or torch.is_grad_enabled() or torch.is_autocast_enabled())
        and attention.batch_first
        and attention.in_proj_bias is not None
        and attention.num_heads % 2 == 0
        and bool(layer.activation_relu_or_gelu)
        and layer.norm1.eps == layer.norm2.eps
    )


class _Masked(NamedTuple):
    """A mask, and which kind of it the kernel is told."""

    mask: Tensor | None
    kind: int | None


def _canonical(mask: Tensor | None, src: Tensor) -> Tensor | None:
    """A mask of truth values as one of numbers that are added, which the layer makes of it."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=src.dtype).masked_fill_(mask, -torch.inf)


def _encoder_layer(layer: nn.TransformerEncoderLayer, src: Tensor, masked: _Masked, target: str) -> Tensor:
    attention = layer.self_attn
    weights = [
        *(attention.in_proj_weight, attention.in_proj_bias),
        *(attention.out_proj.weight, attention.out_proj.bias),
    ]
    x, samples = src, samples_of(src)
    if layer.norm_first:
        x = layer.norm1.forward(x)
    if samples is None:
        x, _ = _attention(x, attention.num_heads, weights, masked, target, False, True)
    else:
        x = packed_attention(x, attention.num_heads, weights, samples, target)
    x.add_(src)
    if not layer.norm_first:
        x = layer.norm1.forward(x)
    before = x
    if layer.norm_first:
        x = layer.norm2.forward(x)
    x = _feed_forward(layer, x)
    x.add_(before)
    if not layer.norm_first:
        x = layer.norm2.forward(x)
    return x if samples is None else as_packed(x, samples.lengths)


def _feed_forward(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """The activation is in place, if not in the matmul; autocast keeps no cast of a weight that is turned."""
    hidden = torch.addmm(layer.linear1.bias, x.reshape(-1, x.shape[-1]), layer.linear1.weight.t())
    return torch.addmm(layer.linear2.bias, hidden, layer.linear2.weight.t()).view(x.shape)


def _attention(
    x: Tensor,
    heads: int,
    weights: Sequence[Tensor],
    masked: _Masked,
    target: str,
    need_weights: bool,
    average: bool,
) -> tuple[Tensor, Tensor | None]:
    """x [batch, positions, width] -> as much, and the weights of pairs of positions, or None.

    `weights` are those that project in, and out, each with its bias.
    """
    # Under autocast all of these are cast first, the three roles of x and a mask each for itself.
    q, k, v, mask, *weights = as_cast(torch.ops.aten.linear.default, x, x, x, masked.mask, *weights)
    batch, length, width = x.shape
    by_head = (batch, length, heads, width // heads)
    if target == "cuda" and mask is None and not need_weights and by_head[-1] % 8 == 0:
        qkv = functional.linear(q, weights[0], weights[1]).chunk(3, -1)
        q, k, v = (part.view(by_head).transpose(1, 2) for part in qkv)
        del qkv
        y = functional.scaled_dot_product_attention(q, k, v)
        y = y.transpose(1, 2).reshape(batch, length, width)
        return functional.linear(y, weights[2], weights[3]), None
    parts = _projected(q, k, v, weights[0]).new_empty((3, batch * heads, length, width // heads))
    a, b, c = parts.unbind()  # with their bias, and the first scaled
    scores = torch.bmm(a, b.transpose(1, 2))
    if mask is not None:  # without a mask the softmax is in place
        scores, boolean = torch.empty_like(scores), mask.to(torch.bool)
        del boolean
    torch.bmm(scores, c, out=a)
    if not need_weights:
        del scores
    y = a.view(batch, heads, length, -1).transpose(1, 2).reshape(batch, length, width)
    y = functional.linear(y, weights[2], weights[3])
    if not need_weights:
        return y, None
    scores = scores.view(batch, heads, length, length)
    return y, scores.sum(1) if average else scores


def _projected(q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """[batch, positions, 3 * width]: one matmul where all three are the same tensor, else three."""
    if q is k:
        made: Tensor = (q.reshape(-1, q.shape[-1]) @ weight.t()).view(*q.shape[:-1], -1)
        return made
    parts = zip((q, k, v), weight.chunk(3), strict=True)
    return torch.cat([functional.linear(each, own) for each, own in parts], -1)
