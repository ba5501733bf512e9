"""The training step that `MemoryOptions` describe, done for real with torch's own optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import UsageError
from modelsum.memory.log import BACKWARD, FORWARD, OPTIMIZER_STEP
from modelsum.memory.options import MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.real.meters import Mark
from modelsum.trace.step.autocast import DTYPES
from modelsum.trace.step.losses import Loss

# Nothing of memory or time depends on it, and weights that stay as they are keep thousands of steps on a
# made-up loss from ending in infinities, on which arithmetic takes another time.
_LEARNING_RATE = 0.0


class NothingToTrainError(Exception):
    """No output of the model depends on something that takes gradients."""


class RealStep:
    """A training step of a model on its device; calling it does one.

    Attributes:
        phase: the one that runs, or ran last.
        skipped: how many optimizer steps the gradient scaler left out, since gradients were not finite.
    """

    def __init__(
        self,
        call: Call,
        *,
        options: MemoryOptions,
        device: torch.device,
    ) -> None:
        """Make the optimizer. Raises UsageError where this torch has no such one."""
        self._call = call
        self._parameters = list(call.model.parameters())
        self._passes = options.accumulate
        self._loss = Loss(options.loss, lambda targets: None)
        self._precision = precision(options, device)
        self._optimizer = make_optimizer(
            [p for p in self._parameters if p.requires_grad],
            options.optimizer,
            options.implementation_on(device.type),
        )
        # By default it begins with 65536, and finds its scale by leaving out steps that overflow.
        self._scaler = torch.amp.GradScaler(device.type, init_scale=1.0) if options.amp == "fp16" else None
        self.phase = FORWARD
        self.skipped = 0

    def __call__(self, mark: Mark = lambda phase: nullcontext()) -> None:
        """One step, its phases marked. Raises NothingToTrainError, and what the model raises."""
        for parameter in self._parameters:
            parameter.grad = None
        for _ in range(self._passes):
            self._pass(mark)
        if self._optimizer is None:
            return
        self.phase = OPTIMIZER_STEP
        with mark(OPTIMIZER_STEP):
            self._update(self._optimizer)

    def _pass(self, mark: Mark) -> None:
        self.phase = FORWARD
        call = self._call.renewed()
        with mark(FORWARD):
            with self._precision():
                output = call()
                value = self._loss.of(output)
                del output
            if value is None:
                raise NothingToTrainError
            if self._scaler is not None:
                value = self._scaler.scale(value)
        self.phase = BACKWARD
        with mark(BACKWARD):
            value.backward()

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        if self._scaler is None:
            optimizer.step()
            return
        scale = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        self.skipped += self._scaler.get_scale() < scale


def precision(options: MemoryOptions, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """What the model and the loss are called in."""
    if options.amp is None:
        return nullcontext
    dtype = DTYPES[options.amp]
    return lambda: torch.autocast(device.type, dtype)


def make_optimizer(
    parameters: Iterable[Tensor], name: str, implementation: str
) -> torch.optim.Optimizer | None:
    """The optimizer of that name (`modelsum.memory.options.OPTIMIZERS`) with default settings.

    None where it is "none", or there are no parameters. Raises UsageError where it is not installed.
    """
    parameters = list(parameters)
    if name == "none" or not parameters:
        return None
    settings: dict[str, Any] = {"lr": _LEARNING_RATE, "foreach": implementation == "foreach"}
    if implementation == "fused":
        settings["fused"] = True
    if name == "momentum":
        settings["momentum"] = 0.9
    made: torch.optim.Optimizer = _class_of(name)(parameters, **settings)
    return made


def _class_of(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name == "lion":
        return _lion()
    attribute = {"sgd": "SGD", "momentum": "SGD", "adam": "Adam", "adamw": "AdamW", "adafactor": "Adafactor"}
    found: Callable[..., torch.optim.Optimizer] | None = getattr(torch.optim, attribute[name], None)
    if found is None:
        raise UsageError(f"torch {torch.__version__} has no optimizer {name!r}", "Upgrade torch.")
    return found


def _lion() -> Callable[..., torch.optim.Optimizer]:
    try:
        from timm.optim import Lion  # type: ignore[attr-defined]
    except ImportError:
        raise UsageError(
            "optimizer 'lion' is timm's, which is not installed", "pip install 'modelsum[timm]'"
        ) from None
    made: Callable[..., torch.optim.Optimizer] = Lion
    return made
