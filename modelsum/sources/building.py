"""Construction of a model: on the meta device where that is wanted, without initialising its weights.

On the meta device a tensor is its shape, dtype and strides, so a model costs neither memory nor the time
that filling its weights takes. torch's own `with torch.device("meta")` still runs the initialisation:
for ResNet-50 that is most of the work, and its kernels import sympy and torch._dynamo, 1.6 s.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.errors import ModelsumError
from modelsum.raised import told
from modelsum.trace.copying import copy_to
from modelsum.trace.torch_private import SET_GRAD_ENABLED
from modelsum.trace.values import known_values
from modelsum.trace.values.contents import contents_of, value_of

META = torch.device("meta")


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on the meta device, with their initialisation skipped.

    A kind of `with torch.device("meta")`: a device that a constructor names itself is respected. Parameters
    have no values, but index tables and the like keep theirs (modelsum.trace.values.known_values). Nothing is
    patched; torch's modes, by which this works, belong to the thread that entered them.
    """
    with _MetaConstruction():
        yield


def build(factory: Callable[[], nn.Module], device: torch.device) -> tuple[nn.Module, str | None]:
    """The model that `factory` makes, on `device`, and what the reader should know of how it came to be.

    A model whose constructor reads the values of its parameters, or of random numbers, cannot be built on the
    meta device. It is built on the CPU and then moved; the second element of the result says so, and is
    None otherwise.

    Args:
        factory: called without arguments; a second time where it fails on meta.
        device: where the parameters and buffers of the model shall be.

    Raises:
        Exception: what the constructor itself raises: on the CPU, where it failed on both.
    """
    if device.type != "meta":
        with device:
            return factory(), None
    there = set(sys.modules)
    try:
        with on_meta():
            model = factory()
    except Exception as error:
        if _is_the_callers(error):
            raise
        reason = told(error)
        _forget_orphans(there)
    else:
        return (model if _is_on_meta(model) else copy_to(model, META)), None
    # Outside of the handler: an error on the CPU is not to be reported as a consequence of the one on meta.
    with torch.device("cpu"):
        model = factory()
    return copy_to(model, META), f"could not be built on the meta device ({reason}); built on the CPU"


def _forget_orphans(before: Set[str]) -> None:
    """Have the next import of a package whose import failed begin anew, as that on a meta device may.

    Python forgets the package and keeps its parts, which are no attributes of what is imported next.
    """
    for name in sorted(sys.modules.keys() - before):
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            del sys.modules[name]


# ---- errors

_BINDING = re.compile(
    r"\w\(\) (got an unexpected keyword argument|got multiple values for|missing \d+ required|takes )"
)


def _is_the_callers(error: Exception) -> bool:
    """Whether an error cannot come from the missing values of meta tensors: then a second try is in vain.

    So it is with wrong arguments, as modelsum's constructors or Python's calls report them, and with
    missing packages.
    """
    if isinstance(error, TypeError):
        return _BINDING.search(str(error)) is not None
    return isinstance(error, (ModelsumError, ImportError))


def _is_on_meta(model: nn.Module) -> bool:
    return all(t.is_meta for t in (*model.parameters(), *model.buffers()))


# ---- the modes


class _MetaConstruction(known_values.MetaFactories):
    """Makes meta the default device, and returns a tensor as it is where it would be initialised."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READS:
            return func(*args, **(kwargs or {}))
        if func in _FACTORIES:
            return super().__torch_function__(func, types, args, kwargs)
        if func in _FILLS:
            # Under autograd, filling a leaf is an error, which torch shall raise.
            if not (args[0].requires_grad and torch.is_grad_enabled()) and _is_filled(args[0], func):
                return args[0]
        elif func in _INITIALISERS:
            tensor = args[0] if args else (kwargs or {})["tensor"]
            if _INITIALISERS[func](tensor, kwargs or {}) and _is_filled(tensor, func):
                return tensor
        with known_values.Carrying():
            return super().__torch_function__(func, types, args, kwargs)


def _is_filled(tensor: Any, fill: Any) -> bool:
    """Whether nothing is left to do: a meta tensor of no subclass, with no values that somebody knows."""
    if (type(tensor) is not nn.Parameter and type(tensor) is not Tensor) or not tensor.is_meta:
        return False
    if contents_of(tensor) is None:
        return True
    value = value_of(tensor)
    if value is None or fill is not Tensor.zero_:
        return False
    value.zero_()  # as nn.BatchNorm2d does to its counter of batches
    return True


# What constructors call most, kept short. These run no op ...
_READS = frozenset(
    (
        SET_GRAD_ENABLED,
        Tensor.dim,
        Tensor.size,
        Tensor.is_contiguous,
        *(getattr(Tensor, name).__get__ for name in ("shape", "grad_fn", "is_meta", "device", "dtype")),
    )
)

# ... and these have compiled meta kernels, and values not worth keeping; literals are known to MetaFactories.
_FACTORIES = frozenset((torch.empty, torch.zeros, torch.ones, torch.tensor))

# In-place methods that decide the values of a tensor and nothing else.
_FILLS = frozenset((Tensor.normal_, Tensor.uniform_, Tensor.zero_, Tensor.fill_, Tensor.bernoulli_))


def _always(tensor: Tensor, kwargs: dict[str, Any]) -> bool:
    return True


def _as_layers_do(tensor: Tensor, kwargs: dict[str, Any]) -> bool:
    """kaiming_uniform_ as nn.Linear and nn.Conv2d call it; other arguments torch has to check."""
    usual = kwargs.get("mode") == "fan_in" and kwargs.get("nonlinearity") == "leaky_relu"
    return usual and tensor.dim() >= 2 and 0 not in tensor.shape


# The functions of torch.nn.init that a mode gets to see whole, and when there is nothing to check in a call.
_INITIALISERS: dict[Any, Callable[[Tensor, dict[str, Any]], bool]] = {
    nn.init.normal_: _always,
    nn.init.uniform_: _always,
    nn.init.constant_: _always,
    nn.init.kaiming_uniform_: _as_layers_do,
}
