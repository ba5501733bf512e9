"""What a training step presumes of values that the meta device does not have.

Layer drop draws a number from [0, 1) and leaves a layer out where it is below a rate: the largest number
stands for each, so that nothing is left out, which is the step that takes the most. Models look for values
that overflowed while they train: there are none. Detectors choose among boxes by values: they take all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelsum.trace.values.known_values import MetaFactories, learn, on_meta, value_of

NOTHING_LEFT_OUT = "no layer is left out at random"
CHOSEN = "all candidates pass where values decide"
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


class Choosing(Presuming):
    """Presumes, too, that every candidate is taken that values choose among, and the largest size drawn."""

    _seen = Presuming._seen | {torch.where, torch.nonzero, Tensor.nonzero, torch.randperm, Tensor.uniform_}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if str(func) == _SUPPRESSION and args[0].is_meta:
            self.presumed.add(CHOSEN)
            return torch.arange(len(args[0]), device=args[0].device)
        return super().__torch_function__(func, types, args, kwargs)

    def _called(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1]
            parts = tuple(map(self._chosen, index)) if isinstance(index, tuple) else self._chosen(index)
            args = (args[0], parts, *args[2:])
        elif func in (torch.nonzero, Tensor.nonzero) or (func is torch.where and len(args) == 1):
            args = (self._chosen(args[0].bool()), *args[1:])
        out = super()._called(func, types, args, kwargs)
        if func is torch.randperm and out.is_meta:  # any order is as good as another
            learn(out, torch.arange(len(out), dtype=out.dtype, device="cpu"))
        elif func is Tensor.uniform_ and out.is_meta and out.numel() == 1:
            largest = _LARGEST * (args[2] if len(args) > 2 else kwargs.get("to", 1.0))
            learn(out, torch.full(out.shape, largest, dtype=out.dtype, device="cpu"))
        return out

    def _chosen(self, index: Any) -> Any:
        """A mask that takes everything, where it is one whose values are not known."""
        is_mask = isinstance(index, Tensor) and index.is_meta and index.dtype is torch.bool
        if not is_mask or value_of(index) is not None:
            return index
        self.presumed.add(CHOSEN)
        return on_meta(torch.tensor(True, device="cpu")).expand(index.shape)


_SUPPRESSION = "torchvision.nms"  # of boxes that overlap with better ones
