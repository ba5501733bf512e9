"""Direct shape rules for ops whose stock meta kernels are slow Python.

torch computes on the meta device through decompositions and reference implementations: a batch norm costs
0.9 ms, a GELU 0.8 ms, the first op of all imports sympy and torch._dynamo, 1.6 s. A rule here returns
tensors of the same sizes, dtypes, strides and aliasing as the op's CPU kernel, in microseconds.

A rule answers only for what is plain. For anything else, and wherever the op would raise, it returns
NotImplemented, and torch's own kernel runs, with its own error text. Rules are grouped by kind, one
module each; `table` says how they are registered.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modelsum.trace.metakernels import (
    attention,
    convolution,
    creation,
    elementwise,
    losses,
    matmul,
    normalisation,
    pooling,
    reduction,
    shape,
)
from modelsum.trace.metakernels.layout import are_plain_meta, is_plain_meta
from modelsum.trace.metakernels.table import rule_for

__all__ = ["are_plain_meta", "is_plain_meta", "rule_for", "run"]

_KINDS = (
    attention,
    convolution,
    creation,
    elementwise,
    losses,
    matmul,
    normalisation,
    pooling,
    reduction,
    shape,
)


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an op by its shape rule, if it has one and its tensors are plain meta tensors; else as torch does.

    Args:
        func: a torch._ops.OpOverload.
        args: what it is called with.
        kwargs: what it is called with by name.
    """
    rule = rule_for(func)
    if rule is not None and all(is_plain_meta(arg) for arg in args if isinstance(arg, Tensor)):
        out = rule(*args, **kwargs)
        if out is not NotImplemented:
            return out
    return func(*args, **kwargs)
