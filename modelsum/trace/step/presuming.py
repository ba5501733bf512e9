"""What a training step presumes of values that the meta device does not have.

Layer drop draws a number from [0, 1) and leaves a layer out where it is below a rate: the largest number
stands for each, so that nothing is left out, which is the step that takes the most. Models look for values
that overflowed while they train: there are none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.values.known_values import MetaFactories, learn, on_meta

NOTHING_LEFT_OUT = "no layer is left out at random"
FINITE = "all values are finite"

_LARGEST = 1 - 2**-24  # below 1 in float32
_CHECKS = {
    torch.isfinite: True,
    torch.isnan: False,
    torch.isinf: False,
    Tensor.isfinite: True,
    Tensor.isnan: False,
    Tensor.isinf: False,
}


class Presuming(MetaFactories):
    """`MetaFactories` with presumptions.

    Attributes:
        presumed: those that were needed, in words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.presumed: set[str] = set()

    _seen = MetaFactories._seen | {torch.rand, *_CHECKS}

    def _called(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = super()._called(func, types, args, kwargs)
        if func is torch.rand and out.is_meta and out.numel() == 1:
            learn(out, torch.full(out.shape, _LARGEST, dtype=out.dtype, device="cpu"))
            self.presumed.add(NOTHING_LEFT_OUT)
        elif func in _CHECKS and out.is_meta:
            self.presumed.add(FINITE)
            return on_meta(torch.tensor(_CHECKS[func], device="cpu")).expand(out.shape)
        return out
