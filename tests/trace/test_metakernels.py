"""Shape rules for the meta device: each against the real CPU kernel and torch's own meta kernel."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch_here import (
    skip_unless_group_norm_takes_any_layout,
    skip_unless_torch_runs,
    skip_unless_zeros_do_without_sympy,
)

from modelsum.trace import metakernels
from modelsum.trace.metakernels.table import RULES, rule_for
from modelsum.zoo import registry

META = torch.device("meta")
DTYPES = (torch.float32, torch.float64, torch.bfloat16)

# ---- layouts: the same tensor, laid out in memory in the ways that models meet


def contiguous(x: Tensor) -> Tensor:
    return x.contiguous()


def channels_last(x: Tensor) -> Tensor:
    if x.dim() not in (4, 5):
        return x.contiguous()
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)


def transposed(x: Tensor) -> Tensor:
    """The last two dimensions swapped in memory."""
    return x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 1 else x


def sliced(x: Tensor) -> Tensor:
    """Part of a larger tensor: there are gaps."""
    return torch.cat([x, x], dim=-1)[..., : x.shape[-1]] if x.dim() else x


def expanded(x: Tensor) -> Tensor:
    """The first dimension without memory of its own."""
    return x[:1].expand(x.shape) if x.dim() else x


LAYOUTS: tuple[Callable[[Tensor], Tensor], ...] = (contiguous, channels_last, transposed, sliced, expanded)


class Make:
    """Makes the tensors of a case, in one dtype and layout."""

    def __init__(self, dtype: torch.dtype, layout: Callable[[Tensor], Tensor]) -> None:
        self.dtype = dtype
        self.layout = layout

    def __call__(self, *shape: int) -> Tensor:
        return self.layout(torch.rand(shape).to(self.dtype))

    def plain(self, *shape: int) -> Tensor:
        return torch.rand(shape).to(self.dtype)

    def mask(self, *shape: int) -> Tensor:
        return self.layout(torch.rand(shape) > 0.5)


Case = Callable[[Make], tuple[Any, ...]]

IMAGE = (2, 6, 5, 4)
SHAPES = ((2, 6, 5, 4), (3, 4), (2, 3, 4), (2, 3, 2, 3, 4), (), (1, 3, 1, 1))


def unary(*numbers: Any) -> list[Case]:
    return [lambda t, s=s: (t(*s), *numbers) for s in SHAPES]


def binary(*numbers: Any) -> list[Case]:
    pairs = [(s, s) for s in SHAPES] + [
        ((2, 3, 4), (4,)),
        ((2, 6, 5, 4), (6, 1, 1)),
        ((3, 1), (1, 4)),
        ((), (2, 3)),
    ]
    return [
        *(lambda t, a=a, b=b: (t(*a), t(*b), *numbers) for a, b in pairs),
        lambda t: (t(*IMAGE), t.plain(*IMAGE), *numbers),
        lambda t: (t.plain(*IMAGE), t(*IMAGE), *numbers),
    ]


def same_shape(*numbers: Any) -> list[Case]:
    return binary(*numbers)[: len(SHAPES)] + binary(*numbers)[-2:]


def written(*numbers: Any) -> list[Case]:
    return [lambda t, s=s: (t.plain(*s), *numbers) for s in SHAPES]


def convolutions() -> list[Case]:
    def case(x: tuple[int, ...], weight: tuple[int, ...], *settings: Any, bias: bool = True) -> Case:
        transposed_, groups = settings[3], settings[5]
        out = weight[1] * groups if transposed_ else weight[0]
        return lambda t: (t(*x), t.plain(*weight), t.plain(out) if bias else None, *settings)

    return [
        case((2, 6, 9, 7), (8, 6, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
        case((2, 6, 9, 7), (8, 6, 3, 3), [2, 1], [0, 2], [1, 2], False, [0, 0], 1, bias=False),
        case((2, 6, 9, 7), (6, 1, 3, 3), [1], [1], [1], False, [0], 6),
        case((1, 6, 1, 1), (8, 6, 1, 1), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        case((2, 6, 5, 4), (6, 2, 3, 3), [2, 2], [1, 1], [1, 1], True, [1, 1], 2),
        case((2, 6, 9), (8, 3, 3), [1], [1], [1], False, [0], 2),
        case((2, 6, 9), (6, 4, 3), [2], [0], [1], True, [0], 1),
    ]


def volumes() -> list[Case]:
    return [
        lambda t: (
            t.plain(2, 3, 5, 5, 5),
            t.plain(4, 3, 3, 3, 3),
            None,
            [1] * 3,
            [1] * 3,
            [1] * 3,
            False,
            [0] * 3,
            1,
        )
    ]


def convolution_gradients() -> list[Case]:
    def case(forward: Case) -> Case:
        def arguments(t: Make) -> tuple[Any, ...]:
            x, weight, bias, *settings = forward(t)
            out = torch.ops.aten.convolution.default(x, weight, bias, *settings)
            sizes = None if bias is None else list(bias.shape)
            return (torch.ones_like(out), x, weight, sizes, *settings, [True, True, bias is not None])

        return arguments

    return [case(forward) for forward in convolutions() + volumes()]


def batch_norms() -> list[Case]:
    def case(shape: tuple[int, ...], affine: bool, training: bool) -> Case:
        def arguments(t: Make) -> tuple[Any, ...]:
            of_channels = [t.plain(shape[1]) for _ in range(4)]
            learned = of_channels[:2] if affine else [None, None]
            return (t(*shape), *learned, *of_channels[2:], training, 0.1, 1e-5)

        return arguments

    shapes = (IMAGE, (4, 6), (2, 6, 4), (2, 3, 2, 3, 4))
    return [case(s, a, f) for s in shapes for a in (True, False) for f in (True, False)]


def batch_norm_gradients() -> list[Case]:
    def case(shape: tuple[int, ...], training: bool) -> Case:
        def arguments(t: Make) -> tuple[Any, ...]:
            x, weight, bias, mean, var = t(*shape), *(t.plain(shape[1]) for _ in range(4))
            out, *saved = torch.ops.aten.native_batch_norm.default(
                x, weight, bias, mean, var, training, 0.1, 1e-5
            )
            return (torch.ones_like(out), x, weight, mean, var, *saved, training, 1e-5, [True, True, True])

        return arguments

    return [case(s, training) for s in (IMAGE, (4, 6)) for training in (True, False)]


def layer_norms() -> list[Case]:
    return [
        lambda t: (t(2, 3, 4), [4], t.plain(4), t.plain(4), 1e-5),
        lambda t: (t(*IMAGE), [5, 4], t.plain(5, 4), None, 1e-5),
        lambda t: (t(3, 4), [4], None, None, 1e-5),
    ]


def layer_norm_gradients() -> list[Case]:
    def arguments(t: Make) -> tuple[Any, ...]:
        x, weight, bias = t(2, 3, 4), t.plain(4), t.plain(4)
        out, mean, rstd = torch.ops.aten.native_layer_norm.default(x, [4], weight, bias, 1e-5)
        return (t(*out.shape), x, [4], mean, rstd, weight, bias, [True, True, True])

    return [arguments]


def group_norms() -> list[Case]:
    return [
        lambda t: (t(*IMAGE), t.plain(6), t.plain(6), 2, 6, 20, 3, 1e-5),
        lambda t: (t(2, 6, 4), None, None, 2, 6, 4, 2, 1e-5),
    ]


def group_norm_gradients() -> list[Case]:
    def arguments(t: Make) -> tuple[Any, ...]:
        x, weight, bias = t(*IMAGE), t.plain(6), t.plain(6)
        out, mean, rstd = torch.ops.aten.native_group_norm.default(x, weight, bias, 2, 6, 20, 3, 1e-5)
        return (torch.ones_like(out), x, mean, rstd, weight, 2, 6, 20, 3, [True, True, True])

    return [arguments]


POOLS: list[tuple[Any, ...]] = [
    ([2],),
    ([3, 2], [2, 1], [1, 1]),
    ([3], [2], [1]),
]


def pool_gradients(forward: Any, *, indices: bool = False) -> list[Case]:
    def case(*settings: Any) -> Case:
        def arguments(t: Make) -> tuple[Any, ...]:
            x = t(*IMAGE)
            out, *found = forward(x, *settings) if indices else (forward(x, *settings),)
            return (torch.ones_like(out), x, *settings, *found)

        return arguments

    return [case(*settings) for settings in forward_settings(indices)]


def forward_settings(indices: bool) -> list[tuple[Any, ...]]:
    last = ([1], False) if indices else (False, True, None)
    return [([2], [2], [0], *last), ([3], [2], [1], *last)]


def attention_gradients() -> list[Case]:
    def arguments(t: Make) -> tuple[Any, ...]:
        q, k, v = t(2, 3, 5, 4), t(2, 3, 7, 4), t(2, 3, 7, 4)
        out = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(q, k, v)
        return (torch.ones_like(out[0]), q, k, v, *out, 0.0, False)

    return [arguments]


def flash_attention() -> list[Case]:
    return [
        lambda t: (t(2, 4, 5, 8), t(2, 4, 7, 8), t(2, 4, 7, 8), 0.5, False),
        lambda t: (t(2, 4, 5, 8), t(2, 2, 7, 8), t(2, 2, 7, 8), 0.0, True),
    ]


def weight_norm_gradients() -> list[Case]:
    def case(dim: int, lengths: tuple[int, ...]) -> Case:
        def arguments(t: Make) -> tuple[Any, ...]:
            v, g = t(4, 5, 3), t.plain(*lengths)
            norms = torch.ops.aten._weight_norm_interface.default(v.contiguous(), g, dim)[1]
            return t(4, 5, 3), v, g, norms, dim

        return arguments

    return [case(0, (4, 1, 1)), case(2, (1, 1, 3))]


def efficient_attention() -> list[Case]:
    return [
        lambda t, saves=saves, mask=mask: (
            t(2, 3, 5, 4),
            t(2, 3, 37, 4),
            t(2, 3, 37, 6),
            t.plain(2, 3, 5, 37) if mask else None,
            saves,
        )
        for saves in (True, False)
        for mask in (True, False)
    ]


def efficient_attention_gradients() -> list[Case]:
    def arguments(t: Make) -> tuple[Any, ...]:
        q, k, v, out = t(2, 3, 5, 4), t(2, 3, 7, 4), t(2, 3, 7, 6), t(2, 3, 5, 6)
        state = indices()
        return (out, q, k, v, None, out, torch.rand(2, 3, 32), state, state, 0.0, [True] * 4)

    return [arguments]


def indices(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def nll_gradients() -> list[Case]:
    def arguments(t: Make) -> tuple[Any, ...]:
        x = t.plain(3, 4)
        loss, weight = torch.ops.aten.nll_loss_forward.default(x, indices(3), None, 1, -100)
        return (torch.ones_like(loss), x, indices(3), None, 1, -100, weight)

    return [arguments]


def grouped() -> list[Case]:
    """Two experts, and their gradients; some with rows that do not fill a multiple of 16 bytes."""

    def arguments(t: Make, columns: int) -> tuple[Any, ...]:
        dtype = torch.float32 if t.dtype is torch.float64 else t.dtype
        tokens, experts = t.plain(6, 8).to(dtype), t.plain(2, columns, 8).to(dtype).transpose(1, 2)
        return tokens, experts, torch.tensor([2, 6], dtype=torch.int32)

    def gradient(t: Make, columns: int) -> tuple[Any, ...]:
        tokens, _, ends = arguments(t, columns)
        return tokens.t(), t.plain(6, 8).to(tokens.dtype)[:, :columns], ends

    return [
        *(lambda t: arguments(t, 8), lambda t: arguments(t, 5)),
        *(lambda t: gradient(t, 8), lambda t: gradient(t, 5)),
    ]


def shared(names: tuple[str, ...], cases: list[Case]) -> dict[str, list[Case]]:
    return dict.fromkeys(names, cases)


CASES: dict[str, list[Case]] = {
    **shared(
        (
            *(
                "gelu",
                "silu",
                "mish",
                "relu",
                "leaky_relu",
                "elu",
                "hardswish",
                "hardsigmoid",
                "sigmoid",
                "tanh",
            ),
            *("softplus", "softshrink", "hardshrink", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt"),
            *("reciprocal", "erf", "sin", "cos", "neg", "abs", "floor", "ceil", "round", "hardtanh"),
            *("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "sum", "mean"),
        ),
        unary(),
    ),
    **shared(("bitwise_not", "logical_not"), [lambda t: (t.mask(*IMAGE),), lambda t: (t.mask(3),)]),
    **shared(("pow.Tensor_Scalar", "clamp_min", "clamp_max", "mul.Scalar", "div.Scalar"), unary(2.0)),
    **shared(("eq.Scalar", "ne.Scalar", "lt.Scalar", "le.Scalar", "gt.Scalar", "ge.Scalar"), unary(0.5)),
    "threshold": unary(0.1, 0.2),
    "clamp": unary(0.0, 6.0) + unary(None, 1),
    "pow.Scalar": [lambda t, s=s: (2, t(*s)) for s in SHAPES],
    "full_like": unary(1.5),
    **shared(
        (
            *("gelu_", "silu_", "mish_", "leaky_relu_", "elu_", "hardtanh_", "hardswish_"),
            *(
                "hardsigmoid_",
                "sigmoid_",
                "tanh_",
                "exp_",
                "log_",
                "sqrt_",
                "rsqrt_",
                "neg_",
                "abs_",
                "erfinv_",
            ),
            *("normal_", "uniform_", "exponential_", "log_normal_", "cauchy_"),
        ),
        written(),
    ),
    **shared(("div_.Scalar", "pow_.Scalar", "clamp_min_", "clamp_max_"), written(0.5)),
    "clamp_": written(0.0, 1.0),
    **shared(("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "minimum", "maximum"), binary()),
    "pow.Tensor_Tensor": binary(),
    **shared(("eq.Tensor", "ne.Tensor", "lt.Tensor", "le.Tensor", "gt.Tensor", "ge.Tensor"), binary()),
    **shared(
        ("add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor"),
        [
            lambda t: (t.plain(*IMAGE), t(*IMAGE)),
            lambda t: (t.plain(*IMAGE), t(4)),
            lambda t: (t.plain(3), t()),
            lambda t: (t.plain(3), torch.ones(3, dtype=torch.int64)),
        ],
    ),
    "where.self": [lambda t: (t.mask(*IMAGE), t(*IMAGE), t()), lambda t: (t.mask(5, 4), t(*IMAGE), t(4))],
    "masked_fill.Scalar": [
        lambda t: (t(*IMAGE), t.mask(*IMAGE), -1e9),
        lambda t: (t(3, 4), t.mask(2, 1, 1), 0),
    ],
    "masked_fill_.Scalar": [lambda t: (t.plain(*IMAGE), t.mask(5, 4), 0.5)],
    **shared(
        (
            *("sigmoid_backward", "tanh_backward", "mish_backward", "hardswish_backward"),
            *("hardsigmoid_backward", "gelu_backward"),
        ),
        same_shape(),
    ),
    "hardtanh_backward": same_shape(0.0, 6.0),
    "threshold_backward": same_shape(0),
    "leaky_relu_backward": same_shape(0.1, False),
    "softplus_backward": same_shape(1, 20),
    "elu_backward": [lambda t: (t(*IMAGE), 1, 1, 1, False, t.plain(*IMAGE))],
    "convolution": convolutions() + volumes(),
    "convolution_backward": convolution_gradients(),
    "native_batch_norm": batch_norms(),
    "native_batch_norm_backward": batch_norm_gradients(),
    "native_layer_norm": layer_norms(),
    "native_layer_norm_backward": layer_norm_gradients(),
    "native_group_norm": group_norms(),
    "native_group_norm_backward": group_norm_gradients(),
    "max_pool2d_with_indices": [
        lambda t, s=s: (t(2, 3, 7, 8), *s) for s in (*POOLS, ([3], [2], [1], [1], True), ([2], [1], [0], [2]))
    ],
    "avg_pool2d": [
        lambda t, s=s: (t(2, 3, 7, 8), *s)
        for s in (*POOLS, ([3], [2], [1], True, False), ([2], [], [0], True))
    ],
    "_adaptive_avg_pool2d": [lambda t: (t(2, 3, 7, 8), [3, 2]), lambda t: (t(3, 7, 8), [1, 1])],
    "max_pool2d_with_indices_backward": pool_gradients(
        torch.ops.aten.max_pool2d_with_indices.default, indices=True
    ),
    "avg_pool2d_backward": pool_gradients(torch.ops.aten.avg_pool2d.default),
    "_adaptive_avg_pool2d_backward": [lambda t: (t.plain(2, 3, 3, 2), t(2, 3, 7, 8))],
    **shared(
        ("upsample_nearest2d", "_upsample_nearest_exact2d"), [lambda t: (t(*IMAGE), [7, 9], None, None)]
    ),
    **shared(
        ("upsample_bilinear2d", "upsample_bicubic2d"), [lambda t: (t(*IMAGE), [7, 9], False, None, None)]
    ),
    **shared(
        ("upsample_nearest2d_backward", "_upsample_nearest_exact2d_backward"),
        [lambda t: (t(2, 6, 7, 9), [7, 9], list(IMAGE), None, None)],
    ),
    "_grouped_mm": grouped(),
    "mm": [lambda t: (t(3, 4), t(4, 5))],
    "bmm": [lambda t: (t(2, 3, 4), t(2, 4, 5))],
    "bmm.out": [lambda t: (t(2, 3, 4), t(2, 4, 5), {"out": t(2, 3, 5)})],
    "addmm": [lambda t: (t(5), t(3, 4), t(4, 5)), lambda t: (t(3, 5), t(3, 4), t(4, 5))],
    "baddbmm": [
        lambda t: (t(2, 3, 5), t(2, 3, 4), t(2, 4, 5)),
        lambda t: (t(1, 1, 5), t(2, 3, 4), t(2, 4, 5)),
    ],
    **shared(("new_empty", "new_zeros", "new_ones"), [lambda t: (t(2, 3), [4, 5]), lambda t: (t(2), [])]),
    **shared(
        ("zeros", "ones", "rand", "randn"),
        [
            lambda t: ([4, 5], {"device": t.plain().device}),
            lambda t: ([], {"device": t.plain().device, "dtype": t.dtype}),
        ],
    ),
    "cumsum": [
        lambda t: (t(*IMAGE), -1),
        lambda t: (t(3), 0),
        lambda t: (t(*IMAGE), 0, {"dtype": torch.int32}),
        lambda t: (indices(3, 4), 1, {"dtype": torch.float32}),
    ],
    "floor_divide": [*binary(), lambda t: (t(*IMAGE), 2), lambda t: (t(3), 2)],
    "scalar_tensor": [lambda t: (2.5, {"device": t.plain().device, "dtype": t.dtype})],
    "new_empty_strided": [lambda t: (t(2, 3), [4, 5], [1, 4]), lambda t: (t(2), [], [])],
    "_unsafe_view": [lambda t: (t.plain(2, 3, 4), [6, 4]), lambda t: (t.plain(2, 6), [2, -1, 3])],
    **shared(
        ("amax", "amin"),
        [lambda t: (t(*IMAGE), [-1, 1]), lambda t: (t(*IMAGE), [0], True), lambda t: (t(3, 4),)],
    ),
    "native_dropout": [lambda t, train=train: (t(*IMAGE), 0.5, train) for train in (True, None)],
    "native_dropout_backward": [lambda t: (t(*IMAGE), t.mask(*IMAGE), 2.0)],
    "arange": [lambda t: (5, {"device": t.plain().device})],
    "arange.start": [lambda t: (2, 5, {"device": t.plain().device, "dtype": torch.float32})],
    **shared(
        ("sum.dim_IntList", "mean.dim"),
        [
            lambda t: (t(*IMAGE), [-1, -2], True),
            lambda t: (t(*IMAGE), [1]),
            lambda t: (t(*IMAGE), None, True),
            lambda t: (t(*IMAGE), []),
        ],
    ),
    "linalg_vector_norm": [lambda t: (t(*IMAGE), 2, [-1], True), lambda t: (t(*IMAGE),)],
    **shared(("_softmax", "_log_softmax"), [lambda t: (t(*IMAGE), -1, False), lambda t: (t(3), 0, False)]),
    "_safe_softmax": [lambda t: (t.plain(*IMAGE), 1)],
    **shared(
        ("_softmax_backward_data", "_log_softmax_backward_data"),
        [lambda t: (t(*IMAGE), t.plain(*IMAGE), -1, t.dtype)],
    ),
    "cat": [
        lambda t: ([t(*IMAGE), t(2, 1, 5, 4)], 1),
        lambda t: ([t(*IMAGE), t.plain(*IMAGE)], -1),
        lambda t: ([t(3, 4)],),
    ],
    "stack": [lambda t: ([t.plain(*IMAGE), t.plain(*IMAGE)], 1), lambda t: ([t(3, 4), t(3, 4)], -1)],
    "roll": [
        lambda t: (t(*IMAGE), [-1, 2], [2, 3]),
        lambda t: (t(*IMAGE), [1], [-1]),
        lambda t: (t(*IMAGE), [4], [-1]),
    ],
    "embedding": [lambda t: (t(7, 4), indices(2, 3)), lambda t: (t(7, 4), indices(3))],
    "index.Tensor": [
        lambda t: (t.plain(7, 4), [indices(2, 3)]),
        lambda t: (t.plain(2, 7, 4), [None, indices(3)]),
    ],
    "index_put": [lambda t: (t(7, 4), [indices(3)], t(3, 4), True)],
    **shared(("tril", "triu"), [lambda t: (t(*IMAGE),), lambda t: (t(4, 4), 1)]),
    "select_backward": [lambda t: (t(2, 5, 4), list(IMAGE), 1, 0)],
    "slice_backward": [lambda t: (t(2, 2, 5, 4), list(IMAGE), 1, 0, 2, 1)],
    "nll_loss_forward": [lambda t, r=r: (t.plain(3, 4), indices(3), None, r, -100) for r in (0, 1, 2)],
    "nll_loss_backward": nll_gradients(),
    "_scaled_dot_product_flash_attention_for_cpu": [lambda t: (t(2, 3, 5, 4), t(2, 3, 7, 4), t(2, 3, 7, 4))],
    "_scaled_dot_product_flash_attention_for_cpu_backward": attention_gradients(),
    "_weight_norm_interface_backward": weight_norm_gradients(),
}


# Kernels of CUDA alone: what is right is said by torch's own meta kernel.
ON_CUDA_ALONE: dict[str, list[Case]] = {
    "_scaled_dot_product_flash_attention": flash_attention(),
    "_scaled_dot_product_efficient_attention": efficient_attention(),
    "_scaled_dot_product_efficient_attention_backward": efficient_attention_gradients(),
}


def op(name: str) -> Any:
    packet, _, overload = name.partition(".")
    if not hasattr(torch.ops.aten, packet):
        pytest.skip(f"torch {torch.__version__} has no {name}")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def on_meta(value: Any) -> Any:
    """The same arguments with meta tensors of the same strides."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)
    if isinstance(value, torch.device):
        return META
    if isinstance(value, (list, tuple)):
        return type(value)(on_meta(v) for v in value)
    if isinstance(value, dict):
        return {key: on_meta(v) for key, v in value.items()}
    return value


def call(function: Any, arguments: tuple[Any, ...]) -> Any:
    if arguments and isinstance(arguments[-1], dict):
        return function(*arguments[:-1], **arguments[-1])
    return function(*arguments)


def described(result: Any) -> Any:
    """Size, dtype and strides; of a dimension of size 1 the stride says nothing."""
    if isinstance(result, Tensor):
        strides = tuple(s for s, n in zip(result.stride(), result.shape, strict=True) if n != 1)
        return tuple(result.shape), result.dtype, strides
    if isinstance(result, (tuple, list)):
        return tuple(map(described, result))
    return result


def sizes(result: Any) -> Any:
    if isinstance(result, Tensor):
        return tuple(result.shape)
    return tuple(map(sizes, result)) if isinstance(result, (tuple, list)) else result


# ---- single ops


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_a_rule_gives_what_the_cpu_kernel_gives(name: str, layout: Callable[[Tensor], Tensor]) -> None:
    """Sizes, dtypes and strides are those of the real result; in place, the tensor itself is returned."""
    if name.startswith("native_group_norm") and layout not in (contiguous, channels_last):
        skip_unless_group_norm_takes_any_layout()
    answered = 0
    for dtype in DTYPES:
        for case in CASES[name]:
            arguments = case(Make(dtype, layout))
            given = on_meta(arguments)
            result = call(RULES[name], given)
            if result is NotImplemented:
                continue
            answered += 1
            assert described(result) == described(call(op(name), arguments)), (dtype, sizes(arguments))
            if name.partition(".")[0].endswith("_"):
                assert result is given[0]
    if layout is contiguous:
        assert answered == len(DTYPES) * len(CASES[name])


@pytest.mark.parametrize("name", sorted(ON_CUDA_ALONE))
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_a_rule_of_cuda_gives_what_torchs_meta_kernel_gives(
    name: str, layout: Callable[[Tensor], Tensor]
) -> None:
    returned = {result.name for result in op(name)._schema.returns}
    if name == "_scaled_dot_product_flash_attention" and "rng_state" not in returned:
        pytest.skip("this torch returns the state of the generator as two tensors")
    for dtype in DTYPES:
        for case in ON_CUDA_ALONE[name]:
            arguments = on_meta(case(Make(dtype, layout)))
            assert described(call(RULES[name], arguments)) == described(call(op(name), arguments))


STATISTICS_ARE_EMPTY_ON_THE_CPU = {"native_batch_norm"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_rule_gives_the_sizes_that_torchs_meta_kernel_gives(name: str) -> None:
    """Strides and statistics may differ there: torch's meta kernels do not always follow the CPU's."""
    for case in CASES[name]:
        arguments = on_meta(
            case(Make(torch.bfloat16 if name == "_grouped_mm" else torch.float32, contiguous))
        )
        skip_unless_torch_runs(partial(call, op(name), arguments))
        result, stock = call(RULES[name], arguments), call(op(name), arguments)
        if name in STATISTICS_ARE_EMPTY_ON_THE_CPU:
            result, stock = result[0], stock[0]
        assert sizes(result) == sizes(stock)


def test_every_rule_has_cases() -> None:
    """The memory package brings rules of its own, which have tests of their own."""
    own = {name for name, rule in RULES.items() if ".metakernels." in rule.__module__}
    assert {*CASES, *ON_CUDA_ALONE} == own


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_takes_the_arguments_of_its_op(name: str) -> None:
    """By position what torch gives by position, by name what it gives by name: all, and only what must be."""
    arguments = op(name)._schema.arguments
    signature = inspect.signature(RULES[name])
    for chosen in (arguments, [a for a in arguments if not a.has_default_value()]):
        signature.bind(
            *(a.name for a in chosen if not a.kwarg_only), **{a.name: a for a in chosen if a.kwarg_only}
        )


def on(device: torch.device, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


CONVOLVED = ([1, 1], [0, 0], [1, 1], False, [0, 0])
WRONG: dict[str, tuple[str, Callable[[torch.device], tuple[Any, ...]]]] = {
    "channels": ("convolution", lambda d: (on(d, 2, 5, 8, 8), on(d, 8, 6, 3, 3), None, *CONVOLVED, 1)),
    "kernel larger than input": (
        "convolution",
        lambda d: (on(d, 2, 6, 2, 2), on(d, 8, 6, 3, 3), None, *CONVOLVED, 1),
    ),
    "groups": ("convolution", lambda d: (on(d, 2, 6, 8, 8), on(d, 8, 2, 3, 3), None, *CONVOLVED, 2)),
    "matrices": ("mm", lambda d: (on(d, 3, 4), on(d, 5, 6))),
    "matrix of vectors": ("mm", lambda d: (on(d, 4), on(d, 4, 6))),
    "batches": ("bmm", lambda d: (on(d, 2, 3, 4), on(d, 3, 4, 6))),
    "linear features": ("addmm", lambda d: (on(d, 6), on(d, 3, 4), on(d, 5, 6))),
    "bias": ("addmm", lambda d: (on(d, 5), on(d, 3, 4), on(d, 4, 6))),
    "sum of shapes": ("add.Tensor", lambda d: (on(d, 2, 3), on(d, 2, 4))),
    "product in place": ("mul_.Tensor", lambda d: (on(d, 3), on(d, 2, 3))),
    "joined shapes": ("cat", lambda d: ([on(d, 2, 3), on(d, 3, 4)], 0)),
    "stacked shapes": ("stack", lambda d: ([on(d, 2, 3), on(d, 3, 2)], 0)),
    "normalised shape": ("native_layer_norm", lambda d: (on(d, 2, 3), [4], on(d, 4), on(d, 4), 1e-5)),
    "pool larger than input": ("max_pool2d_with_indices", lambda d: (on(d, 2, 3, 2, 2), [3], [1])),
    "pool padding": ("avg_pool2d", lambda d: (on(d, 2, 3, 8, 8), [2], [2], [2])),
    "reduced dimension": ("mean.dim", lambda d: (on(d, 2, 3), [2])),
    "mean of integers": ("mean", lambda d: (on(d, 2, 3, dtype=torch.int64),)),
    "difference of truth values": (
        "sub.Tensor",
        lambda d: (on(d, 3, dtype=torch.bool), on(d, 3, dtype=torch.bool)),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_where_the_op_raises_torchs_own_error_comes_out(wrong: str) -> None:
    name, arguments = WRONG[wrong]
    assert RULES[name](*arguments(META)) is NotImplemented
    stock = error_of(lambda: op(name)(*arguments(META)))
    ours = error_of(lambda: metakernels.run(op(name), arguments(META), {}))
    assert (type(ours), str(ours)) == (type(stock), str(stock))
    if stock is None and error_of(lambda: op(name)(*arguments(torch.device("cpu")))):
        pytest.skip("this torch's own meta kernel takes what its CPU kernel does not")
    assert stock is not None


def error_of(function: Callable[[], Any]) -> Exception | None:
    try:
        function()
    except Exception as error:
        return error
    return None


class Sub(Tensor):
    pass


@pytest.mark.parametrize(
    "other",
    [
        torch.zeros((), device="cpu"),
        torch.zeros(3, device=META).as_subclass(Sub),
        torch.zeros(3, dtype=torch.int64, device=META),
        torch.zeros(3, dtype=torch.complex64, device=META),
    ],
    ids=("a number on the CPU", "a subclass", "another dtype", "complex"),
)
def test_unusual_operands_give_what_torch_gives(other: Tensor) -> None:
    x = torch.zeros(3, device=META)
    for operands in ((x, other), (other, x)):
        ours, stock = metakernels.run(torch.ops.aten.add.Tensor, operands, {}), torch.add(*operands)
        assert described(ours) == described(stock)
        assert type(ours) is type(stock)


def test_an_op_of_another_namespace_has_no_rule() -> None:
    assert rule_for(torch.ops.prims.sin.default) is None
    assert rule_for(torch.ops.aten.sin.default) is RULES["sin"]


@pytest.mark.parametrize(("name", "sizes"), [("_unsafe_view", [24]), ("unsafe_split.Tensor", 2)])
def test_what_torch_does_not_call_a_view_shares_its_storage_all_the_same(name: str, sizes: Any) -> None:
    x = torch.empty(4, 6, device=META)
    results = metakernels.run(op(name), (x, sizes), {})
    for result in results if isinstance(results, (tuple, list)) else [results]:
        assert result.untyped_storage() is x.untyped_storage()


def test_a_view_stays_a_view() -> None:
    """No rule stands in the way of a view: changing it in place changes the version of its base."""
    x = torch.zeros(2, 6, device=META)
    view = metakernels.run(torch.ops.aten.view.default, (x, [3, 4]), {})
    assert view._base is x


# ---- whole models


class Rules(TorchDispatchMode):
    """What the recorder does with an op, without recording."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return metakernels.run(func, args, kwargs or {})


class TinyTransformer(nn.Module):
    """Patches, a class token, attention and an MLP: the ops of vit_b_16 in small."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.norm(x))
        return self.head(x[:, 0])


def documented(name: str) -> Callable[[], nn.Module]:
    return registry.ARCHITECTURES[name].build


def torchvision(name: str) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        model: nn.Module = getattr(pytest.importorskip("torchvision").models, name)(weights=None)
        return model

    return factory


MODELS = {
    "resnet20": documented("resnet20"),
    "mobilenet_v2": documented("mobilenet_v2"),
    "squeezenet1_1": documented("squeezenet1_1"),
    "densenet40_k12": documented("densenet40_k12"),
    "mnasnet_a1": documented("mnasnet_a1"),
    "transformer": TinyTransformer,
    "swin_t": torchvision("swin_t"),
    "convnext_tiny": torchvision("convnext_tiny"),
    "mobilenet_v3_small": torchvision("mobilenet_v3_small"),
    "efficientnet_b0": torchvision("efficientnet_b0"),
    "shufflenet_v2_x0_5": torchvision("shufflenet_v2_x0_5"),
}


def outputs(model: nn.Module, x: Tensor) -> Iterator[Any]:
    """Of every module in order, what it returned."""
    found: list[Any] = []
    for module in model.modules():
        module.register_forward_hook(lambda m, _, out: found.append((type(m).__name__, described(out))))
    model(x)
    yield from found


@pytest.fixture(autouse=True)
def _no_fused_attention() -> Iterator[None]:
    """The fused path of nn.MultiheadAttention is one op on the CPU and none on meta."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=("nchw", "nhwc")
)
def test_every_output_of_a_model_is_laid_out_as_on_the_cpu(
    name: str, memory_format: torch.memory_format
) -> None:
    model = MODELS[name]().eval().to(memory_format=memory_format)
    x = torch.rand(2, 3, 64, 64).contiguous(memory_format=memory_format)
    with torch.no_grad():
        real = list(outputs(model, x))
    for module in model.modules():
        module._forward_hooks.clear()
    with torch.no_grad(), Rules():
        assert list(outputs(model.to(META), x.to(META))) == real


@pytest.mark.parametrize("name", ["resnet20", "densenet40_k12", "transformer", "convnext_tiny"])
def test_every_gradient_of_a_model_is_laid_out_as_on_the_cpu(name: str) -> None:
    model = MODELS[name]().train()
    x = torch.rand(2, 3, 64, 64)
    model(x).sum().backward()
    real = {n: described(p.grad) for n, p in model.named_parameters()}
    model.zero_grad()
    model = model.to(META)
    with Rules():
        model(x.to(META)).sum().backward()
    assert {n: described(p.grad) for n, p in model.named_parameters()} == real


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "transformer", "swin_t", "efficientnet_b0"])
def test_summaries_do_not_depend_on_the_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers, MACs, shapes and bytes are the same with torch's own meta kernels."""
    from modelsum.trace.call import Call
    from modelsum.trace.recorder import Recorder

    def record() -> list[Any]:
        model = MODELS[name]().eval().to(META)
        recorder = Recorder(Call(model, (torch.zeros(2, 3, 64, 64, device=META),)), META)
        with torch.no_grad():
            recorder.run()
        return [
            (call.path, call.input_shapes, call.output_shapes, call.output_bytes, call.own_macs)
            for call in recorder.root.walk()
        ]

    with_rules = record()
    monkeypatch.setattr(metakernels, "run", lambda func, args, kwargs: func(*args, **kwargs))
    assert record() == with_rules
    assert sum(row[-1] for row in with_rules) > 0


# ---- imports

PROBE = """
import sys, torch
from modelsum.sources.building import build
from modelsum.trace.call import Call
from modelsum.trace.recorder import Recorder
from modelsum.zoo import registry
{transformer}
meta = torch.device("meta")
torch.backends.mha.set_fastpath_enabled(False)
for name in {names}:
    model, _ = build(registry.ARCHITECTURES[name].build if name else TinyTransformer, meta)
    with torch.no_grad():
        Recorder(Call(model.eval(), (torch.empty(2, 3, 224, 224, device="meta"),)), meta).run()
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
torch.nn.Conv2d(1, 1, 1, device=meta)(torch.empty(1, 1, 4, 4, device=meta))
print("sympy" in sys.modules)
"""


@pytest.mark.slow  # the command itself: tests/test_process.py
def test_a_pass_on_meta_imports_neither_sympy_nor_dynamo() -> None:
    """They cost more than building and running all these models; "" is the transformer above.

    A convolution by torch's own meta kernel, after it, does import sympy: the test can fail.
    """
    skip_unless_zeros_do_without_sympy()
    names = ["resnet50", "vgg16", "mobilenet_v2", "densenet121", "mnasnet1_0", "squeezenet1_1", ""]
    transformer = "from torch import nn, Tensor\n" + inspect.getsource(TinyTransformer)
    program = PROBE.format(transformer=transformer, names=names)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue\n"
