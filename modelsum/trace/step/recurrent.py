"""Recurrent layers as the CPU computes them, where torch's functions do otherwise on meta.

oneDNN has one op for a layer and direction of an LSTM in float32, with a workspace; on meta torch takes
nn.LSTM apart into the ops of every time step, and autograd keeps the results of all of them. What oneDNN does
not take is in `modelsum.trace.step.recurrent_cells`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from modelsum.memory.cpu.kernels import lstm_workspace_bytes
from modelsum.trace.metakernels.layout import empty, empty_like
from modelsum.trace.metakernels.table import rule
from modelsum.trace.step.recurrent_cells import CELLS, layers
from modelsum.trace.torch_private import LSTM, OTHER_RECURRENT, Name

_aten = torch.ops.aten
_LSTM = 2  # at::native's number for the kind of cell


@contextmanager
def recurrent_layers(target: str) -> Iterator[Counter[str]]:
    """Make recurrent layers run as on the target; torch's functions are put back afterwards.

    Yields what ran whose memory is not known, by name, with how often: packed sequences, and all of cuDNN's,
    which keeps what it needs in a space of its own.
    """
    unmeasured: Counter[str] = Counter()
    with ExitStack() as changed:
        for name in (LSTM, *OTHER_RECURRENT):
            changed.enter_context(name.replaced(_on_target(name, target, unmeasured)))
        yield unmeasured


def _on_target(name: Name, target: str, unmeasured: Counter[str]) -> Any:
    plain = name.value

    def recurrent(input: Tensor, *arguments: Any) -> Any:
        # A packed sequence has its batch sizes, a tensor, in second place, and one state before its weights.
        is_packed = not isinstance(arguments[1], (list, tuple)) or isinstance(arguments[0], Tensor) is (
            name is LSTM
        )
        if target != "cpu" or is_packed:
            unmeasured[name.name] += 1
            return plain(input, *arguments)
        states, weights, *settings = arguments
        if name is not LSTM:
            output, last = layers(CELLS[name.name], input, states.unbind(0), weights, *settings)
            return output, torch.stack(last)
        if torch.backends.mkldnn.is_available() and _takes(input, weights):
            return _layers(input, *arguments)
        output, last = layers(CELLS["lstm"], input, list(zip(*states, strict=True)), weights, *settings)
        return (output, *(torch.stack(part) for part in zip(*last, strict=True)))

    return recurrent


def _takes(input: Tensor, weights: Sequence[Tensor]) -> bool:
    """ATen/native/RNN.cpp, use_mkldnn: float32, and no projection of the hidden state."""
    hidden = weights[1].shape[1]
    return input.dtype is torch.float32 and input.numel() > 0 and weights[1].shape[0] == 4 * hidden


def _layers(
    input: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """mkldnn_rnn of ATen/native/mkldnn/RNN.cpp."""
    if batch_first:
        input = input.transpose(0, 1)
    # As there: the input is kept to the end, and the outputs of a layer until the next one has its own.
    first = x = input.contiguous()
    hx, cx = (state.contiguous() for state in states)
    directions = 2 if bidirectional else 1
    a_layer = 4 if has_biases else 2
    hidden_size = weights[1].shape[1]
    outputs = [first] * directions
    last_hidden, last_cell = [], []
    for layer in range(num_layers):
        for direction in range(directions):
            index = layer * directions + direction
            own = list(weights[index * a_layer : (index + 1) * a_layer])
            if not has_biases:
                own += [torch.zeros_like(own[0]), torch.zeros_like(own[0])]
            output, hidden, cell, _ = _aten.mkldnn_rnn_layer(
                *(x, *own, hx[index], cx[index], direction > 0, [], _LSTM, hidden_size, num_layers),
                *(has_biases, bidirectional, batch_first, train),
            )
            outputs[direction] = output
            last_hidden.append(hidden)
            last_cell.append(cell)
        x = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        if dropout and train and layer < num_layers - 1:
            x = torch.dropout(x, dropout, True)
    output = x.transpose(0, 1) if batch_first else x
    return output, torch.stack(last_hidden), torch.stack(last_cell)


@rule("mkldnn_rnn_layer")
def _layer(
    input: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    hx: Tensor,
    cx: Tensor,
    *settings: Any,
) -> Any:
    """[length, batch, inputs] -> [length, batch, hidden], both last states, and a workspace to train with."""
    length, batch, inputs = input.shape
    hidden = recurrent_weight.shape[1]
    kept = lstm_workspace_bytes(length, batch, inputs, hidden) if settings[-1] else 0
    workspace = empty((kept,), torch.uint8)
    return empty((length, batch, hidden), input.dtype), empty_like(hx), empty_like(cx), workspace


@rule("mkldnn_rnn_layer_backward")
def _layer_backward(
    input: Tensor,
    weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    hx: Tensor,
    cx: Tensor,
    *saved_and_grads: Any,
) -> Any:
    """The gradients of the first seven arguments; both biases have the same."""
    of_bias = empty(bias.shape, bias.dtype)
    return (
        *(empty(t.shape, t.dtype) for t in (input, weight, recurrent_weight)),
        *(of_bias, empty_like(of_bias)),
        *(empty(t.shape, t.dtype) for t in (hx, cx)),
    )
