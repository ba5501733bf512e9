"""Direct shape rules for ops whose stock meta kernels are slow Python.

A handful of ops cost 0.3 to 2.4 ms each on the meta device and import sympy at the first call, which is
more than the rest of a pass. A rule here returns tensors of the same sizes, dtypes and strides as the
stock kernel (tests hold them to it), or NotImplemented for anything unusual, and then the stock kernel runs.
"""

from __future__ import annotations

from typing import Any

import torch

_FILLS = frozenset(
    getattr(torch.ops.aten, packet).default
    for packet in ("normal_", "uniform_", "zero_", "random_", "erfinv_")
)


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an op: by its shape rule where there is one and the tensors are on meta, else as torch does."""
    if func in _FILLS and type(args[0]) is torch.Tensor and args[0].is_meta:
        return args[0]
    return func(*args, **kwargs)
