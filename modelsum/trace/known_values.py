"""Values of small tensors on the meta device, carried beside them.

A meta tensor is a shape without data, but the data of many are known all the same: token ids and masks
that were handed in, positions from torch.arange, index tables made by a constructor. Models read such
values (`.item()`, `.tolist()`, `if mask.all()`, `nonzero`) to decide what to do. Here every op whose
inputs are all known is also done on the CPU, so that a model can go on where meta alone would stop.
Nothing is guessed: what depends on parameters or random numbers stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_map_only

from modelsum.trace import metakernels

_CPU = torch.device("cpu")
_META = torch.device("meta")
_ATTRIBUTE = "_modelsum_known"

# Elements up to which values are carried: the masks and ids of one sample are worth it, weights are not.
_MOST_ELEMENTS = 1 << 20

_aten = torch.ops.aten


class _Contents:
    """The contents that a tensor and its views share, with the tensor version that they stand for."""

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        self.version = version


def learn(tensor: Tensor, value: Tensor, contents: _Contents | None = None) -> None:
    """Remember that the meta tensor holds `value`, a CPU tensor of the same shape and dtype."""
    setattr(tensor, _ATTRIBUTE, (value, contents or _Contents(tensor._version)))


def value_of(tensor: Tensor) -> Tensor | None:
    """The values of a tensor as a CPU tensor, or None where they are not known.

    An in-place op that was not followed has changed the tensor's version: then they are not known any more.
    """
    if tensor.device.type == "cpu":
        return tensor
    known = getattr(tensor, _ATTRIBUTE, None)
    if known is None or known[1].version != tensor._version:
        return None
    value: Tensor = known[0]
    return value


def on_meta(tensor: Tensor) -> Tensor:
    """A tensor's twin on the meta device, with its values known if they are few."""
    twin = tensor.detach().to(_META)
    if tensor.device.type == "cpu" and _few(tensor):
        learn(twin, tensor.detach().clone())
    return twin


def _few(tensor: Tensor) -> bool:
    return tensor.numel() <= _MOST_ELEMENTS


class MetaFactories(DeviceContext):
    """Makes meta the default device, as `with torch.device("meta")` does, and keeps the values of literals.

    `torch.tensor([1, 2])` runs no op that a dispatch mode could see, so it is caught here.
    """

    def __init__(self) -> None:
        super().__init__(_META)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _LITERALS and (kwargs.get("device") is None or _names_meta(kwargs)):
            args = tree_map_only(Tensor, _as_number, args)
            return _as_meta(func(*args, **{**kwargs, "device": _CPU}), always=True)
        if func in _INDEXING and args[0].is_meta:
            args = (args[0], _with_tensors(args[1]), *args[2:])
        return super().__torch_function__(func, types, args, kwargs)


_LITERALS = frozenset((torch.tensor, torch.as_tensor, torch.asarray))
_INDEXING = frozenset((Tensor.__getitem__, Tensor.__setitem__))


def _as_number(tensor: Tensor) -> Any:
    """The number in a 0-d tensor that is known, so that a list of them is a literal."""
    value = value_of(tensor) if tensor.is_meta and not tensor.dim() else None
    return tensor if value is None else value.item()


def _with_tensors(index: Any) -> Any:
    """An index whose lists of numbers are tensors: torch would make these below every mode."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    if isinstance(index, list) and index and all(isinstance(i, (int, bool)) for i in index):
        return on_meta(torch.tensor(index, device=_CPU))
    return index


class _Carrying(TorchDispatchMode):
    """Does every op by `run`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's default wraps __torch_dispatch__ so that it imports torch._dynamo, 0.8 s at the first op.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def carried() -> Iterator[None]:
    """Make tensors on meta by default, and know the values of those that do not depend on unknown ones."""
    if any(isinstance(mode, _Carrying) for mode in _get_current_dispatch_mode_stack()):
        yield  # twice would do every in-place op on the values twice
        return
    with MetaFactories(), _Carrying():
        yield


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do an op on meta tensors, and beside it on the values of its arguments where all of them are known.

    A CPU tensor among meta tensors, made by a model that names no device, counts as its twin on meta.
    """
    tensors = list(_tensors(args)) + list(_tensors(kwargs.values()))
    if not any(t.is_meta for t in tensors):
        return _create(func, args, kwargs) if _names_meta(kwargs) else func(*args, **kwargs)
    if any(t.dim() and t.device == _CPU for t in tensors):
        args, kwargs = tree_map_only(Tensor, _as_meta, (args, kwargs))
        tensors = list(_tensors(args)) + list(_tensors(kwargs.values()))
    if any(value_of(t) is None for t in tensors):
        return _run_unknown(func, args, kwargs)
    return _run_known(func, args, kwargs)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _names_meta(kwargs: dict[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "meta"


def _as_meta(tensor: Tensor, always: bool = False) -> Tensor:
    return on_meta(tensor) if (always or tensor.dim()) and tensor.device == _CPU else tensor


def _create(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """torch.arange and the like, and copies of CPU tensors, onto meta."""
    out = metakernels.run(func, args, kwargs)
    if isinstance(out, Tensor) and _repeatable(func) and func not in _UNFILLED and _few(out):
        learn(out, func(*args, **{**kwargs, "device": _CPU}))
    return out


# They make tensors whose values are whatever was in memory: nothing to know.
_UNFILLED = frozenset(
    (
        _aten.empty.memory_format,
        _aten.empty_strided.default,
        _aten.empty_like.default,
        _aten.new_empty.default,
        _aten.new_empty_strided.default,
    )
)
# They decide every element of their first argument, whatever it held.
_OVERWRITES = frozenset((_aten.fill_.Scalar, _aten.fill_.Tensor, _aten.zero_.default, _aten.copy_.default))


def _repeatable(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded not in func.tags


def _run_known(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if torch.Tag.data_dependent_output in func.tags or _moves_to_cpu(kwargs):
        return _on_values(func, args, kwargs)
    if torch.Tag.dynamic_output_shape in func.tags:
        return tree_map_only(Tensor, on_meta, _on_values(func, args, kwargs))
    before = _contents(args)
    out = metakernels.run(func, args, kwargs)
    if not _repeatable(func) or func in _UNFILLED or not all(_few(t) for t in _tensors((out,))):
        return out
    changed = func._schema.is_mutable
    values = _on_values(func, args, kwargs)
    if changed and before is not None:
        before.version += 1  # torch counts the change after this call, for the tensor and all its views
    view = before if changed or _is_view(func) else None
    for tensor, value in zip(_tensors((out,)), _tensors((values,)), strict=True):
        if changed:
            # The tensor itself is returned: its contents were changed in place, like those on the CPU.
            continue
        learn(tensor, value, view)
    return out


def _is_view(func: Any) -> bool:
    return any(r.alias_info is not None for r in func._schema.returns)


def _contents(args: tuple[Any, ...]) -> _Contents | None:
    known = getattr(args[0], _ATTRIBUTE, None) if args and isinstance(args[0], Tensor) else None
    return None if known is None else known[1]


def _moves_to_cpu(kwargs: dict[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cpu"


def _on_values(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values, named = tree_map_only(Tensor, value_of, (args, kwargs))
    if "device" in named:
        named = {**named, "device": _CPU}
    return func(*values, **named)


def _run_unknown(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An op of which something is not known; a known mask still tells how much it selects."""
    if func in _OVERWRITES and _few(args[0]) and all(value_of(t) is not None for t in _tensors(args[1:])):
        out = metakernels.run(func, args, kwargs)
        value = torch.empty(out.shape, dtype=out.dtype, device=_CPU)
        _on_values(func, (value, *args[1:]), kwargs)
        learn(out, value, _Contents(out._version + 1))  # torch counts the change after this call
        return out
    if func in (_aten.index.Tensor, _aten._unsafe_index.Tensor):
        args = (args[0], _without_masks(args[1]), *args[2:])
    elif func is _aten.masked_select.default:
        mask = value_of(args[1])
        if mask is not None:
            shape = torch.broadcast_shapes(args[0].shape, mask.shape)
            return args[0].new_empty(int(mask.expand(shape).sum()))
    return metakernels.run(func, args, kwargs)


def _without_masks(indices: Any) -> list[Any]:
    """Index tensors in place of the boolean masks whose values are known."""
    plain: list[Any] = []
    for index in indices:
        mask = value_of(index) if isinstance(index, Tensor) and index.dtype is torch.bool else None
        if mask is None:
            plain.append(index)
        else:
            plain += [on_meta(i) for i in mask.nonzero().unbind(1)]
    return plain
