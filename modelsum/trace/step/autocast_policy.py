"""What autocast does to the arguments of an op, asked from torch itself.

The kernels of autocast are registered with torch's dispatcher, for each type of device its own, but what
they do is nowhere written down for a program to read. So each one is called, with tensors that have no
memory (they may say that they are on a GPU where there is none) and that stop at the first cast: what they
are cast to tells the policy. These are the CastPolicy of ATen/autocast_mode.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import cache, partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from modelsum.trace.torch_private import (
    NO_TORCH_FUNCTION,
    TO_COPY,
    DispatchMode,
    ops_with_kernel,
    schema_of,
    without_modes,
    wrapper_of,
)

_KEYS = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


class Policy(Enum):
    """How an op runs under autocast."""

    AS_IT_IS = "as it is"
    LOWER = "its arguments are cast to the lower precision"
    FLOAT32 = "its arguments are cast to float32"
    FLOAT32_RESULT = "it computes in float32, by its dtype argument"
    FLOAT32_NORM = "it computes in float32, by the overload that has a dtype argument"
    WIDEST = "its arguments are cast to the widest type among them"
    REFUSED = "it is refused"


@cache
def ops_of(target: str) -> frozenset[str]:
    """Names of the ops that autocast does something about, like "conv2d" and "norm.Scalar"."""
    names = ops_with_kernel(_KEYS[target])
    return frozenset(name[6:] for name in names if name.startswith("aten::"))


@cache
def policy_of(op: Any, target: str) -> Policy:
    """The policy for an op (an OpOverload) on "cpu" or "cuda"."""
    name = op.name().partition("::")[2]
    if name not in ops_of(target):
        return Policy.AS_IT_IS
    if name.startswith("norm."):
        return Policy.FLOAT32_NORM
    if target == "cuda" and dtype_place(op) is not None:
        return Policy.FLOAT32_RESULT  # not asked: softmax would ask the GPU for its limits
    try:
        if _first_cast(op, target, torch.float32) is torch.bfloat16:
            return Policy.LOWER
        if _first_cast(op, target, torch.bfloat16) is torch.float32:
            return Policy.FLOAT32
        if _first_cast(op, target, torch.bfloat16, torch.float32) is torch.float32:
            return Policy.WIDEST
    except _Refused:
        return Policy.REFUSED
    return Policy.AS_IT_IS


def dtype_place(op: Any) -> int | None:
    """The place of an op's optional argument `dtype`, or None where it has none."""
    for place, argument in enumerate(schema_of(op).arguments):
        if argument.name == "dtype":
            return place
    return None


# ---- asking


class _Cast(Exception):
    """An argument was cast, to the type in `dtype`."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype)
        self.dtype = dtype


class _Refused(Exception):
    """Autocast does not allow the op."""


class _Arrived(Exception):
    """The op was reached without a cast."""


class _Probe(Tensor):
    """A tensor without memory that says what happens to it."""

    __torch_function__ = NO_TORCH_FUNCTION

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        raise _Cast((kwargs or {})["dtype"]) if func is TO_COPY else _Arrived


class _Asking(DispatchMode):
    """Lets probes say it before torch asks them itself, for which it loads its compiler."""

    def __torch_dispatch__(self, func: Any, types: Any, *called: Any) -> Any:
        if _Probe not in types:
            return func(*called[0])  # what two types promote to
        return _Probe.__torch_dispatch__(func, types, *called)


def _first_cast(op: Any, target: str, *dtypes: torch.dtype) -> torch.dtype | None:
    """What the first argument that autocast casts is cast to, if tensors have these types in turn."""
    probes = map(partial(_probe, target), cycle(dtypes))
    with without_modes(), _autocast(target), _Asking():
        arguments = [_example(a, probes) for a in schema_of(op).arguments if not a.kwarg_only]
        try:
            op(*arguments)
        except _Cast as cast:
            return cast.dtype
        except Exception as error:
            if "unsafe to autocast" in str(error):
                raise _Refused from None
            # The op got its arguments as they were; that it may not like them does not matter.
    return None


def _probe(target: str, dtype: torch.dtype) -> Tensor:
    return wrapper_of(_Probe, (2, 2), dtype=dtype, device=torch.device(target))


def _example(argument: Any, probes: Iterator[Tensor]) -> Any:
    """Something to call an op with, by the type in its schema."""
    kind = str(argument.type)
    if kind == "Tensor":
        return next(probes)
    if kind == "List[Tensor]":
        return [next(probes), next(probes)]
    if argument.has_default_value():
        return argument.default_value
    return None if kind.startswith("Optional") else [] if kind.startswith("List") else _EXAMPLES.get(kind, 0)


_EXAMPLES = {"bool": False, "float": 0.0, "str": ""}


@contextmanager
def _autocast(target: str) -> Iterator[None]:
    """torch.autocast without its checks whether there is such a device, and as torch itself has it."""
    before = _is_enabled(target), _get_dtype(target)
    cached = torch.is_autocast_cache_enabled()
    _set_enabled(target, True)
    _set_dtype(target, torch.bfloat16)
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        _set_enabled(target, before[0])
        _set_dtype(target, before[1])
        torch.set_autocast_cache_enabled(cached)


# While autocast is played on meta these names of torch's stand for something else: it would ask itself.
_is_enabled, _set_enabled = torch.is_autocast_enabled, torch.set_autocast_enabled
_get_dtype, _set_dtype = torch.get_autocast_dtype, torch.set_autocast_dtype
