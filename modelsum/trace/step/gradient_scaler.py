"""The tensors of torch.amp.GradScaler, which keeps gradients in float16 from becoming zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from modelsum.memory.log import OPTIMIZER_STATE
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.torch_private import below_dispatch

_FLOAT32_BYTES, _FLOAT64_BYTES = 4, 8


class GradientScaler:
    """Scales losses, and logs what that takes: a few numbers, which on CUDA have a block of memory each."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._state: list[Tensor] = []

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale, which is made for the first one, and with it a count of steps."""
        if not self._state:
            with below_dispatch():
                self._state = [
                    torch.zeros((), dtype=dtype, device=loss.device) for dtype in (torch.float32, torch.int32)
                ]
            self._lifetimes.watch(self._state, OPTIMIZER_STATE)
        return loss * self._state[0]

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Around an optimizer's step: gradients are divided in place, and it is noted if one is infinite."""
        log = self._lifetimes.log
        found_inf = log.allocate(_FLOAT32_BYTES)
        scale = log.allocate(_FLOAT64_BYTES)
        inverse = log.allocate(_FLOAT64_BYTES)
        log.release(scale)
        log.use(_FLOAT32_BYTES)
        log.release(inverse)
        yield
        log.release(found_inf)
