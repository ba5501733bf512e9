"""Automatic mixed precision on the meta device, as the target's torch.autocast does it.

torch chooses the kernels of autocast by the device of the tensors, and has none for meta. Here the place of
one in torch's dispatcher (that of IPUs, which torch keeps without kernels) is taken by kernels that cast as
the target's would: above autograd, so that casts are derived as they really are, and inside C++ functions
too, where a torch function mode sees nothing. The place is passed through only while autocast is on for the
target. What makes memory is kept: copies of weights in low precision live until autocast is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from modelsum.trace.step.autocast_policy import Policy, dtype_place, ops_of, policy_of
from modelsum.trace.torch_private import (
    AUTOCAST_AVAILABLE,
    AUTOCAST_BY_DEVICE,
    AUTOCAST_INIT,
    CLEAR_AUTOCAST_CACHE,
    PLACE_NAME,
    SET_AUTOCAST_ENABLED,
    fall_through_the_place,
    is_view,
    overload_of,
    pass_through_the_place,
    passes_through_the_place,
    past_the_place,
    schema_of,
    take_away,
)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def autocast_for(target: str) -> Iterator[None]:
    """Make `torch.autocast(target)` and `torch.autocast("meta")` cast as `target` would, "cpu" or "cuda".

    This turns autocast on for nobody. Inside, whoever uses torch.autocast is served: the training loop, a
    model's own blocks that turn it on or off, the recomputation of activations. Afterwards torch is as
    it was.
    """
    global _current
    casts = _Casts(target)
    before = _current
    set_enabled, clear_cache = SET_AUTOCAST_ENABLED.value, CLEAR_AUTOCAST_CACHE.value
    passing = passes_through_the_place()

    def set_autocast_enabled(*arguments: Any) -> None:
        device, enabled = arguments if len(arguments) == 2 else ("cuda", arguments[0])
        set_enabled(_real(device, target), enabled)
        if _real(device, target) == target:
            if enabled:
                _register(target)
            pass_through_the_place(enabled)

    def clear_autocast_cache() -> None:
        clear_cache()
        casts.cached.clear()

    with ExitStack() as changed:
        for name, value in (
            (SET_AUTOCAST_ENABLED, set_autocast_enabled),
            (CLEAR_AUTOCAST_CACHE, clear_autocast_cache),
            *((name, _of_target(name.value, target)) for name in AUTOCAST_BY_DEVICE),
            (AUTOCAST_AVAILABLE, lambda device: True),
            (AUTOCAST_INIT, _without_checks(AUTOCAST_INIT.value, target)),
        ):
            changed.enter_context(name.replaced(value))
        try:
            _current = casts
            yield
        finally:
            _current = before
            pass_through_the_place(passing)  # a model may have left autocast on


def as_cast(op: Any, *arguments: Any) -> tuple[Any, ...]:
    """The arguments as the op (an OpOverload) would get them: for who calls one of its kernels himself."""
    if _current is None or not torch.is_autocast_enabled(_current.target):
        return arguments
    return tuple(_current.cast(op, arguments, {})[1])


# ---- torch.autocast


def _real(device: str, target: str) -> str:
    return target if device == "meta" else device


def _of_target(function: Callable[..., Any], target: str) -> Callable[..., Any]:
    """A function of torch's that takes a type of device, with the target's answer for meta."""

    def of_target(*arguments: Any) -> Any:
        if arguments and isinstance(arguments[0], str):
            arguments = (_real(arguments[0], target), *arguments[1:])
        return function(*arguments)

    return of_target


def _without_checks(init: Callable[..., None], target: str) -> Callable[..., None]:
    """torch.autocast's constructor without asking whether there is a GPU, and which types it knows."""

    def __init__(
        self: torch.autocast,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        device = _real(device_type, target)
        if dtype is None:
            dtype = torch.get_autocast_dtype(device)
        init(self, "cpu" if device == target else device, dtype, enabled, cache_enabled)
        self.device = device

    return __init__


# ---- the kernels


class _Casts:
    """Casts of arguments for one target.

    Attributes:
        target: "cpu" or "cuda".
        cached: copies in low precision of leaves that take gradients.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.cached: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def cast(self, op: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The op to run, and what with."""
        policy = policy_of(op, self.target)
        if policy is Policy.LOWER:
            lower = torch.get_autocast_dtype(self.target)
            return op, self._all(args, lower), self._named(kwargs, lower)
        if policy is Policy.FLOAT32:
            return op, self._all(args, torch.float32), self._named(kwargs, torch.float32)
        if policy is Policy.WIDEST:
            widest = self._widest(args)
            return op, self._all(args, widest), self._named(kwargs, widest)
        if policy is Policy.FLOAT32_RESULT and _is_eligible(args[0]):
            return op, *_in_float32(op, args, kwargs)
        if policy is Policy.FLOAT32_NORM:
            dtype = torch.float32 if _is_eligible(args[0]) else args[0].dtype
            return getattr(torch.ops.aten.norm, _NORMS[overload_of(op)]), args, {**kwargs, "dtype": dtype}
        if policy is Policy.REFUSED:
            raise RuntimeError(f"{op.name()} is unsafe to autocast")
        return op, args, kwargs

    def _all(self, values: Any, dtype: torch.dtype) -> Any:
        return [self._one(value, dtype) for value in values]

    def _named(self, values: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        return {name: self._one(value, dtype) for name, value in values.items()}

    def _one(self, value: Any, dtype: torch.dtype) -> Any:
        """cached_cast of ATen/autocast_mode.cpp."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._all(value, dtype))
        if not _is_eligible(value) or value.dtype is dtype:
            return value
        is_weight = (
            dtype is torch.get_autocast_dtype(self.target)
            and value.dtype is torch.float32
            and value.requires_grad
            and value.is_leaf
            and not is_view(value)
            and torch.is_autocast_cache_enabled()
        )
        if not is_weight:
            return value.to(dtype)
        if value not in self.cached:
            self.cached[value] = value.to(dtype)
        return self.cached[value]

    def _widest(self, args: Any) -> torch.dtype:
        """promote_type: of the lower precision and the arguments."""
        widest = torch.get_autocast_dtype(self.target)
        for value in args:
            for tensor in value if isinstance(value, (list, tuple)) else (value,):
                if _is_eligible(tensor):
                    widest = torch.promote_types(widest, tensor.dtype)
        return widest


_NORMS = {"Scalar": "ScalarOpt_dtype", "ScalarOpt_dim": "ScalarOpt_dim_dtype"}


def _is_eligible(value: Any) -> bool:
    """Whether autocast casts it: every floating type but float64. Numbers on another device are left."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype is not torch.float64
        and (value.is_meta or value.dim() > 0)
    )


def _in_float32(op: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """float32 for the argument `dtype`, unless it has a value."""
    place = dtype_place(op)
    if place is None or kwargs.get("dtype") is not None:
        return args, kwargs
    if schema_of(op).arguments[place].kwarg_only or len(args) <= place:
        return args, {**kwargs, "dtype": torch.float32}
    return ([*args[:place], args[place] or torch.float32, *args[place + 1 :]]), kwargs


_current: _Casts | None = None


@cache
def _fall_through() -> Any:
    """Let every op pass through the place that has no kernel there."""
    return fall_through_the_place()  # kept: it takes the rule away when it is gone


_libraries: dict[str, torch.library.Library] = {}  # of one target at a time


def _register(target: str) -> None:
    """Put kernels for the target's ops in the place; they stay: nothing passes but inside `autocast_for`.

    An op that only another target casts must have none, as inside a kernel nothing more is cast: what
    einsum computes on the CPU is cast where it multiplies.
    """
    _fall_through()
    if target in _libraries:
        return
    for library in _libraries.values():
        take_away(library)
    _libraries.clear()
    library = _libraries[target] = torch.library.Library("aten", "IMPL")
    for name in sorted(ops_of(target)):
        library.impl(name, _kernel(name), PLACE_NAME)


def _kernel(name: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    op = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with past_the_place():
            run, args, kwargs = (_current.cast(op, args, kwargs)) if _current else (op, args, kwargs)
            return run(*args, **kwargs)

    return kernel
