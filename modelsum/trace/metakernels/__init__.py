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

import torch
from torch import Tensor

from modelsum import startup
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
from modelsum.trace.metakernels.layout import is_plain_meta
from modelsum.trace.metakernels.table import rule_for

__all__ = ["run"]

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

_aten = torch.ops.aten

#: Ops without a rule that models call often, and that are compiled: no kernel in Python has to be there.
COMPILED = frozenset(
    (
        _aten._to_copy.default,
        _aten.alias.default,
        _aten.as_strided.default,
        _aten.copy_.default,
        _aten.detach.default,
        _aten.diagonal.default,
        _aten.empty.memory_format,
        _aten.expand.default,
        _aten.permute.default,
        _aten.select.int,
        _aten.slice.Tensor,
        _aten.split.Tensor,
        _aten.split_with_sizes.default,
        _aten.squeeze.dim,
        _aten.squeeze.dims,
        _aten.t.default,
        _aten.transpose.int,
        _aten.unbind.int,
        _aten.unfold.default,
        _aten.unsqueeze.default,
        _aten.view.default,
    )
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
    if func not in COMPILED:
        startup.load_meta_registrations()
    return func(*args, **kwargs)
