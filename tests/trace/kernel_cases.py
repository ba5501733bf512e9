"""Ops that only the CPU has a kernel for, or only another device, with their multiply-accumulates by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from op_cases import QKV, k, q, r, sdpa, v
from torch import Tensor, nn


def quantized(*shape: int, kind: torch.dtype = torch.quint8) -> Tensor:
    return torch.quantize_per_tensor(r(*shape), 0.1, 0, kind)


def weights(*shape: int) -> Tensor:
    return quantized(*shape, kind=torch.qint8)


def packed(name: str, *arguments: Any) -> Callable[[Tensor], Tensor]:
    """A quantised op whose weight is packed inside the forward."""
    prepack, op = (getattr(torch.ops.quantized, n) for n in (f"{name.split('_relu')[0]}_prepack", name))
    return lambda x: op(x, prepack(*arguments), 0.1, 0)


def dynamic(module: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(module), {type(module)}, torch.qint8)


def static() -> nn.Module:
    """conv + relu in one kernel, then linear, between quantise and dequantise."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.conv, self.relu, self.linear = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 36, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.linear(self.relu(self.conv(self.enter(x))).flatten(1)))

    net = Net().eval()
    net.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    torch.ao.quantization.fuse_modules(net, [["conv", "relu"]], inplace=True)
    torch.ao.quantization.prepare(net, inplace=True)(r(2, 3, 8, 8))
    return torch.ao.quantization.convert(net)


aten = torch.ops.aten
image, kernel = r(1, 4, 5, 5), r(6, 4, 3, 3)
volume, kernel3d = r(1, 4, 5, 5, 5), r(6, 4, 3, 3, 3)
IMAGE, VOLUME = 6 * 9 * 9 * 4, 6 * 27 * 27 * 4
sparse = torch.diag(torch.ones(4)).mul(2)[:, :4]
sparse = torch.cat((sparse, torch.zeros(1, 4))).to_sparse()  # 5 x 4, of which 4 are stored
CELL = 2 * 5 * (4 + 5)
LAYERS = 14 * 2 * 5 * ((4 + 5) + (10 + 5))  # two layers, both ways, 7 steps of 2

# name of the op: (what calls it, inputs, multiply-accumulates)
ON_CPU: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "aten.mkldnn_convolution": (
        lambda x, w: aten.mkldnn_convolution(x, w, None, [0, 0], [1, 1], [1, 1], 1),
        (image, kernel),
        IMAGE,
    ),
    "aten._convolution": (
        lambda x, w: aten._convolution(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, *[False] * 4),
        (image, kernel),
        IMAGE,
    ),
    "aten._slow_conv2d_forward": (
        lambda x, w: aten._slow_conv2d_forward(x, w, [3, 3], None, [1, 1], [0, 0]),
        (image, kernel),
        IMAGE,
    ),
    "aten.slow_conv_dilated2d": (lambda x, w: aten.slow_conv_dilated2d(x, w, [3, 3]), (image, kernel), IMAGE),
    "aten.slow_conv3d_forward": (
        lambda x, w: aten.slow_conv3d_forward(x, w, [3, 3, 3], None, [1, 1, 1], [0, 0, 0]),
        (volume, kernel3d),
        VOLUME,
    ),
    "aten.slow_conv_dilated3d": (
        lambda x, w: aten.slow_conv_dilated3d(x, w, [3, 3, 3]),
        (volume, kernel3d),
        VOLUME,
    ),
    "aten.slow_conv_transpose2d": (
        lambda x, w: aten.slow_conv_transpose2d(x, w, [3, 3]),
        (image, r(4, 6, 3, 3)),
        4 * 25 * 9 * 6,
    ),
    "aten.slow_conv_transpose3d": (
        lambda x, w: aten.slow_conv_transpose3d(x, w, [3, 3, 3]),
        (volume, r(4, 6, 3, 3, 3)),
        4 * 125 * 27 * 6,
    ),
    "aten.mkldnn_linear": (
        lambda x, w: aten.mkldnn_linear(x.to_mkldnn(), w.to_mkldnn()).to_dense(),
        (r(3, 4), r(5, 4)),
        60,
    ),
    "mkldnn._linear_pointwise": (
        lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""),
        (r(3, 4), r(5, 4)),
        60,
    ),
    "aten._scaled_mm": (
        lambda a, b, s: torch._scaled_mm(a, b.t(), scale_a=s, scale_b=s, out_dtype=torch.bfloat16),
        (r(32, 16).to(torch.float8_e4m3fn), r(48, 16).to(torch.float8_e4m3fn), torch.ones(())),
        32 * 16 * 48,
    ),
    # Sparse: a multiply-accumulate for each stored element and column.
    "aten._sparse_addmm": (torch.sparse.mm, (sparse, r(4, 6)), 4 * 6),
    "aten._sparse_mm_reduce_impl": (
        lambda a, b: torch.sparse.mm(a, b, "sum"),
        (sparse.to_sparse_csr(), r(4, 6)),
        4 * 6,
    ),
    "aten.hspmm": (torch.hspmm, (sparse, r(4, 6)), 4 * 6),
    "aten.sspaddmm": (torch.sspaddmm, (torch.eye(5, 6).to_sparse(), sparse, r(4, 6)), 4 * 6),
    "aten._sparse_sparse_matmul": (torch.sparse.mm, (sparse, sparse.t().coalesce()), 4),
    "aten.sparse_sampled_addmm": (
        torch.sparse.sampled_addmm,
        (sparse.to_sparse_csr(), r(5, 6), r(6, 4)),
        4 * 6,
    ),
    "aten.mm": (torch.matmul, (torch.eye(4).to_sparse_bsr((2, 2)), r(4, 6)), 2 * 4 * 6),
    "aten.mv": (torch.mv, (sparse, r(4)), 4),
    "aten.bmm": (torch.bmm, (torch.stack((sparse, sparse)).coalesce(), r(2, 4, 6)), 2 * 4 * 6),
    "aten.linear": (F.linear, (torch.nested.nested_tensor([r(3, 4), r(5, 4)]), r(6, 4)), 8 * 4 * 6),
    "aten.matmul": (
        lambda x: sdpa(x, x, x),
        (torch.nested.nested_tensor([r(2, 3, 8), r(2, 5, 8)]),),
        2 * (9 + 25) * (8 + 8),
    ),
    # Quantised.
    "quantized.linear": (packed("linear", weights(5, 4), None), (quantized(3, 4),), 60),
    "quantized.linear_relu": (packed("linear_relu", weights(5, 4), None), (quantized(3, 4),), 60),
    "quantized.linear_dynamic": (dynamic(nn.Linear(4, 5)), (r(3, 4),), 60),
    "quantized.linear_dynamic_fp16": (
        torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 5)), {nn.Linear}, torch.float16),
        (r(3, 4),),
        60,
    ),
    "quantized.matmul": (
        lambda a, b: torch.ops.quantized.matmul(a, b, 0.1, 0),
        (quantized(2, 3, 4), quantized(2, 4, 5)),
        120,
    ),
    "quantized.conv1d": (
        packed("conv1d", weights(4, 3, 3), None, [1], [0], [1], 1),
        (quantized(2, 3, 8),),
        2 * 4 * 6 * 9,
    ),
    "quantized.conv2d": (
        packed("conv2d", weights(4, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], 1),
        (quantized(2, 3, 8, 8),),
        2 * 4 * 36 * 27,
    ),
    "quantized.conv2d_relu": (static(), (r(2, 3, 8, 8),), 2 * 4 * 36 * 27 + 2 * 144 * 5),
    "quantized.conv3d": (
        packed("conv3d", weights(4, 3, 2, 2, 2), None, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1),
        (quantized(1, 3, 3, 3, 3),),
        4 * 8 * 24,
    ),
    "quantized.conv2d_dynamic": (
        lambda x: torch.ops.quantized.conv2d_dynamic(
            x,
            torch.ops.quantized.conv2d_prepack(weights(4, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], 1),
            False,
        ),
        (r(2, 3, 8, 8),),
        2 * 4 * 36 * 27,
    ),
    "quantized.conv_transpose1d": (
        packed("conv_transpose1d", weights(3, 4, 3), None, [1], [0], [0], [1], 1),
        (quantized(2, 3, 8),),
        2 * 3 * 8 * 12,
    ),
    "quantized.conv_transpose2d": (
        packed("conv_transpose2d", weights(3, 4, 3, 3), None, [1, 1], [0, 0], [0, 0], [1, 1], 1),
        (quantized(2, 3, 8, 8),),
        2 * 3 * 64 * 36,
    ),
    "aten.quantized_lstm": (dynamic(nn.LSTM(4, 5, 2, bidirectional=True)), (r(7, 2, 4),), 4 * LAYERS),
    "aten.quantized_gru": (dynamic(nn.GRU(4, 5, 2, bidirectional=True)), (r(7, 2, 4),), 3 * LAYERS),
    "quantized.quantized_lstm_cell_dynamic": (dynamic(nn.LSTMCell(4, 5)), (r(2, 4),), 4 * CELL),
    "quantized.quantized_gru_cell_dynamic": (dynamic(nn.GRUCell(4, 5)), (r(2, 4),), 3 * CELL),
    "quantized.quantized_rnn_tanh_cell_dynamic": (dynamic(nn.RNNCell(4, 5)), (r(2, 4),), CELL),
}


ragged = r(8, 2, 4).half()
starts = torch.tensor([0, 3, 8]).int()
# Kernels of other devices run on meta, for their shapes.
_seed = torch.zeros((), dtype=torch.int64)
_DERIVED = 2 * 8 * 6 * 7 * 5 * 4  # five matmuls of d = dv = 4
_out, _lse = r(2, 8, 6, 4), r(2, 8, 6)
_half = (_out.half(), q.half(), k.half(), v.half(), _out.half())

ON_META: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "aten.convolution_backward": (
        lambda g, x, w: aten.convolution_backward(
            *(g, x, w, [8], [2, 2], [1, 1], [1, 1], False, [0, 0], 2, [False, True, True])
        ),
        (r(3, 8, 5, 5), r(3, 4, 9, 9), r(8, 2, 3, 3)),
        3 * 8 * 5 * 5 * 2 * 3 * 3,
    ),
    "aten._scaled_dot_product_flash_attention_backward": (
        lambda *x: aten._scaled_dot_product_flash_attention_backward(
            *(*x, None, None, 6, 7, 0.0, False, _seed.to("meta"), _seed.to("meta"))
        ),
        (*_half, _lse),
        _DERIVED,
    ),
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": (
        lambda *x: aten._scaled_dot_product_flash_attention_for_cpu_backward(*x, 0.0, False),
        (_out, q, k, v, _out, _lse),
        _DERIVED,
    ),
    "aten._scaled_dot_product_efficient_attention_backward": (
        lambda g, q, k, v, out, lse: aten._scaled_dot_product_efficient_attention_backward(
            *(g, q, k, v, None, out, lse, _seed.to("meta"), _seed.to("meta"), 0.0, [True, True, True, False])
        ),
        (_out, q, k, v, _out, _lse),
        _DERIVED,
    ),
    "aten._scaled_dot_product_cudnn_attention_backward": (
        lambda *x: aten._scaled_dot_product_cudnn_attention_backward(
            *(*x, _seed.to("meta"), _seed.to("meta"), None, None, None, 6, 7, 0.0, False)
        ),
        (*_half, _lse),
        _DERIVED,
    ),
    "aten._scaled_dot_product_flash_attention": (
        aten._scaled_dot_product_flash_attention,
        (q.half(), k.half(), v.half()),
        QKV,
    ),
    "aten._scaled_dot_product_efficient_attention": (
        lambda q, k, v: aten._scaled_dot_product_efficient_attention(q, k, v, None, False),
        (q, k, v),
        QKV,
    ),
    "aten._scaled_dot_product_cudnn_attention": (
        lambda q, k, v: aten._scaled_dot_product_cudnn_attention(q, k, v, None, False),
        (q.half(), k.half(), v.half()),
        QKV,
    ),
    "aten._scaled_dot_product_fused_attention_overrideable": (
        aten._scaled_dot_product_fused_attention_overrideable,
        (q, k, v),
        QKV,
    ),
    "aten._flash_attention_forward": (
        lambda x, n: aten._flash_attention_forward(x, x, x, n, n, 5, 5, 0.0, False, False),
        (ragged, starts),
        2 * (9 + 25) * (4 + 4),
    ),
    "aten._efficient_attention_forward": (
        lambda x, n: aten._efficient_attention_forward(x, x, x, None, n, n, 5, 5, 0.0, 0),
        (ragged[None], starts),
        2 * (9 + 25) * (4 + 4),
    ),
    "aten._cudnn_rnn": (
        lambda x, w, u, h: aten._cudnn_rnn(
            x, [w, u], 2, None, h, None, 1, 5, 0, 1, False, 0.0, False, False, [], None
        ),
        (r(7, 2, 4), r(5, 4), r(5, 5), r(1, 2, 5)),
        14 * 5 * (4 + 5),
    ),
    "torchvision.deform_conv2d": (
        lambda x, o, w: pytest.importorskip("torchvision").ops.deform_conv2d(x, o, w, padding=1),
        (r(2, 4, 8, 8), r(2, 18, 8, 8), r(6, 2, 3, 3)),
        2 * 6 * 64 * 9 * 2,
    ),
    "aten._dyn_quant_matmul_4bit": (
        lambda x, w, s: aten._dyn_quant_matmul_4bit(
            x, aten._dyn_quant_pack_4bit_weight(w, s, None, 64, 64, 48), 64, 64, 48
        ),
        (r(32, 64), torch.ones(48, 32).byte(), r(48, 1)),
        32 * 64 * 48,
    ),
}


# Kernels of a library, device or CPU engine that is not here; most share their rule with one that is.
NOT_HERE = {
    "aten.mkldnn_rnn_layer_backward",  # in tests/trace/test_training_macs.py, as is the next
    "torchvision._deform_conv2d_backward",
    "aten.convolution_backward_overrideable",
    "aten._scaled_dot_product_fused_attention_overrideable_backward",
    "transformers.grouped_mm_fallback",  # an op of transformers, for torch without grouped matmuls
    "aten.convolution_overrideable",
    "aten.cudnn_convolution",
    "aten.cudnn_convolution_relu",
    "aten.cudnn_convolution_add_relu",
    "aten.cudnn_convolution_transpose",
    "aten.miopen_convolution",
    "aten.miopen_depthwise_convolution",
    "aten.miopen_convolution_transpose",
    "aten.miopen_rnn",
    "aten._conv_depthwise2d",
    "aten.conv_depthwise3d",
    "aten._weight_int4pack_mm",
    "aten._scaled_mm_v2",
    "aten._scaled_grouped_mm",
    "aten._scaled_grouped_mm_v2",
    # in tests/trace/test_quantised_weights.py, where the package is
    *("bitsandbytes.gemm_4bit", "bitsandbytes.gemv_4bit"),
    *("bitsandbytes.int8_scaled_mm", "bitsandbytes.int8_linear_matmul"),
    "aten._sparse_mm",  # torch writes it as _sparse_addmm
    "aten.mkldnn_rnn_layer",  # whether the CPU uses it depends on its kind
    "quantized.linear_leaky_relu",
    "quantized.linear_tanh",
    "quantized.linear_relu_dynamic",
    "quantized.linear_relu_dynamic_fp16",
    "quantized.conv1d_relu",
    "quantized.conv1d_dynamic",
    "quantized.conv2d_add",
    "quantized.conv2d_add_relu",
    "quantized.conv3d_relu",
    "quantized.conv3d_dynamic",
    "quantized.conv_transpose1d_dynamic",
    "quantized.conv_transpose2d_dynamic",
    "quantized.conv_transpose3d",
    "quantized.conv_transpose3d_dynamic",
    "quantized.quantized_rnn_relu_cell_dynamic",
}
