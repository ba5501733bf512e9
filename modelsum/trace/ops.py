"""Op -> multiply-accumulates, from the shapes of its tensors.

Three lists say what happens to every op of a forward pass:

- *counted*: `COUNTED`, name -> rule. A rule is called with the op's own arguments and `out=`, its result,
  and returns MACs for the whole batch. Bias additions are never counted.
- *ignored on purpose*: elementwise ops, views, copies, and the names of `modelsum.trace.ignored`
  (normalisation, pooling, reductions, lookups, sorting, random numbers, ...), which by the definition of
  MACs (DESIGN.md, "Words and numbers") do not count.
- *unknown*: everything else. It is reported as an uncounted op, never taken for 0 in silence.

An op that torch itself defines in terms of others (einsum, matmul, lstm, ...) is not looked up: its parts are.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from modelsum.trace.ignored import IGNORED

Rule: TypeAlias = Callable[..., int]


class Verdict(enum.Enum):
    """What to do with an op that has no rule."""

    IGNORED = "ignored on purpose"
    COMPOSITE = "defined by torch in terms of other ops"
    UNKNOWN = "no rule"


def convolution(x: Tensor, weight: Tensor, *rest: Any, out: Tensor, **_: Any) -> int:
    """Convolution of any dimension, grouped or not; transposed where the seventh argument says so.

    Each output element is a dot product with one output channel's kernel, weight.numel() / out_channels
    long. Transposed, each *input* element is multiplied with its channel's kernel.
    Source: torch.utils.flop_counter, conv_flop_count.
    """
    transposed = rest[4] if len(rest) > 4 and isinstance(rest[4], bool) else False
    return _kernel_work(x if transposed else out, weight)


def _kernel_work(positions: Tensor, weight: Tensor) -> int:
    return positions.numel() * (weight.numel() // weight.shape[0]) if weight.numel() else 0


def plain_convolution(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """A convolution op that is never transposed."""
    return _kernel_work(out, weight)


def transposed_convolution(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """A convolution op that is always transposed."""
    return _kernel_work(x, weight)


def deformable_convolution(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """torchvision's deform_conv2d: the convolution; the bilinear sampling ahead of it is not a matmul."""
    return _kernel_work(out, weight)


def mm(a: Tensor, b: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """[m, k] @ [k, n] = m * k * n. Also int8, fp8 and sparse matmuls of the same call."""
    return a.shape[0] * a.shape[1] * b.shape[1]


def addmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [m, k] @ [k, n]; the addition is not counted."""
    return a.shape[0] * a.shape[1] * b.shape[1]


def bmm(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[batch, m, k] @ [batch, k, n] = batch * m * k * n."""
    return a.numel() * b.shape[2]


def baddbmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [batch, m, k] @ [batch, k, n], also addbmm, which sums over the batch."""
    return a.numel() * b.shape[2]


def mv(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[m, k] @ [k], and the dot product [k] @ [k]: one multiply-accumulate an element of the first."""
    return a.numel()


def addmv(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [m, k] @ [k]."""
    return a.numel()


def linear(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[..., in] with weight [out, in]: every vector times the whole weight."""
    return x.numel() * weight.shape[0]


def packed_linear(x: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[..., in] with a packed weight (quantised or int4/int8 packed): the result tells its out features."""
    return x.numel() * out.shape[-1]


def packed_convolution(x: Tensor, packed: Any, *_: Any, out: Tensor, **__: Any) -> int:
    """A quantised convolution: its weight is unpacked for its shape alone."""
    unpack = getattr(torch.ops.quantized, f"conv{x.dim() - 2}d_unpack")
    return _kernel_work(out, unpack(packed)[0])


def grouped_mm(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """Grouped matmul of a mixture of experts: the tokens that are in `a` are computed, each with one expert.

    [tokens, k] with [experts, k, n]: tokens * k * n. [m, tokens] with [tokens, n] (a weight gradient):
    m * tokens * n. [groups, m, k] with [groups, k, n]: as bmm. [groups, m, k] with [k, tokens]: m * k * tokens.
    """
    if a.dim() == 3 and b.dim() == 2:
        return a.shape[1] * a.shape[2] * b.shape[1]
    return a.numel() * b.shape[-1]


def bilinear(x1: Tensor, weight: Tensor, x2: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """torch.nn.Bilinear through aten::_trilinear: y[o] = x1 @ weight[o] @ x2, expanded to one common shape.

    The kernel forms every product x1[i] * weight[o, i, j] * x2[j]: samples * out * in1 * in2.
    """
    samples = x1.numel() // x1.shape[-1]
    return samples * weight.numel()


def attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """Scaled dot product attention: q @ k.T and scores @ v, for every query head.

    q [batch, heads, s, d], k [batch, kv_heads, t, d], v [batch, kv_heads, t, dv]:
    batch * heads * s * t * (d + dv). Grouped-query attention has fewer kv_heads but the same work. A causal
    mask is not subtracted (FlashAttention's and torch.utils.flop_counter's convention).
    """
    if q.is_nested:
        return sum(_attention(*sample) for sample in zip(q.unbind(), k.unbind(), v.unbind(), strict=True))
    return _attention(q, k, v)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    return q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1]) if q.numel() else 0


def ragged_attention(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Any, starts_k: Any, *_: Any, out: Any, **__: Any
) -> int:
    """aten::_flash_attention_forward: [batch, s, heads, d], or [tokens, heads, d] with sequence starts."""
    if starts_q is None:
        return q.numel() // q.shape[-1] * k.shape[1] * (q.shape[-1] + v.shape[-1])
    return _ragged(q, v, starts_q, starts_k)


def efficient_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Any, starts_q: Any, starts_k: Any, *_: Any, out: Any, **__: Any
) -> int:
    """aten::_efficient_attention_forward: as `ragged_attention`, ragged sequences under a batch of 1."""
    return ragged_attention(q, k, v, starts_q, starts_k, out=out)


def _ragged(q: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor) -> int:
    pairs = int((starts_q.diff().cpu() * starts_k.diff().cpu()).sum())  # query-key pairs of all sequences
    return pairs * q.shape[-2] * (q.shape[-1] + v.shape[-1])


def rnn_layer(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """aten::mkldnn_rnn_layer, one layer and direction: every step's vector times both weights."""
    return x.numel() // x.shape[-1] * (w_ih.numel() + w_hh.numel())


def cudnn_rnn(x: Tensor, weights: Any, *_: Any, out: Any, **__: Any) -> int:
    """aten::_cudnn_rnn: all layers and directions; every step's vector times every weight matrix."""
    steps = x.numel() // x.shape[-1]
    return steps * sum(math.prod(w.shape) for w in weights if w.dim() == 2)


COUNTED: dict[str, Rule] = {
    "aten::convolution": convolution,
    "aten::_convolution": convolution,
    "aten::convolution_overrideable": convolution,
    "aten::cudnn_convolution": plain_convolution,
    "aten::cudnn_convolution_relu": plain_convolution,
    "aten::cudnn_convolution_add_relu": plain_convolution,
    "aten::cudnn_convolution_transpose": transposed_convolution,
    "aten::miopen_convolution": plain_convolution,
    "aten::miopen_depthwise_convolution": plain_convolution,
    "aten::miopen_convolution_transpose": transposed_convolution,
    "aten::mkldnn_convolution": plain_convolution,
    "aten::_slow_conv2d_forward": plain_convolution,
    "aten::slow_conv3d_forward": plain_convolution,
    "aten::slow_conv_dilated2d": plain_convolution,
    "aten::slow_conv_dilated3d": plain_convolution,
    "aten::slow_conv_transpose2d": transposed_convolution,
    "aten::slow_conv_transpose3d": transposed_convolution,
    "aten::_conv_depthwise2d": plain_convolution,
    "aten::conv_depthwise3d": plain_convolution,
    "aten::conv_tbc": plain_convolution,
    "torchvision::deform_conv2d": deformable_convolution,
    "aten::mm": mm,
    "aten::_int_mm": mm,
    "aten::_scaled_mm": mm,
    "aten::_sparse_mm": mm,
    "aten::addmm": addmm,
    "aten::_addmm_activation": addmm,
    "aten::_sparse_addmm": addmm,
    "aten::sspaddmm": addmm,
    "aten::bmm": bmm,
    "aten::baddbmm": baddbmm,
    "aten::addbmm": baddbmm,
    "aten::mv": mv,
    "aten::dot": mv,
    "aten::vdot": mv,
    "aten::addmv": addmv,
    "aten::linear": linear,
    "aten::mkldnn_linear": linear,
    "mkldnn::_linear_pointwise": linear,
    "aten::_weight_int4pack_mm": packed_linear,
    "aten::_weight_int4pack_mm_for_cpu": packed_linear,
    "aten::_weight_int8pack_mm": packed_linear,
    "aten::_dyn_quant_matmul_4bit": packed_linear,
    "quantized::linear": packed_linear,
    "quantized::linear_relu": packed_linear,
    "quantized::linear_dynamic": packed_linear,
    "quantized::linear_relu_dynamic": packed_linear,
    "quantized::linear_dynamic_fp16": packed_linear,
    "quantized::linear_relu_dynamic_fp16": packed_linear,
    "quantized::conv1d": packed_convolution,
    "quantized::conv1d_relu": packed_convolution,
    "quantized::conv2d": packed_convolution,
    "quantized::conv2d_relu": packed_convolution,
    "quantized::conv3d": packed_convolution,
    "quantized::conv3d_relu": packed_convolution,
    "aten::_grouped_mm": grouped_mm,
    "aten::_scaled_grouped_mm": grouped_mm,
    "aten::_trilinear": bilinear,
    "aten::_scaled_dot_product_flash_attention": attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": attention,
    "aten::_scaled_dot_product_efficient_attention": attention,
    "aten::_scaled_dot_product_cudnn_attention": attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": attention,
    "aten::_flash_attention_forward": ragged_attention,
    "aten::_efficient_attention_forward": efficient_attention,
    "aten::mkldnn_rnn_layer": rnn_layer,
    "aten::_cudnn_rnn": cudnn_rnn,
}

_cache: dict[Any, Rule | Verdict] = {}


def register(name: str, rule: Rule) -> None:
    """Count an op of your own.

    Args:
        name: the qualified name of the op, "mylibrary::fused_linear"; replaces a rule of that name.
        rule: called as rule(*args, out=result, **kwargs) with the tensors of the call; returns MACs (int).
    """
    COUNTED[name] = rule
    _cache.clear()


def rule_for(op: Any) -> Rule | Verdict:
    """The rule of an op (a torch._ops.OpOverload), or why it has none."""
    found = _cache.get(op)
    if found is None:
        found = _cache[op] = _look_up(op)
    return found


def _look_up(op: Any) -> Rule | Verdict:
    name: str = op._schema.name
    for candidate in (name, name.removesuffix("_")):  # an in-place op does what its plain form does
        if candidate in COUNTED:
            return COUNTED[candidate]
        if candidate.removeprefix("aten::") in IGNORED:
            return Verdict.IGNORED
    if torch.Tag.pointwise in op.tags or getattr(op, "is_view", False):
        return Verdict.IGNORED
    if torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd"):
        return Verdict.COMPOSITE
    return Verdict.UNKNOWN
