"""The training step that `MemoryOptions` describe, done for real with torch's own optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modelsum.memory.log import BACKWARD, FORWARD, OPTIMIZER_STEP
from modelsum.memory.options import MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.holders import tensors_held
from modelsum.trace.optimizing import make_optimizers
from modelsum.trace.real.meters import Mark
from modelsum.trace.step.autocast import DTYPES
from modelsum.trace.step.held import held_by
from modelsum.trace.step.losses import Loss


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
        self._loss = Loss(options.loss, lambda targets: None, call.model)
        self._precision = precision(options, device)
        self._optimizers = make_optimizers(
            call.model,
            options.optimizer,
            options.implementation_on(device.type),
            weight_decay=options.weight_decay,
        )
        self._clip = options.clip
        self._average = _average_of(call.model) if options.ema else None
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
        if not self._optimizers and not self._clip and self._average is None:
            return
        self.phase = OPTIMIZER_STEP
        with mark(OPTIMIZER_STEP):
            self._update()

    def _pass(self, mark: Mark) -> None:
        self.phase = FORWARD
        call = self._call.renewed()
        with mark(FORWARD):
            with self._precision(), self._loss.without_head():
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

    def there(self) -> Iterator[Tensor]:
        """Tensors on the device before the first step: states that are made with an optimizer, averages."""
        for optimizer in self._optimizers:
            yield from tensors_held(dict(optimizer.state))
        if self._average is not None:
            yield from held_by(self._average)

    def _update(self) -> None:
        if self._scaler is not None and self._clip:
            for optimizer in self._optimizers:
                self._scaler.unscale_(optimizer)
        if self._clip:
            nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._step()
        if self._average is not None:
            self._average.update_parameters(self._call.model)

    def _step(self) -> None:
        if self._scaler is None:
            for optimizer in self._optimizers:
                optimizer.step()
            return
        scale = self._scaler.get_scale()
        for optimizer in self._optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()
        self.skipped += self._scaler.get_scale() < scale


def _average_of(model: nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn())


def precision(options: MemoryOptions, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """What the model and the loss are called in."""
    if options.amp is None:
        return nullcontext
    dtype = DTYPES[options.amp]
    return lambda: torch.autocast(device.type, dtype)
