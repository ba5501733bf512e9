"""Op -> multiply-accumulates, from the shapes of its tensors.

Three lists say what happens to every op of a forward pass:

- *counted*: `COUNTED`, name -> rule of `modelsum.trace.rules`, or one that a user registered.
- *ignored on purpose*: elementwise ops, views, copies, and the names of `modelsum.trace.ignored`
  (normalisation, pooling, reductions, lookups, sorting, random numbers, ...), which by the definition of
  MACs (multiply-accumulates of convolutions, matmuls and attention) do not count.
- *unknown*: everything else. It is reported as an uncounted op, never taken for 0 in silence.

An op that torch defines in terms of others (einsum, lstm, ...) is not looked up: its parts are.
"""

from __future__ import annotations

import enum
from typing import Any

import torch

from modelsum.trace.higher_order import as_written
from modelsum.trace.ignored import IGNORED
from modelsum.trace.rules import (
    Rule,
    addmm,
    addmv,
    attention,
    baddbmm,
    bilinear,
    bmm,
    convolution,
    cudnn_rnn,
    deformable_convolution,
    efficient_attention,
    grouped_mm,
    linear,
    matmul,
    mm,
    mv,
    packed_cell,
    packed_convolution,
    packed_linear,
    packed_rnn,
    packed_transposed_convolution,
    plain_convolution,
    ragged_attention,
    rnn_layer,
    sampled_addmm,
    time_batch_convolution,
    transposed_convolution,
)
from modelsum.trace.torch_private import (
    HigherOrderOperator,
    has_kernel,
    overload_of,
    schema_of,
)


class Verdict(enum.Enum):
    """What to do with an op that has no rule."""

    IGNORED = "ignored on purpose"
    COMPOSITE = "defined by torch in terms of other ops"
    UNKNOWN = "no rule"


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
    "aten::conv_tbc": time_batch_convolution,
    "torchvision::deform_conv2d": deformable_convolution,
    "aten::mm": mm,
    "aten::_int_mm": mm,
    "aten::_scaled_mm": mm,
    "aten::_scaled_mm_v2": mm,
    "aten::_sparse_mm": mm,
    "aten::_sparse_mm_reduce_impl": mm,
    "aten::_sparse_sparse_matmul": mm,
    "aten::hspmm": mm,
    "aten::addmm": addmm,
    "aten::_addmm_activation": addmm,
    "aten::_sparse_addmm": addmm,
    "aten::sspaddmm": addmm,
    "aten::sparse_sampled_addmm": sampled_addmm,
    "aten::matmul": matmul,
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
    "quantized::linear_leaky_relu": packed_linear,
    "quantized::linear_tanh": packed_linear,
    "quantized::matmul": matmul,
    "quantized::conv1d": packed_convolution,
    "quantized::conv1d_relu": packed_convolution,
    "quantized::conv1d_dynamic": packed_convolution,
    "quantized::conv2d": packed_convolution,
    "quantized::conv2d_relu": packed_convolution,
    "quantized::conv2d_add": packed_convolution,
    "quantized::conv2d_add_relu": packed_convolution,
    "quantized::conv2d_dynamic": packed_convolution,
    "quantized::conv3d": packed_convolution,
    "quantized::conv3d_relu": packed_convolution,
    "quantized::conv3d_dynamic": packed_convolution,
    "quantized::conv_transpose1d": packed_transposed_convolution,
    "quantized::conv_transpose1d_dynamic": packed_transposed_convolution,
    "quantized::conv_transpose2d": packed_transposed_convolution,
    "quantized::conv_transpose2d_dynamic": packed_transposed_convolution,
    "quantized::conv_transpose3d": packed_transposed_convolution,
    "quantized::conv_transpose3d_dynamic": packed_transposed_convolution,
    "quantized::quantized_lstm_cell_dynamic": packed_cell(gates=4),
    "quantized::quantized_gru_cell_dynamic": packed_cell(gates=3),
    "quantized::quantized_rnn_tanh_cell_dynamic": packed_cell(gates=1),
    "quantized::quantized_rnn_relu_cell_dynamic": packed_cell(gates=1),
    "aten::quantized_lstm": packed_rnn,
    "aten::quantized_gru": packed_rnn,
    "aten::_grouped_mm": grouped_mm,
    "aten::_scaled_grouped_mm": grouped_mm,
    "aten::_scaled_grouped_mm_v2": grouped_mm,
    "transformers::grouped_mm_fallback": grouped_mm,  # its own, where torch has none for the device
    "aten::_trilinear": bilinear,
    "aten::_scaled_dot_product_flash_attention": attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": attention,
    "aten::_scaled_dot_product_efficient_attention": attention,
    "aten::_scaled_dot_product_cudnn_attention": attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": attention,
    "aten::_flash_attention_forward": ragged_attention,
    "aten::_efficient_attention_forward": efficient_attention,
    "higher_order::flex_attention": attention,
    "aten::mkldnn_rnn_layer": rnn_layer,
    "aten::_cudnn_rnn": cudnn_rnn,
    "aten::miopen_rnn": cudnn_rnn,
}

_cache: dict[Any, Rule | Verdict] = {}


def register(op: str, rule: Rule) -> None:
    """Count an op of your own, or count one differently.

        >>> def fused(x, weight, *, out):
        ...     return x.numel() * weight.shape[0]
        >>> register("mylibrary::fused_linear", fused)

    Args:
        op: the qualified name of the op, as `torch.library.custom_op` takes it ("mylibrary::fused_linear")
            or as a summary's uncounted ops show it ("mylibrary.fused_linear"). All its overloads and
            its in-place form follow the rule; a rule of that name is replaced.
        rule: called as rule(*args, out=result, **kwargs) with the arguments and the result of each call. It
            returns multiply-accumulates. It may look at shapes, not at data: on meta there is none.

    Raises:
        ValueError: the name has no namespace.
    """
    name = op if "::" in op else op.replace(".", "::", 1)
    if "::" not in name:
        raise ValueError(f"{op!r} is no op name: it wants a namespace, like 'mylibrary::fused_linear'")
    COUNTED[name] = rule
    _cache.clear()


def rule_for(op: Any) -> Rule | Verdict:
    """The rule of an op (a torch._ops.OpOverload or HigherOrderOperator), or why it has none."""
    found = _cache.get(op)
    if found is None:
        found = _cache[op] = _look_up(op)
    return found


def name_of(op: Any) -> str:
    """The qualified name of an op without its overload, "aten::mm"."""
    if isinstance(op, HigherOrderOperator):
        return f"{op.namespace}::{op.name()}"
    name: str = schema_of(op).name
    return name


def _look_up(op: Any) -> Rule | Verdict:
    name = name_of(op)
    plain = name.removesuffix("_")  # an in-place op does what its plain form does
    for candidate in (name, plain):
        if candidate in COUNTED:
            return COUNTED[candidate]
        if candidate.removeprefix("aten::") in IGNORED:
            return Verdict.IGNORED
    if isinstance(op, HigherOrderOperator):
        return Verdict.COMPOSITE if as_written(op) else Verdict.UNKNOWN
    if name.startswith("prim::"):
        return Verdict.IGNORED  # a question to a tensor of a subclass: of its layout or device
    if has_kernel(op.name(), "CompositeImplicitAutograd"):
        return Verdict.COMPOSITE
    if _is_elementwise(op) or _is_view(op) or torch.Tag.inplace_view in op.tags:
        return Verdict.IGNORED
    return Verdict.UNKNOWN


def _is_elementwise(op: Any) -> bool:
    """Whether torch tags the op as pointwise, or its plain form where the op works in place."""
    namespace, _, name = name_of(op).partition("::")
    plain = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    forms = (op, getattr(plain, overload_of(op), op))
    return any(torch.Tag.pointwise in form.tags for form in forms)


def _is_view(op: Any) -> bool:
    return bool(getattr(op, "is_view", False))
