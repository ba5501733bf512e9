"""The end of a training step: gradients are clipped, the optimizer steps, and an average of weights follows.

What is known in closed form is logged so; any other optimizer is made for the model's parameters and really
steps, on shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.memory import optimizers
from modelsum.memory.log import OPTIMIZER_STATE, Event
from modelsum.memory.options import MemoryOptions
from modelsum.memory_values import Traffic
from modelsum.trace.holders import tensors_held
from modelsum.trace.optimizing import make_optimizers
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.torch_private import FOREACH_DEVICES, local_of
from modelsum.trace.values.known_values import FACTORIES, MetaFactories


class Update:
    """What follows the backward passes; calling it does that once."""

    def __init__(self, model: nn.Module, lifetimes: Lifetimes, options: MemoryOptions, target: str) -> None:
        """`target` is "cpu" or "cuda"; the model is on the device that `lifetimes` follows."""
        self._lifetimes = lifetimes
        self._options = options
        self._implementation = options.implementation_on(target)
        self._counts_on_device = target == "cpu" or self._implementation == "fused" or bool(options.offload)
        self._factories: Callable[[], AbstractContextManager[Any]] = nullcontext
        if any(parameter.is_meta for parameter in model.parameters()):
            self._factories = _OnCpu if target == "cpu" else _BesideCuda
        self._made: Sequence[torch.optim.Optimizer] = ()
        self._clipping: tuple[list[Event], dict[str, Traffic]] | None = None
        if not options.in_closed_form:
            self._make(model)

    def __call__(
        self, trained: Sequence[Tensor], *, first: bool, stepped: Sequence[Tensor] | None = None
    ) -> None:
        """Step with the gradients that there are: of the parameters `trained`, `stepped` are stepped.

        None is all of them.
        """
        with self._lifetimes.log.on_host() if self._options.offload == "params" else nullcontext():
            self._clip(trained)
        if stepped is not None:
            here = set(map(id, stepped))
            trained = [parameter for parameter in trained if id(parameter) in here]
        if not self._options.in_closed_form:
            self._trace()
            return
        with self._lifetimes.log.on_host() if self._options.offload else nullcontext():
            optimizers.step(
                self._lifetimes.log,
                [optimizers.Trained(tuple(p.shape), p.element_size()) for p in map(local_of, trained)],
                str(self._options.optimizer),
                self._implementation,
                first=first,
                counts_on_device=self._counts_on_device,
                weight_decay=self._options.weight_decay,
            )
        if self._options.optimizer == "torchao-adamw8bit":
            self._lifetimes.unmeasured["torchao's compiled step"] = 1

    def _clip(self, trained: Sequence[Tensor]) -> None:
        """torch's own, with foreach, which it takes by itself for tensors on CUDA and the CPU.

        A second time is like the first, which takes long where tensors are parts of larger ones.
        """
        if not self._options.clip:
            return
        log = self._lifetimes.log
        if self._clipping is not None:
            log.repeat(self._clipping[0])
            log.traffic = self._clipping[1]
            return
        before = len(log.events)
        devices = [*FOREACH_DEVICES.value(), "meta"]
        with FOREACH_DEVICES.replaced(lambda: devices), self._factories(), self._lifetimes:
            nn.utils.clip_grad_norm_(trained, 1.0)
        self._clipping = log.events[before:], log.traffic

    def _trace(self) -> None:
        with self._factories(), self._lifetimes:
            for optimizer in self._made:
                optimizer.step()
        self._label_states()

    def _make(self, model: nn.Module) -> None:
        """Some make their states as they are made, before the first step."""
        options = self._options
        with self._factories(), self._lifetimes:
            self._made = make_optimizers(
                model, options.optimizer, self._implementation, weight_decay=options.weight_decay
            )
        self._label_states()

    def _label_states(self) -> None:
        # Literals are made by no op that a mode could see.
        states = [t for optimizer in self._made for t in tensors_held(dict(optimizer.state))]
        for number in self._lifetimes.watch(states, OPTIMIZER_STATE):
            self._lifetimes.log.categories[number] = OPTIMIZER_STATE


class _OnCpu(MetaFactories):
    """What is made on the CPU is made where the model is."""

    def _called(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in FACTORIES and str(kwargs.get("device")) == "cpu":
            kwargs = {**kwargs, "device": torch.device("meta")}
        return super()._called(func, types, args, kwargs)


class _BesideCuda(MetaFactories):
    """What names no device is made on the CPU, as by a program whose model is on a GPU."""

    def _called(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("device") is None and func in FACTORIES:
            return func(*args, **kwargs)
        return super()._called(func, types, args, kwargs)
