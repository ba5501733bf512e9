"""What holds tensors: containers, and objects of any class."""

from __future__ import annotations

import copy
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from modelsum.errors import InputError

_ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.device, torch.dtype)
_NO_HOLDERS = (type, nn.Module, torch.ScriptObject, types.ModuleType, types.FunctionType, types.MethodType)
#: Classes of the standard library that hold what the user gave them; its others (locks, loggers) do not.
_HOLDERS = (types.SimpleNamespace, functools.partial)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, in order."""
    if isinstance(value, Tensor):
        yield value
        return
    for _, part in _contained(value):
        yield from tensors_in(part)


def tensors_held(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers and in the attributes of objects, in order."""
    for _, tensor in named_tensors_held(value):
        yield tensor


def stored_tensors(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that hold a tensor's elements: itself, or those in a subclass, as of quantised weights."""
    state = state_of_packed(tensor)
    if state is not None:
        yield from tensors_held(state)
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or tensor.is_nested:
        yield tensor
        return
    for name in flatten()[0]:
        inner = getattr(tensor, name)
        if isinstance(inner, Tensor):
            yield from stored_tensors(inner)


def holds_itself(tensor: Tensor) -> bool:
    """Whether a tensor is sure to be the one that holds its elements, a number each."""
    return type(tensor) in _PLAIN and "quant_state" not in vars(tensor)


_PLAIN = frozenset((Tensor, nn.Parameter))


def state_of_packed(tensor: Tensor) -> Any:
    """What bitsandbytes keeps beside a weight packed in 4 bits: scales, and a shape; None of any other."""
    return getattr(tensor, "quant_state", None)


def named_tensors_held(value: Any) -> Iterator[tuple[str, Tensor]]:
    """`tensors_held`, each with its place, like "images.0", or "" for a bare tensor.

    Attributes that are an object's own affair, "_store", are left out of the place.
    """
    return _held(value, "", {})


def _held(value: Any, name: str, seen: dict[int, Any]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    parts = _contained(value)
    if not parts and is_object(value):
        if id(value) in seen:
            return
        seen[id(value)] = value
        parts = attributes_of(value).items()
    for key, part in parts:
        step = str(key)
        inside = name if step.startswith("_") else f"{name}.{step}" if name else step
        yield from _held(part, inside, seen)


def _contained(value: Any) -> Iterable[tuple[Any, Any]]:
    """The parts of a container by key; none of anything else."""
    if isinstance(value, _ATOMS):
        return ()
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, PackedSequence):
        return ("data", value.data), ("batch_sizes", value.batch_sizes)
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value)]
    return ()


def is_object(value: Any) -> bool:
    """Whether a value is an object whose attributes can hold tensors: no container, function or module."""
    kind = type(value)
    if isinstance(value, (*_ATOMS, *_NO_HOLDERS, Tensor)):
        return False
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names:
        return isinstance(value, _HOLDERS)
    return hasattr(value, "__dict__") or bool(_slots(kind))


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in `__slots__` too."""
    found = dict(getattr(value, "__dict__", {}))
    for name in _slots(type(value)):
        try:
            found[name] = object.__getattribute__(value, name)
        except AttributeError:
            continue  # it was never set
    if isinstance(value, functools.partial):
        found.update(args=value.args, keywords=value.keywords)
    return found


def _slots(kind: type) -> list[str]:
    names = []
    for base in kind.__mro__:
        own = base.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{base.__name__.lstrip('_')}{name}"
            if name not in ("__dict__", "__weakref__"):
                names.append(name)
    return names


def rebuilt(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with every tensor changed, one that is there twice once; containers and objects are new.

    What cannot be copied, a lock say, is shared; an object that holds one is new all the same. Raises
    InputError for an object with tensors that refuses any copy: it would not stay as it is.
    """
    memo: dict[int, Any] = {}
    originals: list[Any] = []  # kept alive: a memo goes by the address of an object

    def inner(old: Any) -> Any:
        if isinstance(old, (*_ATOMS, *_NO_HOLDERS)):
            return old
        if id(old) not in memo:
            new = change(old) if isinstance(old, Tensor) else _new(old, inner, memo)
            memo[id(old)] = new
            originals.append(old)
        return memo[id(old)]

    return inner(value)


def _new(value: Any, inner: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    if isinstance(value, PackedSequence):
        # Its batch sizes are on the CPU always.
        indices = inner(value.sorted_indices), inner(value.unsorted_indices)
        return PackedSequence(inner(value.data), value.batch_sizes, *indices)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(inner, value))
    if type(value) in (list, tuple):
        return type(value)(map(inner, value))
    if type(value) is dict:
        return {key: inner(item) for key, item in value.items()}
    if isinstance(value, types.MappingProxyType):
        return types.MappingProxyType({key: inner(item) for key, item in value.items()})
    tensors = [inner(tensor) for tensor in tensors_held(value)]
    if callable(value) and not tensors:
        return value
    try:
        return copy.deepcopy(value, dict(memo))
    except Exception as error:  # whatever the classes of what is inside raise
        if not tensors:
            return value
        try:
            return _by_parts(value, inner, memo)
        except (TypeError, AttributeError):
            kind = type(value).__name__
            raise InputError(
                f"an input holds a {kind}, which cannot be copied: {type(error).__name__}: {error}",
                "Give its tensors instead, or a class of your own with __deepcopy__.",
            ) from error


def _by_parts(value: Any, inner: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    """A copy of an object that copy.deepcopy cannot make, part by part; what cannot be copied is shared."""
    new = memo[id(value)] = copy.copy(value)  # it may hold itself
    if isinstance(value, Mapping):
        for key, item in value.items():
            new[key] = inner(item)
    for name, part in attributes_of(value).items():
        object.__setattr__(new, name, inner(part))
    return new
