"""What a node of ONNX does: the op of torch that counts as it does, a view, or results that count nothing.

By the rules for all models: multiply-accumulates of convolutions, matmuls and attention count, and nothing
else. An operator that is in no list here is an uncounted op, "onnx.GridSample", never 0 in silence.
(onnx.ai/onnx/operators)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from modelsum.trace.torch_private import below_dispatch

Given = Sequence[Tensor | None]

#: Which inputs of an operator are statistics, no weights.
BUFFERS: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}

#: Results are what was given, in another shape.
_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")

#: Operators that multiply and accumulate nothing that counts, as `modelsum.trace.ignored` has them of torch.
_IGNORED = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu
    CenterCropPad Clip Compress Concat ConcatFromSequence Constant ConstantOfShape Cos Cosh CumSum
    DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Floor Gather
    GatherElements GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax InstanceNormalization IsInf
    IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool Max
    MaxPool MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Multinomial Neg NonZero Not OneHot
    Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Resize ReverseSequence RotaryEmbedding Round
    Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Sub Sum Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK
    Transpose Trilu Unique Upsample Where Xor
"""

_UNCOUNTED = frozenset(_IGNORED.split())
_LIBRARY = torch.library.Library("onnx", "FRAGMENT")
_DEFINED: set[str] = set()


def run(op: str, attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> list[Tensor | None]:
    """The results of a node: each a shape and a dtype that is wanted, None for one that nobody asks for."""
    first = given[0] if given else None
    if op in _VIEWS and first is not None:
        shape, _ = wanted[0]
        view = first.reshape(shape) if first.numel() == torch.Size(shape).numel() else None
        if view is not None:
            return [view, *_made(wanted[1:])]
    if op in _COUNTED:
        result = _COUNTED[op](attributes, given, wanted)
        if tuple(result.shape) == wanted[0][0] and result.dtype == wanted[0][1]:
            return [result, *_made(wanted[1:])]
    elif op not in _UNCOUNTED:
        _unknown(op, [x for x in given if x is not None])
    return _made(wanted)


def _made(wanted: Sequence[Any]) -> list[Tensor | None]:
    return [None if each is None else torch.empty(each[0], dtype=each[1], device="meta") for each in wanted]


def _unknown(op: str, given: list[Tensor]) -> None:
    """Call an op of torch of that name, for which there is no rule."""
    if op not in _DEFINED:
        _LIBRARY.define(f"{op}(Tensor[] given) -> Tensor")
        _LIBRARY.impl(op, lambda given: torch.empty(0, device="meta"), "Meta")
        _DEFINED.add(op)
    getattr(torch.ops.onnx, op)(given or [torch.empty(0, device="meta")])


# ---- what counts


def _hidden(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """A tensor that nobody allocates: an argument in the form that torch's op takes it in."""
    with below_dispatch():
        return like.new_empty(tuple(shape), dtype=dtype)


def _alike(*given: Tensor | None) -> tuple[Tensor, ...]:
    """Tensors of one dtype: quantized operators mix them, and accumulate in another one."""
    dtype = torch.float32 if any(x is not None and not x.is_floating_point() for x in given) else None
    return tuple(x if dtype is None else _hidden(x, x.shape, dtype) for x in given if x is not None)


def _convolution(
    attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any], places: Sequence[int]
) -> Tensor:
    x, weight = _alike(*(given[place] for place in places))
    strides = attributes.get("strides") or [1] * (weight.dim() - 2)
    dilations = attributes.get("dilations") or [1] * len(strides)
    # However it is padded: the result has so many positions.
    spans = zip(wanted[0][0][2:], strides, dilations, weight.shape[2:], strict=True)
    sizes = [(out - 1) * stride + dilation * (size - 1) + 1 for out, stride, dilation, size in spans]
    padded = _hidden(x, (*x.shape[:2], *sizes))
    zeros = [0] * len(strides)
    groups = int(attributes.get("group", 1))
    return torch.convolution(padded, weight, None, strides, zeros, dilations, False, zeros, groups)


def _transposed(attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> Tensor:
    x, weight = _alike(*given[:2])
    count = weight.dim() - 2
    strides, ones, zeros = attributes.get("strides") or [1] * count, [1] * count, [0] * count
    groups = int(attributes.get("group", 1))
    made = torch.convolution(
        x, weight, None, strides, zeros, attributes.get("dilations") or ones, True, zeros, groups
    )
    return made if tuple(made.shape) == wanted[0][0] else _hidden(made, wanted[0][0])


def _gemm(attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> Tensor:
    a, b = _alike(*given[:2])
    return torch.mm(a.t() if attributes.get("transA") else a, b.t() if attributes.get("transB") else b)


def _matmul(places: Sequence[int]) -> Callable[..., Tensor]:
    return lambda attributes, given, wanted: torch.matmul(*_alike(*(given[place] for place in places)))


def _einsum(attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> Tensor:
    return torch.einsum(str(attributes["equation"]), *[x for x in given if x is not None])


def _recurrent(attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> Tensor:
    """X [steps, batch, in], W [directions, gates * hidden, in], R [directions, gates * hidden, hidden]."""
    x, w, r = _alike(*given[:3])
    rows = _hidden(x, (x.shape[0] * x.shape[1], x.shape[2]))
    state = _hidden(x, (rows.shape[0], r.shape[2]))
    for direction in range(w.shape[0]):
        torch.mm(rows, w[direction].t())
        torch.mm(state, r[direction].t())
    shape = next(each for each in wanted if each is not None)[0]
    return torch.empty(shape, dtype=x.dtype, device="meta")


def _attention(attributes: Mapping[str, Any], given: Given, wanted: Sequence[Any]) -> Tensor:
    """Q, K, V [batch, heads, tokens, size], or [batch, tokens, heads * size] with the numbers of heads."""
    q, k, v = _alike(*given[:3])
    if q.dim() == 3:
        heads, shared = int(attributes["q_num_heads"]), int(attributes["kv_num_heads"])
        q, k, v = (
            _hidden(x, (x.shape[0], n, x.shape[1], x.shape[2] // n))
            for x, n in ((q, heads), (k, shared), (v, shared))
        )
    made = functional.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1])
    return made if tuple(made.shape) == wanted[0][0] else made.transpose(1, 2).reshape(wanted[0][0])


_COUNTED: Mapping[str, Callable[..., Tensor]] = {
    "Conv": lambda a, g, w: _convolution(a, g, w, (0, 1)),
    "ConvInteger": lambda a, g, w: _convolution(a, g, w, (0, 1)),
    "QLinearConv": lambda a, g, w: _convolution(a, g, w, (0, 3)),
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul((0, 1)),
    "MatMulInteger": _matmul((0, 1)),
    "QLinearMatMul": _matmul((0, 3)),
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Attention": _attention,
}
