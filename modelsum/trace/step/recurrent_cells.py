"""GRU, RNN and LSTM layers as the CPU runs them, step by step, where oneDNN does not.

On the CPU the inputs of all steps are projected at once, [length, batch, gates * hidden]; on meta torch
projects them step by step. Written after what ATen/native/RNN.cpp (torch 2.14: FullLayer,
FullBidirectionalLayer and the cells) allocates and releases, in its order; what autograd keeps follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

State: TypeAlias = Any  # a tensor, of an LSTM two


class _Weights(NamedTuple):
    """Of one layer and direction; without biases, or a projection of the hidden state, None."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    projection: Tensor | None = None

    def of_inputs(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.input, self.input_bias)

    def of_hidden(self, state: Tensor) -> Tensor:
        return functional.linear(state, self.hidden, self.hidden_bias)


Cell: TypeAlias = Callable[[Tensor, State, _Weights], State]


def _gru(x: Tensor, h: Tensor, weights: _Weights) -> Tensor:
    x_reset, x_update, x_new = torch.unsafe_chunk(x, 3, 1)
    h_reset, h_update, h_new = torch.unsafe_chunk(weights.of_hidden(h), 3, 1)
    reset = h_reset.add_(x_reset).sigmoid_()
    update = h_update.add_(x_update).sigmoid_()
    new = x_new.add(h_new.mul_(reset)).tanh_()
    return (h - new).mul_(update).add_(new)


def _lstm(x: Tensor, state: tuple[Tensor, Tensor], weights: _Weights) -> tuple[Tensor, Tensor]:
    h, c = state
    into, forget, cell, out = torch.unsafe_chunk(weights.of_hidden(h).add_(x), 4, 1)
    into, forget, cell, out = into.sigmoid_(), forget.sigmoid_(), cell.tanh_(), out.sigmoid_()
    c = (forget * c).add_(into * cell)
    h = out * c.tanh()
    return (h if weights.projection is None else h.matmul(weights.projection.t())), c


def _rnn_tanh(x: Tensor, h: Tensor, weights: _Weights) -> Tensor:
    return torch.tanh(weights.of_hidden(h).add_(x))


def _rnn_relu(x: Tensor, h: Tensor, weights: _Weights) -> Tensor:
    return torch.relu(weights.of_hidden(h).add_(x))


#: By the names of torch's functions.
CELLS: dict[str, Cell] = {"gru": _gru, "rnn_tanh": _rnn_tanh, "rnn_relu": _rnn_relu, "lstm": _lstm}


def layers(
    cell: Cell,
    x: Tensor,
    states: Sequence[State],
    parameters: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, list[State]]:
    """All layers: the output, and the last state of each layer and direction.

    Args:
        x: [length, batch, inputs], or with the batch first.
        states: the first state of each layer and direction.
        parameters: of all of them, one after the other.
    """
    each = len(parameters) // len(states)
    weights = [_weights(parameters[i : i + each], has_biases) for i in range(0, len(parameters), each)]
    last: list[State] = []
    if batch_first:
        x = x.transpose(0, 1)
    for layer in range(num_layers):
        if bidirectional:
            both = slice(2 * layer, 2 * layer + 2)
            x, ends = _both_directions(cell, x, states[both], weights[both])
            last += ends
        else:
            projected = weights[layer].of_inputs(x)
            outputs, end = _steps(cell, projected.unbind(0), states[layer], weights[layer])
            x = torch.stack(outputs, 0)
            del projected, outputs
            last.append(end)
        if dropout and train and layer < num_layers - 1:
            x = torch.dropout(x, dropout, train)
    return (x.transpose(0, 1) if batch_first else x), last


def _weights(parameters: Sequence[Tensor], has_biases: bool) -> _Weights:
    if has_biases:
        return _Weights(*parameters)
    into, hidden, *projection = parameters
    return _Weights(into, hidden, None, None, *projection)


def _both_directions(
    cell: Cell, x: Tensor, states: Sequence[State], weights: Sequence[_Weights]
) -> tuple[Tensor, list[State]]:
    """What one direction projects is there until the other one has its own."""
    projected = weights[0].of_inputs(x)
    steps = projected.unbind(0)
    outputs, end = _steps(cell, steps, states[0], weights[0])
    forwards = torch.stack(outputs, 0)
    projected = weights[1].of_inputs(x)
    steps = projected.unbind(0)
    reverse_outputs, reverse_end = _steps(cell, steps[::-1], states[1], weights[1])
    backwards = torch.stack(reverse_outputs[::-1], 0)
    return torch.cat((forwards, backwards), -1), [end, reverse_end]


def _steps(
    cell: Cell, steps: Sequence[Tensor], state: State, weights: _Weights
) -> tuple[list[Tensor], State]:
    outputs = []
    for step in steps:
        state = cell(step, state, weights)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return outputs, state
