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
from functools import cache
from typing import Any

import torch

from modelsum.trace import rules
from modelsum.trace.higher_order import as_written
from modelsum.trace.ignored import IGNORED
from modelsum.trace.rules import Rule
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


# The ops that each rule counts; names of the aten namespace without a prefix.
_BY_RULE: dict[Rule, str] = {
    rules.convolution: "convolution _convolution convolution_overrideable",
    rules.plain_convolution: """
        cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu miopen_convolution
        miopen_depthwise_convolution mkldnn_convolution _slow_conv2d_forward slow_conv3d_forward
        slow_conv_dilated2d slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d torchvision::deform_conv2d
    """,
    rules.transposed_convolution: """
        cudnn_convolution_transpose miopen_convolution_transpose slow_conv_transpose2d slow_conv_transpose3d
    """,
    rules.convolution_backward: "convolution_backward convolution_backward_overrideable",
    rules.deformable_convolution_backward: "torchvision::_deform_conv2d_backward",
    rules.time_batch_convolution: "conv_tbc",
    rules.mm: """
        mm _int_mm _scaled_mm _scaled_mm_v2 _sparse_mm _sparse_mm_reduce_impl _sparse_sparse_matmul hspmm
    """,
    rules.addmm: "addmm _addmm_activation _sparse_addmm sspaddmm",
    rules.sampled_addmm: "sparse_sampled_addmm",
    rules.matmul: "matmul quantized::matmul",
    rules.bmm: "bmm",
    rules.baddbmm: "baddbmm addbmm",
    rules.mv: "mv dot vdot",
    rules.addmv: "addmv",
    rules.scaled_linear: "bitsandbytes::int8_scaled_mm bitsandbytes::int8_linear_matmul",
    rules.unpacking_linear: "bitsandbytes::gemm_4bit bitsandbytes::gemv_4bit",
    rules.linear: "linear mkldnn_linear mkldnn::_linear_pointwise",
    rules.packed_linear: """
        _weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int8pack_mm _dyn_quant_matmul_4bit
        quantized::linear quantized::linear_relu quantized::linear_dynamic quantized::linear_relu_dynamic
        quantized::linear_dynamic_fp16 quantized::linear_relu_dynamic_fp16 quantized::linear_leaky_relu
        quantized::linear_tanh
    """,
    rules.packed_convolution: """
        quantized::conv1d quantized::conv1d_relu quantized::conv1d_dynamic quantized::conv2d
        quantized::conv2d_relu quantized::conv2d_add quantized::conv2d_add_relu quantized::conv2d_dynamic
        quantized::conv3d quantized::conv3d_relu quantized::conv3d_dynamic
    """,
    rules.packed_transposed_convolution: """
        quantized::conv_transpose1d quantized::conv_transpose1d_dynamic quantized::conv_transpose2d
        quantized::conv_transpose2d_dynamic quantized::conv_transpose3d quantized::conv_transpose3d_dynamic
    """,
    rules.packed_cell(gates=4): "quantized::quantized_lstm_cell_dynamic",
    rules.packed_cell(gates=3): "quantized::quantized_gru_cell_dynamic",
    rules.packed_cell(gates=1): """
        quantized::quantized_rnn_tanh_cell_dynamic quantized::quantized_rnn_relu_cell_dynamic
    """,
    rules.packed_rnn: "quantized_lstm quantized_gru",
    # The last is of transformers itself, where torch has none for the device.
    rules.grouped_mm: """
        _grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2 transformers::grouped_mm_fallback
    """,
    rules.trilinear: "_trilinear",
    rules.attention: """
        _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
        _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
        _scaled_dot_product_fused_attention_overrideable higher_order::flex_attention
    """,
    rules.attention_backward: """
        _scaled_dot_product_flash_attention_backward _scaled_dot_product_flash_attention_for_cpu_backward
        _scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward
        _scaled_dot_product_fused_attention_overrideable_backward
    """,
    rules.ragged_attention: "_flash_attention_forward",
    rules.efficient_attention: "_efficient_attention_forward",
    rules.rnn_layer: "mkldnn_rnn_layer",
    rules.rnn_layer_backward: "mkldnn_rnn_layer_backward",
    rules.cudnn_rnn: "_cudnn_rnn miopen_rnn",
}

COUNTED: dict[str, Rule] = {
    name if "::" in name else f"aten::{name}": rule
    for rule, names in _BY_RULE.items()
    for name in names.split()
}

#: What was put in by `register`, in order: what was counted before was counted otherwise.
registered: list[str] = []
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
    registered.append(name)
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


@cache
def spelled(op: Any) -> str:
    """The op as torch spells it: "aten.convolution"."""
    return name_of(op).replace("::", ".")


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
    if _is_elementwise(op) or _is_view(op) or torch.Tag.inplace_view in op.tags or _derives_ignored(plain):
        return Verdict.IGNORED
    return Verdict.UNKNOWN


def _derives_ignored(name: str) -> bool:
    """Whether an op is the derivative of one that is left out: "aten::_softmax_backward_data"."""
    namespace, _, own = name.partition("::")
    derived, found, _ = own.partition("_backward")
    if not found:
        return False
    for plain in (derived, derived.removesuffix("_dense"), f"{derived}_forward", derived.removeprefix("_")):
        op = getattr(getattr(torch.ops, namespace), plain, None)
        if op is not None and any(
            rule_for(getattr(op, overload)) is Verdict.IGNORED for overload in op.overloads()
        ):
            return True
    return False


def _is_elementwise(op: Any) -> bool:
    """Whether torch tags the op as pointwise, or its plain form where the op works in place."""
    namespace, _, name = name_of(op).partition("::")
    plain = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    forms = (op, getattr(plain, overload_of(op), op))
    return any(torch.Tag.pointwise in form.tags for form in forms)


def _is_view(op: Any) -> bool:
    return bool(getattr(op, "is_view", False))
