"""Convolutions as matrix products over columns: what no other of oneDNN's kernels does (x64:gemm:jit).

The columns of a sample: a row for every weight of a filter, a column for every position of the result
(gemm_convolution_utils.cpp, init_conf). Threads take samples and groups, each with its columns, or share one
product.
"""

from __future__ import annotations

from math import prod

from modelsum.memory.cpu.avx2.shape import FLOAT_BYTES, VECTOR, Kernel, Shape, booked
from modelsum.memory.cpu.machine import threads

_SMALL_PRODUCT = 64 * 1024
_LARGEST = 1 << 30


def forward(shape: Shape) -> Kernel:
    """A forward pass. How much of the columns is there at once depends on caches."""
    columns = 0 if _is_plain(shape) else _columns(shape)
    transposed = _plane(shape) if shape.channels_last else 0
    return _plain(shape, 0, booked(threads() * columns) + booked(threads() * transposed))


def input_gradient(shape: Shape) -> Kernel:
    """The gradient of the input."""
    own = threads() if _shares_samples_of_input(shape) else 1
    if _is_plain(shape):
        return _plain(shape, 0)
    columns = _columns(shape) * (shape.result[0] if shape.channels_last else 1)
    scratch = booked(own * columns)
    if shape.channels_last and shape.groups > 1:
        scratch += booked(own * _plane(shape))
    return _plain(shape, scratch)


def weight_gradient(shape: Shape) -> Kernel:
    """The gradient of the weight: each thread's own, where they take samples."""
    columns = 0 if _is_plain(shape) else _columns(shape)
    limit = min(_LARGEST, 15 * threads() * (shape.source + shape.weight + shape.results))
    sums = FLOAT_BYTES * shape.weight  # oneDNN reserves a number for each byte
    needed = threads() * (sums + FLOAT_BYTES * shape.inputs * shape.taps * VECTOR)
    transposed = 0
    if shape.channels_last:
        transposed = _plane(shape)
        needed = threads() * (columns + transposed + sums)
    many = shape.batch > 1 or shape.groups > 2
    positions = shape.result[1] * shape.result[2]
    own = threads() if needed < limit and positions // threads() < 256 and many else 1
    scratch = booked(own * sums) + booked(own * columns)
    return _plain(shape, scratch + booked(own * transposed))


def _is_plain(shape: Shape) -> bool:
    """Whether the columns are the input as it stands."""
    return shape.taps == 1 and not shape.is_strided and shape.size == shape.result


def _columns(shape: Shape) -> int:
    """Bytes of the columns of a sample's group, of one of its planes."""
    return FLOAT_BYTES * shape.inputs * shape.taps * shape.result[1] * shape.result[2]


def _plane(shape: Shape) -> int:
    """Bytes of the input of a sample's group."""
    return FLOAT_BYTES * prod(shape.size) * shape.inputs


def _shares_samples_of_input(shape: Shape) -> bool:
    count, work = threads(), shape.groups * shape.batch
    plane = shape.size[1] * shape.size[2]
    within = -(-plane // VECTOR) * -(-shape.inputs // VECTOR)
    ratio = _evenly(work, count) / _evenly(within, count)
    small = plane * shape.inputs * shape.outputs // count < _SMALL_PRODUCT
    if shape.channels_last:
        few = shape.is_depthwise or (plane // count < 64 and shape.batch != 1)
        return shape.size[0] == 1 and few and (ratio >= 1 or small)
    few = shape.result[1] * shape.result[2] // count < 512 or shape.taps < 64
    return few and (shape.batch != 1 or shape.groups > 2) and (ratio >= 1 or small)


def _evenly(work: int, count: int) -> float:
    return work / (-(-work // count) * count)


def _plain(shape: Shape, scratch: int, spare: int = 0) -> Kernel:
    """As the tensors are laid out; only the weight is turned where channels are the last."""
    sizes = shape.source, shape.weight, shape.results
    return Kernel(*sizes, scratch, False, shape.channels_last, False, spare=spare)
