"""What torch.ao's quantized kernels allocate inside themselves on the CPU: FBGEMM's, which AVX2 takes.

Sums are made in 32 bits beside the result. Packed weights are not the allocator's. Measured by the profiler's
records of the CPU allocator, torch 2.14.1, engine x86 (tests/memory/test_cpu_quantized.py does it again).
With AVX-512 and for other engines a kernel may be oneDNN's or QNNPACK's, of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import accumulate
from typing import Any

from modelsum.memory.cpu.layouts import Layout, has_channels_last, is_packed, nbytes
from modelsum.memory.cpu.machine import AVX2, isa

_SUM_BYTES = 4
_FLOAT_BYTES = 4
_ENGINES = ("x86", "fbgemm")

Rule = Callable[..., "int | None"]


def _of_fbgemm(rule: Rule) -> Rule:
    @wraps(rule)
    def known(*args: Any, **kwargs: Any) -> int | None:
        import torch

        measured = isa() == AVX2 and torch.backends.quantized.engine in _ENGINES
        return rule(*args, **kwargs) if measured else None

    return known


@_of_fbgemm
def linear(x: Any, *_: Any, out: Any) -> int:
    """The sums: 8,192 bytes for 16 results of 128 features; also of a dynamic one."""
    return _copied(x) + _SUM_BYTES * int(out.numel())


@_of_fbgemm
def convolution(x: Any, *_: Any, out: Any) -> int:
    """The sums, and the input with its channels last: 147,456 bytes for [4, 16, 16, 16] and 32 filters."""
    return (0 if is_packed(Layout.of_planes(x), True) else nbytes(x)) + _SUM_BYTES * int(out.numel())


@_of_fbgemm
def embedding(weight: Any, ids: Any, *_: Any, out: Any) -> int:
    """Looked up as bags of one: where each begins."""
    return nbytes(ids)


@_of_fbgemm
def embedding_bag(weight: Any, ids: Any, offsets: Any = None, *_: Any, out: Any, **__: Any) -> int | None:
    """Where each row of a matrix of ids begins; with offsets nothing."""
    if ids.dim() > 1:
        return int(ids.shape[0] * ids.element_size())
    return 0 if offsets is not None and offsets.dtype == ids.dtype else None


def dequantize(x: Any, *_: Any, out: Any) -> int:
    """A copy of what is neither contiguous nor laid out channels last: the result of a Conv1d."""
    return 0 if is_packed(x, x.dim() > 3 and has_channels_last(Layout.of(x))) else nbytes(x)


def cell(gates: int) -> Rule:
    """A step: gates of the input, then those of the state, with their sums; in units of a state."""

    @_of_fbgemm
    def rule(x: Any, *_: Any, out: Any) -> int:
        results = out if isinstance(out, tuple) else (out,)
        return nbytes(results[0]) * (3 * gates - len(results)) + _copied(x)

    return rule


def layers(gates: int) -> Rule:
    """An LSTM or GRU, its layers one after the other."""

    @_of_fbgemm
    def rule(
        x: Any,
        hx: Any,
        params: Any,
        has_biases: bool,
        count: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
        *,
        out: Any,
        dtype: Any = None,
        **_: Any,
    ) -> int | None:
        if str(dtype) == "torch.float16" or (train and dropout):
            return None
        samples, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
        state = _FLOAT_BYTES * samples * out[1].shape[-1]
        directions, states = 1 + bidirectional, len(out) - 1
        copied = _copied(x.transpose(0, 1) if batch_first else x)
        most = max(accumulate(_layers(gates, states, steps, count, directions, state, copied)))
        return int(most - state * (steps * directions + states * count * directions))

    return rule


def _layers(
    gates: int, states: int, steps: int, count: int, directions: int, state: int, copied: int
) -> Iterator[int]:
    """What is allocated and given back (negative), in order; `copied` is the input's copy.

    The gates of the input of all steps, twice while they are made; then step by step those of the state too.
    A step's state is kept, and its cell state until the next; at the end they are put together.
    """
    result = steps * state
    projected, sums = gates * result, 2 * gates * state
    cell_state = (states - 1) * state
    for layer in range(count):
        for direction in range(directions):
            yield copied + 2 * projected
            yield -copied - projected
            if direction:
                yield -projected  # those of the other direction, once these are there
            before_last = result - state + (cell_state if steps > 1 else 0)
            yield before_last + sums
            yield result + cell_state - before_last - sums
            yield result
            if directions == 1:
                yield state - result - projected
        if directions == 2:
            yield 2 * result
            yield 2 * state - 4 * result - projected
        if layer:
            yield -result * directions  # of the layer before
        copied = 0
    yield states * count * directions * state


def _copied(x: Any) -> int:
    return 0 if x.is_contiguous() else nbytes(x)


def _named(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys((f"quantized::{name}" for name in names.split()), rule)


KERNELS: dict[str, Rule] = {
    **_named(linear, "linear linear_relu linear_dynamic linear_relu_dynamic"),
    **_named(convolution, "conv1d conv1d_relu conv2d.new conv2d_relu.new conv3d.new conv3d_relu.new"),
    **_named(embedding, "embedding_byte embedding_4bit"),
    **_named(embedding_bag, "embedding_bag_byte embedding_bag_4bit"),
    **_named(cell(4), "quantized_lstm_cell_dynamic"),
    **_named(cell(3), "quantized_gru_cell_dynamic"),
    **_named(cell(1), "quantized_rnn_tanh_cell_dynamic quantized_rnn_relu_cell_dynamic"),
    "quantized_lstm.input": layers(4),
    "quantized_gru.input": layers(3),
    "dequantize.self": dequantize,
}

#: Those of packed sequences, and of old files.
NOT_MEASURED = tuple(
    f"quantized_{kind}.{overload}"
    for kind in ("lstm", "gru")
    for overload in ("data", "input_legacy", "data_legacy")
)
