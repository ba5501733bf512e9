"""Calls of the ops that have a rule, with their multiply-accumulates derived by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

r = torch.randn
sdpa = F.scaled_dot_product_attention


class Calls(nn.Module):
    """A model that is one function, of the modules it holds and its inputs."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: Any) -> Any:
        return self.function(*self.children(), *args)


def as_model(function: Any) -> nn.Module:
    return function if isinstance(function, nn.Module) else Calls(function)


def with_kernel(kernel: SDPBackend) -> Callable[..., Tensor]:
    def attend(*args: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return sdpa(*args)

    return attend


def attend_itself(**options: Any) -> nn.Module:
    attention = nn.MultiheadAttention(8, 2, **options)
    return Calls(lambda mha, x: mha(x, x, x, need_weights=False)[0], mha=attention)


def attend_to(**options: Any) -> nn.Module:
    attention = nn.MultiheadAttention(8, 2, **options)
    return Calls(lambda mha, x, y: mha(x, y, y)[0], mha=attention)


q, k, v = r(2, 8, 6, 4), r(2, 8, 7, 4), r(2, 8, 7, 4)
QKV = 2 * 8 * 6 * 7 * (4 + 4)
MHA = 2 * (3 * 5 * 8 * 8 + 2 * 5 * 5 * (4 + 4) + 5 * 8 * 8)  # in, heads, out, for 2 x 5 tokens of 8
BLOCK = MHA + 2 * 5 * (8 * 16 + 16 * 8)

# name: (function or module, inputs, multiply-accumulates, what torch.utils.flop_counter makes of it).
# The counter's None: it does not know the op, or a fused kernel hides it; math.nan: it fails.
PLAIN: dict[str, tuple[Any, tuple[Any, ...], int, Any]] = {
    # Convolutions: output elements * kernel elements * in channels / groups.
    "conv1d": (nn.Conv1d(4, 6, 3), (r(2, 4, 10),), 2 * 6 * 8 * 3 * 4, True),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), 2), (r(2, 4, 9, 8),), 2 * 6 * 4 * 4 * 6 * 4, True),
    "conv3d": (nn.Conv3d(4, 6, 3), (r(2, 4, 5, 6, 7),), 2 * 6 * 3 * 4 * 5 * 27 * 4, True),
    "conv unbatched": (nn.Conv2d(4, 6, 3), (r(4, 10, 10),), 6 * 64 * 9 * 4, True),
    "conv grouped": (nn.Conv2d(4, 6, 3, groups=2), (r(1, 4, 5, 5),), 6 * 9 * 9 * 2, True),
    "conv depthwise": (nn.Conv2d(4, 8, 3, groups=4), (r(1, 4, 5, 5),), 8 * 9 * 9, True),
    "conv dilated": (nn.Conv2d(4, 6, 3, dilation=2), (r(1, 4, 9, 9),), 6 * 25 * 9 * 4, True),
    "conv same": (nn.Conv2d(4, 6, 4, padding="same"), (r(1, 4, 5, 5),), 6 * 25 * 16 * 4, True),
    "conv reflect": (
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        (r(1, 4, 5, 5),),
        6 * 25 * 9 * 4,
        True,
    ),
    "conv bfloat16": (nn.Conv2d(4, 6, 3).bfloat16(), (r(1, 4, 5, 5).bfloat16(),), 6 * 9 * 9 * 4, True),
    "conv complex": (F.conv2d, (r(1, 3, 4, 4) + 0j, r(4, 3, 2, 2) + 0j), 3 * (4 * 9 * 4 * 3), True),
    "conv tbc": (
        lambda x, w, b: torch.conv_tbc(x, w, b, 0),
        (r(7, 2, 4), r(3, 4, 5), r(5)),
        5 * 2 * 5 * 12,
        0,
    ),
    # Transposed: input elements * kernel elements * out channels / groups.
    "conv transpose 1d": (nn.ConvTranspose1d(4, 6, 3, 2, groups=2), (r(2, 4, 5),), 2 * 4 * 5 * 3 * 3, True),
    "conv transpose 2d": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), (r(1, 4, 5, 5),), 4 * 25 * 9 * 6, True),
    "conv transpose 3d": (nn.ConvTranspose3d(4, 6, 2), (r(1, 4, 2, 3, 4),), 4 * 24 * 8 * 6, True),
    # Matmuls: m * k * n.
    "mm": (torch.mm, (r(3, 4), r(4, 5)), 60, True),
    "mm out": (lambda a, b: torch.mm(a, b, out=a.new_empty(3, 5)), (r(3, 4), r(4, 5)), 60, True),
    "mm integers": (torch.mm, (torch.ones(3, 4).long(), torch.ones(4, 5).long()), 60, True),
    "mm complex": (torch.mm, (r(3, 4) + 0j, r(4, 5) + 0j), 60, True),
    "addmm": (torch.addmm, (r(3, 5), r(3, 4), r(4, 5)), 60, True),
    "addmm in place": (lambda c, a, b: c.addmm_(a, b), (r(3, 5), r(3, 4), r(4, 5)), 60, 0),
    "addmm gelu": (
        lambda c, a, b: torch._addmm_activation(c, a, b, use_gelu=True),
        (r(5), r(3, 4), r(4, 5)),
        60,
        0,
    ),
    "bmm": (torch.bmm, (r(2, 3, 4), r(2, 4, 5)), 120, True),
    "baddbmm": (torch.baddbmm, (r(2, 3, 5), r(2, 3, 4), r(2, 4, 5)), 120, True),
    "addbmm": (torch.addbmm, (r(3, 5), r(2, 3, 4), r(2, 4, 5)), 120, 0),
    "mv": (torch.mv, (r(3, 4), r(4)), 12, 0),
    "addmv": (torch.addmv, (r(3), r(3, 4), r(4)), 12, 0),
    "dot": (torch.dot, (r(4), r(4)), 4, 0),
    "vdot": (torch.vdot, (r(4), r(4)), 4, 0),
    "inner": (torch.inner, (r(3, 4), r(5, 4)), 60, True),
    "outer is elementwise": (torch.outer, (r(3), r(4)), 0, True),
    "addr is elementwise": (torch.addr, (r(3, 4), r(3), r(4)), 0, True),
    "matmul vector vector": (torch.matmul, (r(4), r(4)), 4, 0),
    "matmul matrix vector": (torch.matmul, (r(7, 2, 3, 4), r(4)), 7 * 2 * 12, 0),
    "matmul vector matrix": (torch.matmul, (r(4), r(7, 2, 4, 5)), 7 * 2 * 20, True),
    "matmul folded": (torch.matmul, (r(7, 2, 3, 4), r(4, 5)), 7 * 2 * 60, True),
    "matmul broadcast": (torch.matmul, (r(7, 1, 3, 4), r(2, 4, 5)), 7 * 2 * 60, True),
    "einsum batch": (lambda a, b: torch.einsum("bij,bjk->bik", a, b), (r(2, 3, 4), r(2, 4, 5)), 120, True),
    "einsum chain": (
        lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c),
        (r(3, 4), r(4, 5), r(5, 6)),
        3 * 4 * 5 + 3 * 5 * 6,
        True,
    ),
    "einsum heads": (
        lambda a, b: torch.einsum("bqhd,bkhd->bhqk", a, b),
        (r(2, 3, 4, 5), r(2, 6, 4, 5)),
        2 * 4 * 3 * 6 * 5,
        True,
    ),
    "einsum outer": (lambda a, b: torch.einsum("i,j->ij", a, b), (r(3), r(4)), 0, True),
    "tensordot": (lambda a, b: torch.tensordot(a, b, 2), (r(3, 4, 5), r(4, 5, 6)), 3 * 20 * 6, True),
    "multi_dot": (lambda *m: torch.linalg.multi_dot(m), (r(3, 4), r(4, 5), r(5, 6)), 60 + 90, True),
    "linear 1d": (nn.Linear(4, 5), (r(4),), 20, True),
    "linear 2d": (nn.Linear(4, 5), (r(3, 4),), 60, True),
    "linear 3d no bias": (nn.Linear(4, 5, bias=False), (r(2, 3, 4),), 120, True),
    "linear 4d": (nn.Linear(4, 5), (r(2, 3, 6, 4),), 720, True),
    "linear half": (nn.Linear(4, 5).half(), (r(3, 4).half(),), 60, True),
    "bilinear": (nn.Bilinear(4, 5, 6), (r(2, 3, 4), r(2, 3, 5)), 2 * 3 * 6 * 4 * 5, 0),
    # Attention: heads * queries * keys * (d of the key + d of the value).
    "sdpa": (sdpa, (q, k, v), QKV, None),
    "sdpa 3d": (sdpa, (q[0], k[0], v[0]), QKV // 2, None),
    "sdpa 2d": (sdpa, (q[0, 0], k[0, 0], v[0, 0]), QKV // 16, True),
    "sdpa causal": (lambda q, k, v: sdpa(q, k, v, is_causal=True), (q, k, v), QKV, None),
    "sdpa bool mask": (sdpa, (q, k, v, torch.ones(6, 7, dtype=torch.bool)), QKV, None),
    "sdpa float mask": (sdpa, (q, k, v, r(2, 1, 6, 7)), QKV, None),
    "sdpa dropout": (lambda q, k, v: sdpa(q, k, v, dropout_p=0.5), (q, k, v), QKV, True),
    "sdpa v dim": (sdpa, (q, k, r(2, 8, 7, 9)), 2 * 8 * 6 * 7 * (4 + 9), True),
    "sdpa bfloat16": (sdpa, (q.bfloat16(), k.bfloat16(), v.bfloat16()), QKV, None),
    "sdpa grouped query": (
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        (q, r(2, 2, 7, 4), r(2, 2, 7, 4)),
        QKV,
        None,
    ),
    "sdpa one key head": (sdpa, (q, r(1, 1, 7, 4), r(1, 1, 7, 4)), QKV, True),
    "sdpa math": (with_kernel(SDPBackend.MATH), (q, k, v), QKV, True),
    "sdpa flash": (with_kernel(SDPBackend.FLASH_ATTENTION), (q, k, v), QKV, None),
    "flex": (flex_attention, (q, k, v), QKV, math.nan),
    "flex score_mod": (
        lambda q, k, v: flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + i - j),
        (q, k, v),
        QKV,
        math.nan,
    ),
    "flex grouped query": (
        lambda q, k, v: flex_attention(q, k, v, enable_gqa=True),
        (q, r(2, 2, 7, 4), r(2, 2, 7, 4)),
        QKV,
        math.nan,
    ),
    "multihead": (attend_to(), (r(5, 2, 8), r(5, 2, 8)), MHA, True),
    "multihead no weights": (attend_itself(batch_first=True), (r(2, 5, 8),), MHA, None),
    "multihead unbatched": (attend_itself(), (r(5, 8),), MHA // 2, None),
    "multihead other dims": (
        attend_to(kdim=3, vdim=3),
        (r(5, 2, 8), r(6, 2, 3)),
        2 * (5 * 8 * 8 + 2 * 6 * 3 * 8 + 2 * 5 * 6 * 8 + 5 * 8 * 8),
        True,
    ),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (r(2, 5, 8),), BLOCK, None),
    "encoder": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3),
        (r(2, 5, 8),),
        3 * BLOCK,
        None,
    ),
    "transformer": (
        nn.Transformer(8, 2, 2, 2, 16),
        (r(5, 2, 8), r(5, 2, 8)),
        2 * BLOCK + 2 * (BLOCK + MHA),
        None,
    ),
    # Recurrent layers: steps * gates * hidden * (in + hidden).
    "rnn": (nn.RNN(4, 5, bias=False), (r(7, 2, 4),), 14 * 5 * (4 + 5), True),
    "rnn relu unbatched": (nn.RNN(4, 5, nonlinearity="relu"), (r(7, 4),), 7 * 5 * (4 + 5), True),
    "gru 2 layers both ways": (
        nn.GRU(4, 5, 2, bidirectional=True),
        (r(7, 2, 4),),
        14 * 2 * 3 * 5 * ((4 + 5) + (10 + 5)),
        True,
    ),
    "lstm": (nn.LSTM(4, 5), (r(7, 2, 4),), 14 * 4 * 5 * (4 + 5), None),
    "lstm unbatched": (nn.LSTM(4, 5), (r(7, 4),), 7 * 4 * 5 * (4 + 5), None),
    "lstm 2 layers both ways": (
        nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True),
        (r(2, 7, 4),),
        14 * 2 * 4 * 5 * ((4 + 5) + (10 + 5)),
        None,
    ),
    "lstm projected": (nn.LSTM(4, 5, proj_size=3), (r(7, 2, 4),), 14 * (4 * 5 * (4 + 3) + 5 * 3), True),
    "lstm packed": (
        nn.LSTM(4, 5),
        (nn.utils.rnn.pack_sequence([r(3, 4), r(2, 4)]),),
        5 * 4 * 5 * (4 + 5),
        None,
    ),
    "gru packed inside": (
        Calls(lambda gru, x, n: gru(nn.utils.rnn.pack_padded_sequence(x, n))[0], gru=nn.GRU(4, 5)),
        (r(3, 2, 4), torch.tensor([3, 2])),
        5 * 3 * 5 * (4 + 5),
        True,
    ),
    "rnn cell": (nn.RNNCell(4, 5), (r(4),), 5 * (4 + 5), True),
    "gru cell": (nn.GRUCell(4, 5), (r(2, 4),), 2 * 3 * 5 * (4 + 5), True),
    "lstm cell": (nn.LSTMCell(4, 5), (r(2, 4),), 2 * 4 * 5 * (4 + 5), True),
    # Matmuls of few bits, and of many experts.
    "int mm": (torch._int_mm, (torch.ones(32, 16).char(), torch.ones(16, 24).char()), 32 * 16 * 24, 0),
    "int8 weight": (
        torch._weight_int8pack_mm,
        (r(32, 64).bfloat16(), torch.ones(48, 64).char(), torch.ones(48).bfloat16()),
        32 * 64 * 48,
        0,
    ),
    "int4 weight": (
        lambda x, w, s: torch._weight_int4pack_mm_for_cpu(
            x, torch._convert_weight_to_int4pack_for_cpu(w, 1), 32, s
        ),
        (r(32, 64).bfloat16(), torch.ones(48, 64).int(), torch.ones(2, 48, 2).bfloat16()),
        32 * 64 * 48,
        0,
    ),
    "experts": (
        lambda a, b, ends: torch._grouped_mm(a, b, offs=ends),
        (r(32, 16).bfloat16(), r(4, 16, 24).bfloat16(), torch.tensor([8, 16, 16, 32]).int()),
        32 * 16 * 24,
        0,
    ),
    "experts, weight gradient": (
        lambda a, b, ends: torch._grouped_mm(a, b, offs=ends),
        (r(16, 32).bfloat16(), r(32, 24).bfloat16(), torch.tensor([8, 16, 16, 32]).int()),
        16 * 32 * 24,
        0,
    ),
    "experts of equal size": (
        lambda a, b: torch._grouped_mm(a, b),
        (r(4, 8, 16).bfloat16(), r(4, 16, 24).bfloat16()),
        4 * 8 * 16 * 24,
        0,
    ),
    "experts, transposed": (
        lambda a, b, ends: torch._grouped_mm(a, b, offs=ends),
        (r(4, 8, 16).bfloat16(), r(16, 32).bfloat16(), torch.tensor([8, 16, 16, 32]).int()),
        8 * 16 * 32,
        0,
    ),
    "elementwise": (lambda x: (x.abs_(), 2 - x, F.gelu(x), x.mul_(2)), (r(3),), 0, 0),
    "views in place": (lambda x: x.clone().unsqueeze_(0).transpose_(0, 1).squeeze_(), (r(3),), 0, 0),
    # What a model does inside.
    "autograd function": (
        type(
            "Product",
            (torch.autograd.Function,),
            {
                "forward": staticmethod(lambda ctx, a, b: a @ b),
                "backward": staticmethod(lambda ctx, g: (g, g)),
            },
        ).apply,
        (r(3, 4), r(4, 5)),
        60,
        True,
    ),
    "vmap": (lambda a, b: torch.vmap(torch.mv)(a, b), (r(2, 3, 4), r(2, 4)), 24, True),
    "forward mode": (
        lambda a, b: torch.func.jvp(lambda x: x @ b, (a,), (a,)),
        (r(3, 4), r(4, 5)),
        None,
        True,
    ),
}
