"""Memory that CPU kernels allocate inside themselves, by op.

A rule is called with the arguments of its op and `out=`, its result; it returns the most bytes that are
allocated while the kernel runs, beyond those of the result, or None outside of what was measured: then a
prediction is a lower bound. Only shapes are looked at. Each rule says what it was measured on: the profiler's
records of the CPU allocator, torch 2.14.1, x86 with AVX-512, float32 or bfloat16, 2 threads.
tests/memory/test_cpu_{kernels,bf16}.py measure again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from modelsum.memory.cpu import convolution as cpu_convolution
from modelsum.memory.cpu import deformable, ordering, pooling, quantized, resampling
from modelsum.memory.cpu import elementwise as cpu_elementwise
from modelsum.memory.cpu.layouts import nbytes
from modelsum.memory.cpu.machine import AVX2, AVX512, OTHER, isa, measured_on_two_threads, threads
from modelsum.memory.cpu.matmul_bf16 import matmul_scratch_bytes
from modelsum.memory.cpu.pooling import is_channels_last

Rule: TypeAlias = Callable[..., int | None]

_FLOAT_BYTES = 4
_SMALL_PRODUCT = 400
_MANY_POSITIONS = 1024


def _copy_unless_contiguous(*tensors: Any) -> int:
    return sum(nbytes(t) for t in tensors if t is not None and not t.is_contiguous())


# ---- normalisation


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, *rest: Any, out: Any) -> int:
    """A factor and a summand for each channel, in float32: 10,240 bytes for 1,280 channels.

    In training, each thread's sums too where channels are the last to be laid out: 2,048 bytes for [32, 128].
    What is laid out neither so nor contiguous takes three numbers for each channel, in training from 16 bits
    a copy in float32: 49,344 bytes for [4, 96, 32] transposed.
    """
    numbers = x.shape[1] * _FLOAT_BYTES
    is_training = next((flag for flag in rest if isinstance(flag, bool)), False)
    narrow = x.element_size() < _FLOAT_BYTES
    wide_weights = any(t is not None and t.element_size() == _FLOAT_BYTES for t in (weight, mean))
    if not (_channels_are_last(x) or x.is_contiguous()):
        if not is_training:
            return int(numbers * 3 * (1 if not narrow or wide_weights else 0.5))
        return int(_FLOAT_BYTES * x.numel() + numbers * (-1 if wide_weights else 0.5)) if narrow else 0
    if not (is_training and _channels_are_last(x)):
        return int(2 * numbers)
    if not narrow:
        return int((2 + threads()) * numbers)
    return int((1 + threads() + wide_weights) * numbers)


def batch_norm_backward(grad: Any, x: Any, *rest: Any, out: Any) -> int:
    """One buffer like the input where both are laid out alike: [8, 64, 32, 32] takes 2 MiB more.

    Before it, where channels are the last, sums for each thread and channel: two, from 16 bits three more for
    each channel. Another layout, of either, takes one number for each channel; from 16 bits, where the
    gradient's sum needs it, a copy in float32: 65,920 bytes for [4, 64, 8, 8] of twice as many channels.
    """
    of_channels = x.shape[1] * x.element_size()
    last = _channels_are_last(x)
    alike = grad.stride() == x.stride() and (last or x.is_contiguous())
    if not alike:
        if x.element_size() == _FLOAT_BYTES or _sums_as_it_lies(grad):
            return int(of_channels)
        return int(_FLOAT_BYTES * x.numel() + 3 * of_channels)
    sums = 2 * threads() * _FLOAT_BYTES * x.shape[1] if last else 0
    if last and x.element_size() < _FLOAT_BYTES:
        sums += 3 * _FLOAT_BYTES * x.shape[1]
    return int(max(nbytes(x) if rest[-1][0] else 0, sums))


def _sums_as_it_lies(grad: Any) -> bool:
    """Whether what is summed for a channel lies together, or is one number."""
    return 0 in grad.stride() or (grad.stride(1) == 1 and grad.dim() == 3)


def _channels_are_last(x: Any) -> bool:
    """As batch normalisation has it (Normalization.cpp, batch_norm_use_channels_last_kernel)."""
    if x.is_contiguous():
        return bool(x.stride(1) == 1 and x.shape[1] > 1)
    return bool(x.dim() > 3 and x.movedim(1, -1).is_contiguous())


def layer_norm(x: Any, *rest: Any, out: Any) -> int:
    """A contiguous copy of the input: [8, 16, 16, 96] permuted takes 786,432 bytes more."""
    return _copy_unless_contiguous(x)


def layer_norm_backward(
    grad: Any, x: Any, shape: Any, mean: Any, rstd: Any, weight: Any, *rest: Any, out: Any
) -> int:
    """Contiguous copies, and each thread's sums for weight and bias: 2 * 2 * 96 floats for 96 features."""
    sums = 2 * threads() * nbytes(weight) if weight is not None else 0
    return _copy_unless_contiguous(grad, x) + sums


def group_norm(
    x: Any, weight: Any, bias: Any, n: int, channels: int, positions: int, groups: int, *_: Any, out: Any
) -> int:
    """Channels last, two sums for each channel of a sample: 1,024 bytes for [4, 32, 6, 8].

    From 1,024 positions on each thread has these, and there are two for each group. What is neither that nor
    contiguous is copied.
    """
    if x.is_contiguous():
        return 0
    if not is_channels_last(x):
        return nbytes(x)
    sums = _sums_of_channels(x, n * channels)
    if positions < _MANY_POSITIONS:
        return sums
    return threads() * sums + _sums_of_channels(x, n * groups)


def group_norm_backward(
    grad: Any, x: Any, mean: Any, rstd: Any, weight: Any, n: int, channels: int, *_: Any, out: Any
) -> int:
    """Two sums for each channel of a sample, and copies of what is laid out otherwise than the input."""
    last = is_channels_last(x) and not x.is_contiguous()
    copied = 0 if last or x.is_contiguous() else nbytes(x)
    if not (is_channels_last(grad) if last else grad.is_contiguous()):
        copied += nbytes(grad)
    return copied + _sums_of_channels(x, n * channels)


def _sums_of_channels(x: Any, count: int) -> int:
    """Two of each, in float32 from 16 bits."""
    return int(2 * max(_FLOAT_BYTES, x.element_size()) * count)


# ---- matrix products


@measured_on_two_threads
def mm(a: Any, b: Any, *, out: Any) -> int | None:
    """A copy of an operand that BLAS cannot take: an expanded gradient [8, 1000] takes 32,000 bytes.

    In bfloat16, which oneDNN multiplies with AVX-512 and torch itself with AVX2, its blocks too.
    """
    copied = sum(nbytes(t) for t in (a, b) if not _blas_takes(t))
    if a.element_size() != 2 or isa() == AVX2:
        return copied
    return copied + matmul_scratch_bytes(a, b) if isa() == AVX512 else None


def addmm(bias: Any, a: Any, b: Any, *, out: Any, **_: Any) -> int | None:
    """As mm."""
    return mm(a, b, out=out)


def bmm(a: Any, b: Any, *, out: Any, **_: Any) -> int:
    """The operands of one product after the other that BLAS cannot take.

    Of [3, 20, 24], expanded, that is 1,920 bytes. Where it can take all of them, and for products of less
    than 400 multiplications, nothing; neither in 16 bits where oneDNN does them.
    """
    products = a.shape[1] * a.shape[2] * b.shape[2]
    if products < _SMALL_PRODUCT or (a.element_size() == 2 and isa() != AVX2):
        return 0
    return sum(int(t.shape[1] * t.shape[2] * t.element_size()) for t in (a, b) if not _blas_takes(t))


def baddbmm(added: Any, a: Any, b: Any, *, out: Any, **_: Any) -> int:
    """As bmm."""
    return bmm(a, b, out=out)


def _blas_takes(matrices: Any) -> bool:
    rows, columns = matrices.shape[-2:]
    row_stride, column_stride = matrices.stride()[-2:]
    by_rows = column_stride == 1 and row_stride >= max(1, columns)
    by_columns = row_stride == 1 and column_stride >= max(1, rows)
    return bool(by_rows or by_columns)


# ---- attention


def flash_attention(query: Any, key: Any, *rest: Any, out: Any, **_: Any) -> int | None:
    """Scores, maxima, sums and results of a tile for each thread: 25,088 bytes for [8, 4, 64, 32].

    They are in float32. From 16 bits, the scores are there in that type too: 33,280 bytes.
    """
    if _is_unknown_in_16_bits(query):
        return None
    rows, columns = _tile(query, key)
    numbers = threads() * _FLOAT_BYTES * (rows * columns + 2 * rows + rows * query.shape[-1])
    return int(numbers + _rounded_scores(query, rows * columns))


def _is_unknown_in_16_bits(tensor: Any) -> bool:
    return bool(tensor.element_size() == 2 and isa() == OTHER)


def flash_attention_backward(grad: Any, query: Any, key: Any, *rest: Any, out: Any, **_: Any) -> int | None:
    """Two tiles of scores and one of row sums for each thread: 32,896 bytes for [8, 4, 64, 32].

    A gradient whose heads do not lie together for each position is copied: where sequences are the outer
    dimension, as nn.MultiheadAttention has it, or heads. From 16 bits, both tiles are there in that type too,
    with AVX-512 also sums for the gradients: 71,556 bytes.
    """
    if _is_unknown_in_16_bits(query):
        return None
    rows, columns = _tile(query, key)
    copied = 0 if grad.transpose(1, 2).is_contiguous() else nbytes(grad)
    sums = 0
    if query.element_size() == 2 and isa() == AVX512:
        sums = threads() * _FLOAT_BYTES * query.shape[-1] * (rows + columns)
    both = 2 * _rounded_scores(query, rows * columns)
    return int(copied + both + sums + _FLOAT_BYTES * (2 * threads() * rows * columns + rows))


def _rounded_scores(query: Any, scores: int) -> int:
    return threads() * 2 * scores if query.element_size() == 2 else 0


def _tile(query: Any, key: Any) -> tuple[int, int]:
    """ATen/native/cpu/FlashAttentionKernel.cpp: q_split_size by the length, kv_split_size 512."""
    length = query.shape[2]
    rows = 256 if length >= 768 else 64 if length >= 192 else 32
    return min(rows, length), min(512, key.shape[2])


# ---- activations


def gelu_backward(grad: Any, x: Any, *, approximate: str = "none", out: Any) -> int:
    """oneDNN's, for a contiguous input: a copy of a gradient that is not, 12,800 bytes for [32, 100].

    One that is not expanded but permuted is copied twice. The approximation by tanh has no copies.
    """
    if approximate != "none" or not x.is_contiguous() or grad.is_contiguous():
        return 0
    return nbytes(x) * (1 if 0 in grad.stride() else 2)


# ---- moving values


def roll(x: Any, shifts: Any, dims: Any = (), *, out: Any) -> int:
    """Dimension after dimension, each into a new tensor: [8, 21, 21, 96] over two takes 1,354,752 bytes."""
    return nbytes(x) if len(dims) > 1 else 0


def embedding_dense_backward(grad: Any, *rest: Any, out: Any) -> int:
    """A contiguous copy of the gradient: 131,072 bytes for [8, 64, 64] transposed."""
    return _copy_unless_contiguous(grad)


# ---- recurrent layers


def leading_dimension(n: int) -> int:
    """oneDNN's get_good_ld: whole cache lines of 16 floats, but no multiple of 256 of them."""
    rounded = -(-n // 16) * 16
    return rounded + 16 if rounded % 256 == 0 else rounded


def lstm_workspace_bytes(length: int, batch: int, inputs: int, hidden: int) -> int:
    """What a training pass of an LSTM layer keeps for the backward pass.

    Gates and states of every step, by fitting the sizes that 21 shapes gave (64 steps of 8 samples with 64
    inputs and 128 hidden: 4,005,888 bytes): within 0.5 %.
    """
    wide, own = leading_dimension(max(inputs, hidden)), leading_dimension(hidden)
    per_sample = (
        length * leading_dimension(4 * hidden)
        + (6 * length + 8) * wide
        + (length + 2) * own
        + 4 * length * hidden
    )
    return _FLOAT_BYTES * batch * per_sample


def _lstm_weights(inputs: int, hidden: int) -> int:
    return _FLOAT_BYTES * leading_dimension(4 * hidden) * (inputs + hidden)


def _lstm_scratch(length: int, batch: int, hidden: int) -> int:
    return _FLOAT_BYTES * length * batch * leading_dimension(4 * hidden) + 12856


def lstm(x: Any, weight: Any, recurrent_weight: Any, *rest: Any, out: Any) -> int | None:
    """Packed weights, the sum of the biases, the gates: 1,501,752 bytes for [64, 8, 64] and 128 hidden.

    Without a workspace to return, the states of all steps take the place of the gates: 1,489,752 bytes.
    """
    if isa() == OTHER:
        return None
    length, batch, inputs = x.shape
    hidden = recurrent_weight.shape[1]
    packed = _lstm_weights(inputs, hidden) + _FLOAT_BYTES * 4 * hidden
    if rest[-1]:
        return int(packed + _lstm_scratch(length, batch, hidden))
    rows = 2 * (length + 1) * (leading_dimension(max(inputs, hidden)) + leading_dimension(hidden))
    return int(packed + _FLOAT_BYTES * batch * rows + 17240)


def lstm_backward(x: Any, weight: Any, recurrent_weight: Any, *rest: Any, out: Any) -> int | None:
    """As forward; and zeros for gradients that are missing: 1,772,088 bytes for the same layer.

    A weight whose rows are not as long as `leading_dimension` wants them is copied once more.
    """
    if isa() == OTHER:
        return None
    length, batch, inputs = x.shape
    hidden = recurrent_weight.shape[1]
    grads = rest[7:10]  # of output, hidden state and cell state
    missing = sum(1 for grad in grads[1:] if grad is None) * batch * hidden * _FLOAT_BYTES
    copied = _copy_unless_contiguous(*grads)
    padded = sum(
        _FLOAT_BYTES * 4 * hidden * leading_dimension(n)
        for n in (inputs, hidden)
        if leading_dimension(n) != n
    )
    packed = _lstm_weights(inputs, hidden) + _FLOAT_BYTES * 4 * hidden
    return int(copied + missing + packed + _lstm_scratch(length, batch, hidden) + padded)


def safe_softmax(x: Any, dim: int, *rest: Any, out: Any) -> int:
    """Which scores are minus infinity, in which rows all of them are, and a number (measured, torch 2.14)."""
    return int(x.numel() + x.numel() // max(x.shape[dim], 1) + _FLOAT_BYTES)


def not_measured(*arguments: Any, out: Any, **named: Any) -> None:
    """A kernel that allocates memory of its own: how much is not known."""


_NOT_MEASURED = (
    *("_embedding_bag", "_embedding_bag_forward_only", "_embedding_bag_backward"),
    *("_embedding_bag_dense_backward", "linalg_householder_product", "linalg_qr"),
    *("linalg_matrix_exp", "linalg_inv_ex", "_linalg_svd", "_linalg_eigh", "linalg_eig", "_linalg_det"),
    *quantized.NOT_MEASURED,
)

KERNELS: dict[str, Rule] = {
    **dict.fromkeys(_NOT_MEASURED, not_measured),
    "convolution": cpu_convolution.convolution,
    "convolution_backward": cpu_convolution.convolution_backward,
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit": batch_norm,
    "_native_batch_norm_legit.no_stats": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "native_batch_norm_backward": batch_norm_backward,
    "native_group_norm": group_norm,
    "native_group_norm_backward": group_norm_backward,
    "native_layer_norm": layer_norm,
    "native_layer_norm_backward": layer_norm_backward,
    "_safe_softmax": safe_softmax,
    "mm": mm,
    "addmm": addmm,
    "bmm": bmm,
    "gelu_backward": gelu_backward,
    **dict.fromkeys(
        ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d"), pooling.pool
    ),
    **dict.fromkeys(("avg_pool2d_backward", "_adaptive_avg_pool2d_backward"), pooling.pool_backward),
    "max_pool2d_with_indices_backward": pooling.max_pool_backward,
    "adaptive_max_pool2d_backward": pooling.adaptive_max_pool_backward,
    "baddbmm": baddbmm,
    "_scaled_dot_product_flash_attention_for_cpu": flash_attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": flash_attention_backward,
    **dict.fromkeys(
        (f"{op}{place}.Tensor" for op in ("add", "sub", "mul", "div") for place in ("", "_")),
        cpu_elementwise.mixed_types,
    ),
    "mean": cpu_elementwise.mean,
    "mean.dim": cpu_elementwise.mean,
    "sum.dim_IntList": cpu_elementwise.sum_over,
    **dict.fromkeys(("abs", "angle"), cpu_elementwise.complex_size),
    "copy_": cpu_elementwise.copy,
    "clone": cpu_elementwise.clone,
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d"), resampling.pixels),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest3d"), resampling.nearest),
    **dict.fromkeys(("upsample_linear1d", "upsample_trilinear3d"), resampling.linear),
    "upsample_bicubic2d": resampling.cubic,
    "_upsample_bilinear2d_aa": resampling.antialiased_linear,
    "_upsample_bicubic2d_aa": resampling.antialiased_cubic,
    **dict.fromkeys(
        (f"upsample_{kind}_backward" for kind in ("nearest2d", "bilinear2d", "trilinear3d")),
        resampling.expanded_gradient,
    ),
    "upsample_bicubic2d_backward": resampling.contiguous_gradient,
    "grid_sampler_2d_backward": resampling.expanded_gradient,
    "affine_grid_generator": resampling.affine_grid,
    **dict.fromkeys(("_softmax", "_log_softmax"), ordering.softmax),
    **dict.fromkeys(("_softmax_backward_data", "_log_softmax_backward_data"), ordering.softmax_backward),
    "logsumexp": ordering.logsumexp,
    "cumsum": ordering.cumsum,
    **dict.fromkeys(("sort", "sort.stable"), ordering.sort),
    **dict.fromkeys(("median", "median.dim", "nanmedian", "nanmedian.dim"), ordering.median),
    "kthvalue": ordering.kthvalue,
    "_trilinear": ordering.trilinear,
    **dict.fromkeys(("_fft_r2c", "_fft_c2c"), ordering.fourier),
    "_fft_c2r": ordering.fourier_to_real,
    "_euclidean_dist": ordering.distances,
    **dict.fromkeys(("_ctc_loss_backward", "_ctc_loss_backward.Tensor"), ordering.ctc_loss_backward),
    "roll": roll,
    "embedding_dense_backward": embedding_dense_backward,
    "mkldnn_rnn_layer": lstm,
    "mkldnn_rnn_layer_backward": lstm_backward,
    "torchvision::deform_conv2d": deformable.forward,
    "torchvision::_deform_conv2d_backward": deformable.backward,
    **quantized.KERNELS,
}
