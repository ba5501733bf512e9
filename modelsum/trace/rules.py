"""Multiply-accumulates of one op, from the shapes of its tensors: a formula each.

A rule is called with the op's own arguments and `out=`, its result, and returns MACs for the whole batch.
Bias additions are never counted. Which op has which rule stands in `modelsum.trace.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from modelsum.trace.torch_private import sparse_indices, sparse_values
from modelsum.trace.values.contents import value_of

Rule: TypeAlias = Callable[..., int]


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
    """A convolution op that is never transposed; of a deformable one, sampling is not a matmul."""
    return _kernel_work(out, weight)


def transposed_convolution(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """A convolution op that is always transposed."""
    return _kernel_work(x, weight)


def convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, biases: Any, *rest: Any, out: Any
) -> int:
    """The derivative of a convolution: as much again for each gradient that is asked for, but the bias's.

    The input's is a convolution the other way round (transposed where it was not), the weight's multiplies
    every output's gradient with the inputs under the kernel. `rest` is stride, padding, dilation, transposed,
    output padding, groups, and which of the three are asked for.
    Source: torch.utils.flop_counter, conv_backward_flop, but for groups, which that counts too often in the
    weight's gradient.
    """
    transposed: bool = rest[3]
    wanted: list[bool] = rest[-1]
    return (wanted[0] + wanted[1]) * _kernel_work(x if transposed else gradient, weight)


def deformable_convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, *_: Any, out: Any) -> int:
    """torchvision's, which always makes the gradients of the columns and of the weight."""
    return 2 * _kernel_work(gradient, weight)


def scaled_linear(x: Tensor, weight: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """Of integers with scales: x [..., in], weight [out, in]."""
    return x.numel() * weight.shape[0]


def unpacking_linear(x: Tensor, weight: Tensor, shape: Any, *_: Any, out: Any, **__: Any) -> int:
    """Of packed weights that stand for the shape [out, in], x [..., in]."""
    return int(x.numel() * shape[0])


def time_batch_convolution(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """torch.conv_tbc: x [time, batch, in], weight [kernel, in, out]."""
    return out.numel() * weight.shape[0] * weight.shape[1]


def mm(a: Tensor, b: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """[m, k] @ [k, n] = m * k * n. Also int8 and fp8 matmuls, and sparse ones by what they store.

    A sparse matrix does one multiply-accumulate for each stored element and column of the other: its
    zeros are not there. Of two sparse ones, the elements of a column of `a` meet those of a row of `b`.
    """
    if _is_sparse(a) and _is_sparse(b):
        pairs = torch.bincount(_coordinates(a)[1], minlength=a.shape[1])
        return int(pairs.dot(torch.bincount(_coordinates(b)[0], minlength=a.shape[1])))
    if _is_sparse(b):
        return _stored(b) * a.shape[0]
    return _stored(a) * b.shape[-1]


def addmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [m, k] @ [k, n]; the addition is not counted."""
    return mm(a, b, out=out)


def bmm(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[batch, m, k] @ [batch, k, n] = batch * m * k * n."""
    return matmul(a, b, out=out) if a.is_nested else _stored(a) * b.shape[2]


def baddbmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [batch, m, k] @ [batch, k, n], also addbmm, which sums over the batch."""
    return a.numel() * b.shape[2]


def mv(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[m, k] @ [k], and the dot product [k] @ [k]: one multiply-accumulate an element of the first."""
    return _stored(a)


def addmv(bias: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """bias + [m, k] @ [k]."""
    return _stored(a)


def matmul(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[..., m, k] @ [..., k, n] with broadcasting, nested tensors sample by sample: out elements * k.

    torch splits a matmul of plain tensors into mm and bmm; nested and quantised ones it leaves whole.
    """
    if a.is_nested:
        parts = zip(a.unbind(), b.unbind() if b.is_nested else [b] * len(a.unbind()), strict=True)
        return sum(x.numel() * (y.shape[-1] if y.dim() > 1 else 1) for x, y in parts)
    return int(out.numel()) * a.shape[-1]


def sampled_addmm(sparse: Tensor, a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """a [m, k] @ b [k, n], computed only where the sparse matrix stores an element."""
    return _stored(sparse) * a.shape[-1]


def _is_sparse(x: Tensor) -> bool:
    return x.layout is not torch.strided and not x.is_nested


def _stored(x: Tensor) -> int:
    """Elements that take part in a matmul: those that a sparse tensor stores, else all."""
    if not _is_sparse(x) or x.is_mkldnn:
        return x.numel()
    return sparse_values(x).numel() if x.layout is torch.sparse_coo else x.values().numel()


def _coordinates(x: Tensor) -> Tensor:
    return sparse_indices(x.to_sparse_coo()).cpu()


def linear(x: Tensor, weight: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[..., in] with weight [out, in]: every vector times the whole weight."""
    return x.numel() * weight.shape[0]


def packed_linear(x: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """[..., in] with a packed weight (quantised or int4/int8 packed): the result tells its out features."""
    return x.numel() * out.shape[-1]


def packed_convolution(x: Tensor, packed: Any, *_: Any, out: Tensor, **__: Any) -> int:
    """A quantised convolution: its weight is unpacked for its shape alone."""
    return _kernel_work(out, packed.unpack()[0])


def packed_transposed_convolution(x: Tensor, packed: Any, *_: Any, out: Tensor, **__: Any) -> int:
    """A quantised transposed convolution."""
    return _kernel_work(x, packed.unpack()[0])


def grouped_mm(a: Tensor, b: Tensor, *_: Any, out: Tensor, **__: Any) -> int:
    """Grouped matmul of a mixture of experts: the tokens that are in `a` are computed, each with one expert.

    [tokens, k] with [experts, k, n]: tokens * k * n. [m, tokens] with [tokens, n] (a weight gradient):
    m * tokens * n. [groups, m, k] with [groups, k, n]: as bmm. [groups, m, k] with [k, tokens]:
    m * k * tokens.
    """
    if a.dim() == 3 and b.dim() == 2:
        return a.shape[1] * a.shape[2] * b.shape[1]
    return a.numel() * b.shape[-1]


def trilinear(
    a: Tensor, b: Tensor, c: Tensor, new_a: Any, new_b: Any, new_c: Any, *_: Any, out: Tensor
) -> int:
    """aten::_trilinear, a sum of products of three: what torch.nn.Bilinear and its derivatives are.

    Each of the three gets dimensions of size 1 at the places that follow them, and is expanded to one common
    shape, where every element is one product: for y[o] = x1 @ weight[o] @ x2, samples * out * in1 * in2.
    """
    shapes = [_with_ones(a, new_a), _with_ones(b, new_b), _with_ones(c, new_c)]
    return math.prod(torch.broadcast_shapes(*shapes))


def _with_ones(x: Tensor, places: Any) -> list[int]:
    sizes = list(x.shape)
    for place in places:
        sizes.insert(place, 1)
    return sizes


def attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """Scaled dot product attention: q @ k.T and scores @ v, for every query head.

    q [batch, heads, s, d], k [batch, kv_heads, t, d], v [batch, kv_heads, t, dv]:
    batch * heads * s * t * (d + dv). Grouped-query attention has fewer kv_heads but the same work. A mask is
    not subtracted, causal or not (FlashAttention's and torch.utils.flop_counter's convention). The same goes
    for flex_attention: all s * t pairs, also those that a block mask skips; a score_mod is elementwise.
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
    known_q, known_k = value_of(starts_q), value_of(starts_k)
    if known_q is None or known_k is None:
        raise NotImplementedError("the lengths of the sequences in a ragged attention are unknown on meta")
    pairs = int((known_q.diff() * known_k.diff()).sum())  # query-key pairs of all sequences
    return pairs * q.shape[-2] * (q.shape[-1] + v.shape[-1])


def attention_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any, out: Any, **__: Any
) -> int:
    """The derivative of a fused attention: five matmuls where forward has two.

    The scores are computed once more (d), then the gradients of the scores (dv), of v (dv), of q and k (d
    each), for all batch * heads * s * t pairs. Source: torch.utils.flop_counter, sdpa_backward_flop_count.
    """
    if not q.numel():
        return 0
    return q.numel() // q.shape[-1] * k.shape[-2] * (3 * q.shape[-1] + 2 * v.shape[-1])


def rnn_layer_backward(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """aten::mkldnn_rnn_layer_backward: the gradients of what goes in and of both weights, at every step."""
    return 2 * rnn_layer(x, w_ih, w_hh, out=out)


def rnn_layer(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """aten::mkldnn_rnn_layer, one layer and direction: every step's vector times both weights."""
    return x.numel() // x.shape[-1] * (w_ih.numel() + w_hh.numel())


def packed_rnn(x: Tensor, *_: Any, out: Any, **__: Any) -> int:
    """A quantised LSTM or GRU of several layers, whose weights are packed: its results tell their shapes.

    out is (output [..., directions * hidden], hidden state [layers * directions, batch, hidden], and for an
    LSTM the cell state). Every step's vector, and every hidden state, meets `gates` weights of `hidden` rows.
    """
    output, state = out[0], out[1]
    gates, hidden = (4 if len(out) == 3 else 3), state.shape[-1]
    directions = output.shape[-1] // hidden
    deeper_layers = state.shape[0] // directions - 1
    weights = x.shape[-1] + hidden + deeper_layers * (directions * hidden + hidden)
    return x.numel() // x.shape[-1] * int(directions * gates * hidden * weights)


def packed_cell(gates: int) -> Rule:
    """A quantised RNN cell: x [batch, in] and its state [batch, hidden] meet `gates * hidden` rows each."""

    def rule(x: Tensor, state: Any, *_: Any, out: Any, **__: Any) -> int:
        h = state if isinstance(state, Tensor) else state[0]
        return int(gates * h.shape[-1] * (x.numel() + h.numel()))

    return rule


def cudnn_rnn(x: Tensor, weights: Any, *_: Any, out: Any, **__: Any) -> int:
    """aten::_cudnn_rnn: all layers and directions; every step's vector times every weight matrix."""
    steps = x.numel() // x.shape[-1]
    return steps * int(sum(math.prod(w.shape) for w in weights if w.dim() == 2))
