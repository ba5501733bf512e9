"""Calls of torch's own layers in training that are like an earlier one, answered without making them.

What such a call does, and what its derivative does later, follows from the layer's settings and the shapes
of its argument and of the gradient (`modelsum.trace.step.observing` looks at them once). After that one node
of autograd stands for those that a call makes: it keeps what they keep, lets it go when they do, and makes
the gradients that they make. Where something else looks on or steps in, a call is made as it is.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.graph import increment_version

from modelsum.memory.log import BACKWARD, FORWARD
from modelsum.trace.leaves import LEARNING, is_plain, seen
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.step.observing import EMPTY, LayerCall, looked_at
from modelsum.trace.torch_private import (
    below_dispatch,
    below_functions,
    buffers_of,
    is_view,
    parameters_of,
    pop_saved_hooks,
    push_saved_hooks,
)
from modelsum.trace.values.contents import count_one, forget


class Unlike(Exception):
    """A derivative is asked for that has no answer: the step has to be gone through without any."""


class TrainedLayer:
    """A layer whose calls are answered, where that can be done, and told to `lifetimes`."""

    def __init__(
        self, lifetimes: Lifetimes, path: str, module: nn.Module, known: dict[Hashable, LayerCall | None]
    ) -> None:
        """`known` is what is known of layers of its settings, by argument; it grows."""
        self.lifetimes = lifetimes
        self._path = path
        self._module = module
        self._known = known
        held = parameters_of(module).values()
        self._parameters = [p for p in held if p is not None and p.requires_grad]

    def __call__(self, x: Tensor) -> Tensor | None:
        """The result; None where the call has to be made."""
        lifetimes, module, hooks = self.lifetimes, self._module, self.lifetimes.hooks
        if hooks is None or not ((self._parameters or x.requires_grad) and lifetimes.answers_in(FORWARD)):
            return None
        key = (x.shape, x.stride(), x.dtype, x.requires_grad)
        try:
            done = self._known[key]
        except KeyError:
            done = self._known[key] = looked_at(lifetimes, module, key)
        if done is None or (done.made is None and (x.is_leaf or is_view(x))):
            return None
        lifetimes.enter(self._path, module, (), {})
        first = lifetimes.ledger.repeat(done.account)
        saved: list[Tensor] = []
        keeps: list[tuple[int | None, int]] = [(first + number, nbytes) for number, nbytes in done.inside]
        with below_dispatch():
            if done.made is None:
                output = x
                increment_version(x)
                forget(x)
            else:
                size, strides, dtype = done.made
                output = seen(size, strides, dtype=dtype)
                lifetimes.know(output.untyped_storage(), first + done.output)
            for part in done.saves:
                if part == "inside":
                    token = seen(*EMPTY[:2])
                    lifetimes.know(token.untyped_storage(), *(first + number for number, _ in done.inside))
                    saved.append(token)
                else:
                    tensor = x if part == "argument" else output
                    storage = tensor.untyped_storage()
                    keeps.append((lifetimes.number_in(storage), storage.nbytes()))
                    # To save a result itself is something else: what is unpacked has its own storage object.
                    saved.append(tensor if part == "argument" else tensor.detach())
        pop_saved_hooks()
        try:
            inputs = [self._parameters[place - 1] if place else x for place in done.inputs]
            for place in done.through:
                inputs[place] = _Through.apply(inputs[place])
            result: Tensor = _Node.apply((self, key, done, output, saved, keeps), *inputs)
        finally:
            push_saved_hooks(*hooks)
        lifetimes.leave(module, None)
        if module.training and type(module) in LEARNING:
            _learn(module)
        return result

    def derived(self, node: Any, gradient: Tensor) -> list[Tensor | None]:
        """The gradients of what the node was called with. Raises Unlike."""
        lifetimes, done = self.lifetimes, node.done
        if not lifetimes.answers_in(BACKWARD) or torch.is_grad_enabled() or not is_plain(gradient):
            raise Unlike
        strides = gradient.stride()
        if strides not in done.derivatives:
            again = looked_at(lifetimes, self._module, node.key, strides)
            alike = again is not None and again[:-1] == done[:-1]
            done.derivatives[strides] = again.derivatives[strides] if again and alike else None
        derivative = done.derivatives[strides]
        if derivative is None:
            self._known[node.key] = None  # the next one is called
            raise Unlike
        lifetimes.locate(self._path)
        first = lifetimes.ledger.repeat(derivative.account)
        gradients: list[Tensor | None] = []
        with below_dispatch():
            for answer in derivative.gradients:
                if answer is None:
                    gradients.append(None)
                    continue
                size, strides, dtype = answer.made
                tensor = seen(size, strides, dtype=dtype)
                lifetimes.know(tensor.untyped_storage(), first + answer.storage)
                gradients.append(tensor.view(size) if answer.is_view else tensor)
        return gradients


def _learn(module: nn.Module) -> None:
    """What a batch norm changes of itself."""
    if module.track_running_stats:
        held = buffers_of(module)  # attributes of modules are dear
        for running in (held.get("running_mean"), held.get("running_var")):
            if running is not None:
                forget(running)
        if (count := held.get("num_batches_tracked")) is not None:
            count_one(count)


class _Node(Function):
    """Stands for the nodes that a call makes."""

    @staticmethod
    def forward(node: Any, answer: tuple[Any, ...], *inputs: Tensor) -> Tensor:
        layer, node.key, node.done, output, saved, keeps = answer
        node.layer = layer
        node.set_materialize_grads(False)
        if node.done.made is None:
            node.mark_dirty(output)
        node.save_for_backward(*saved)
        layer.lifetimes.keep(node, keeps)
        made: Tensor = output
        return made

    @staticmethod
    def backward(node: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        layer: TrainedLayer = node.layer
        if gradient is None:
            return (None,) * len(node.needs_input_grad)
        with below_functions():
            return None, *layer.derived(node, gradient)


class _Through(Function):
    """Passes a gradient on: what is transposed or viewed before an op has a node for that."""

    @staticmethod
    def forward(node: Any, tensor: Tensor) -> Tensor:
        with below_dispatch():
            return tensor.detach()

    @staticmethod
    def backward(node: Any, gradient: Tensor) -> Tensor:
        return gradient
