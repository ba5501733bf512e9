"""Elementwise ops: activations and their derivatives, arithmetic, comparison; out of place and in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.metakernels.layout import (
    FLOATS,
    broadcast_shape,
    elementwise,
    elementwise_with_number,
    empty,
    empty_like,
    is_dense,
    is_expanded,
)
from modelsum.trace.metakernels.table import rule

# ---- of one tensor


@rule(
    *("gelu", "silu", "mish", "relu", "leaky_relu", "elu", "hardswish", "hardsigmoid"),
    *("sigmoid", "tanh", "softplus", "softshrink", "hardshrink", "threshold"),
    *("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "erf", "sin", "cos", "neg", "abs"),
    *("floor", "ceil", "round"),
)
def unary(x: Tensor, *numbers: Any, **options: Any) -> Any:
    """f(x) for floating point x; numbers and options, as in gelu(approximate="tanh"), shape nothing."""
    return elementwise(x.dtype, x) if x.dtype in FLOATS else NotImplemented


@rule("bitwise_not", "logical_not")
def inverted(x: Tensor) -> Any:
    """Not x, for truth values."""
    return elementwise(x.dtype, x) if x.dtype is torch.bool else NotImplemented


@rule("pow.Tensor_Scalar", "clamp_min", "clamp_max")
def with_exponent_or_bound(x: Tensor, number: Any) -> Any:
    """f(x, number) for floating point x and a real number."""
    return elementwise(x.dtype, x) if x.dtype in FLOATS and _is_real(number) else NotImplemented


@rule("mul.Scalar", "div.Scalar", "hardtanh")
def with_number(x: Tensor, *numbers: Any) -> Any:
    """The same where the kernel takes the number for a second operand, a tensor of no dimensions."""
    return (
        elementwise_with_number(x.dtype, x)
        if x.dtype in FLOATS and all(map(_is_real, numbers))
        else NotImplemented
    )


@rule("clamp")
def clamp(x: Tensor, min: Any = None, max: Any = None) -> Any:
    """min <= x <= max, one of them given."""
    bounds = [bound for bound in (min, max) if bound is not None]
    if x.dtype in FLOATS and bounds and all(map(_is_real, bounds)):
        return elementwise(x.dtype, x)
    return NotImplemented


@rule("pow.Scalar")
def power_of_number(number: Any, x: Tensor) -> Any:
    """number ** x, contiguous."""
    return empty(x.shape, x.dtype) if x.dtype in FLOATS and _is_real(number) else NotImplemented


@rule(
    *("gelu_", "silu_", "mish_", "leaky_relu_", "elu_", "hardtanh_", "hardswish_", "hardsigmoid_"),
    *("sigmoid_", "tanh_", "exp_", "log_", "sqrt_", "rsqrt_", "neg_", "abs_", "erfinv_"),
    *("normal_", "uniform_", "exponential_", "log_normal_", "cauchy_"),
)
def unary_in_place(x: Tensor, *numbers: Any, **options: Any) -> Any:
    """x = f(x) for floating point x; also what overwrites x with random numbers."""
    return x if x.dtype in FLOATS and not is_expanded(x) else NotImplemented


@rule("div_.Scalar", "pow_.Scalar", "clamp_min_", "clamp_max_")
def with_number_in_place(x: Tensor, number: Any) -> Any:
    """x = f(x, number)."""
    return unary_in_place(x) if _is_real(number) else NotImplemented


@rule("clamp_")
def clamp_in_place(x: Tensor, min: Any = None, max: Any = None) -> Any:
    """X = min <= x <= max."""
    return NotImplemented if clamp(x, min, max) is NotImplemented or is_expanded(x) else x


# ---- of two tensors, or of a tensor and a number


@rule("add.Tensor", "sub.Tensor")
def sum_of(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    """X + alpha * y."""
    return arithmetic(x, y) if _can_be_added(x, y, alpha) else NotImplemented


@rule("mul.Tensor")
def arithmetic(x: Any, y: Any) -> Any:
    """F(x, y) of the operands' common dtype."""
    if not isinstance(x, Tensor):
        return NotImplemented
    if not isinstance(y, Tensor):
        return with_number(x, y)
    if x.dtype is y.dtype:
        return elementwise(x.dtype, x, y) if _has_arithmetic(x.dtype) else NotImplemented
    dtype = torch.result_type(x, y)
    return elementwise(dtype, x, y) if dtype in FLOATS and _can_be_cast(dtype, x, y) else NotImplemented


@rule("div.Tensor")
def quotient(x: Any, y: Any) -> Any:
    """X / y, where one of them is of floating point."""
    if not isinstance(x, Tensor) or x.dtype not in FLOATS:
        return NotImplemented
    return arithmetic(x, y)


@rule("floor_divide")
def floor_quotient(x: Any, y: Any) -> Any:
    """X // y for operands of one dtype, or an integer."""
    if not isinstance(x, Tensor) or not (x.dtype in FLOATS or x.dtype is torch.int64):
        return NotImplemented
    if not isinstance(y, Tensor):
        return elementwise_with_number(x.dtype, x) if type(y) is int and y else NotImplemented
    return elementwise(x.dtype, x, y) if y.dtype is x.dtype else NotImplemented


@rule("add_.Tensor", "sub_.Tensor")
def add_in_place(x: Tensor, y: Any, *, alpha: Any = 1) -> Any:
    """X = x + alpha * y."""
    if x.dtype is torch.int64 and type(y) is int and type(alpha) is int:
        return NotImplemented if is_expanded(x) else x  # a counter
    return arithmetic_in_place(x, y) if _can_be_added(x, y, alpha) else NotImplemented


@rule("mul_.Tensor", "div_.Tensor")
def arithmetic_in_place(x: Tensor, y: Any) -> Any:
    """X = f(x, y); x decides shape and dtype."""
    if x.dtype not in FLOATS or is_expanded(x):
        return NotImplemented
    if not isinstance(y, Tensor):
        return x if _is_real(y) else NotImplemented
    if y.dtype.is_complex or (x.shape != y.shape and broadcast_shape((x.shape, y.shape)) != tuple(x.shape)):
        return NotImplemented
    return x


@rule(*(f"{name}.{kind}" for name in ("eq", "ne", "lt", "le", "gt", "ge") for kind in ("Tensor", "Scalar")))
def comparison(x: Tensor, y: Any) -> Any:
    """X < y and the like."""
    if x.dtype.is_complex:
        return NotImplemented
    if not isinstance(y, Tensor):
        return elementwise_with_number(torch.bool, x) if _is_real(y) else NotImplemented
    if y.dtype.is_complex or (x.dtype is not y.dtype and not _can_be_cast(torch.result_type(x, y), x, y)):
        return NotImplemented
    return elementwise(torch.bool, x, y)


@rule("minimum", "maximum", "pow.Tensor_Tensor")
def of_one_dtype(x: Tensor, y: Tensor) -> Any:
    """F(x, y) for floating point of one dtype."""
    return elementwise(x.dtype, x, y) if x.dtype is y.dtype and x.dtype in FLOATS else NotImplemented


@rule("where.self")
def where(condition: Tensor, x: Any, y: Any) -> Any:
    """X where the condition holds, else y."""
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or condition.dtype is not torch.bool:
        return NotImplemented
    dtype = x.dtype if x.dtype is y.dtype else torch.result_type(x, y)
    return elementwise(dtype, condition, x, y) if _can_be_cast(dtype, x, y) else NotImplemented


@rule("masked_fill.Scalar")
def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Any:
    """A contiguous copy of x, expanded to the mask's shape, with values in it overwritten."""
    shape = broadcast_shape((x.shape, mask.shape))
    if shape is None or x.dtype not in FLOATS or mask.dtype is not torch.bool or not _is_real(value):
        return NotImplemented
    return empty(shape, x.dtype)


@rule("masked_fill_.Scalar")
def masked_fill_in_place(x: Tensor, mask: Tensor, value: Any) -> Any:
    """x with values in it overwritten."""
    if mask.dtype is not torch.bool or not _is_real(value):
        return NotImplemented
    return arithmetic_in_place(x, mask)


# ---- dropout


@rule("native_dropout")
def native_dropout(x: Tensor, p: float, train: bool | None) -> Any:
    """x with elements set to 0, and the mask of those that are kept."""
    if train is False or x.dtype not in FLOATS:
        return NotImplemented
    if not x.numel():
        return NotImplemented  # x itself, and a mask of its dtype
    return empty_like(x, x.dtype), empty_like(x, torch.bool)


@rule("native_dropout_backward")
def native_dropout_derivative(grad: Tensor, mask: Tensor, scale: float) -> Any:
    """grad * mask * scale."""
    return elementwise(grad.dtype, grad, mask) if grad.dtype in FLOATS else NotImplemented


# ---- derivatives


@rule(
    *("sigmoid_backward", "tanh_backward", "mish_backward", "hardswish_backward", "hardsigmoid_backward"),
    *("gelu_backward", "hardtanh_backward", "softplus_backward"),
)
def derivative(grad: Tensor, x: Tensor, *numbers: Any, **options: Any) -> Any:
    """grad * f'(x)."""
    return of_one_dtype(grad, x)


@rule("threshold_backward", "leaky_relu_backward")
def derivative_of_kinked(grad: Tensor, x: Tensor, *numbers: Any) -> Any:
    """Grad * f'(x), where the kernel looks at x first."""
    return of_one_dtype(x, grad)


@rule("elu_backward")
def elu_derivative(grad: Tensor, alpha: Any, scale: Any, input_scale: Any, is_result: bool, x: Tensor) -> Any:
    """grad * elu'(x)."""
    return of_one_dtype(grad, x)


# ---- what is plain


def _is_real(number: Any) -> bool:
    return isinstance(number, (int, float))


def _can_be_cast(dtype: torch.dtype, *operands: Tensor) -> bool:
    """Whether operands of another dtype keep their strides when they are cast, as the CPU does beforehand."""
    return all(x.dtype is dtype or is_dense(x) for x in operands)


def _has_arithmetic(dtype: torch.dtype) -> bool:
    return dtype in FLOATS or dtype is torch.int64 or dtype is torch.int32


def _can_be_added(x: Any, y: Any, alpha: Any) -> bool:
    if any(isinstance(term, Tensor) and term.dtype is torch.bool for term in (x, y)):
        return False  # truth values cannot be subtracted
    return type(alpha) is int or (isinstance(x, Tensor) and x.dtype in FLOATS and _is_real(alpha))
