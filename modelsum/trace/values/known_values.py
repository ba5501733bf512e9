"""Values of small tensors on the meta device, carried beside them.

A meta tensor is a shape without data, but the data of many are known all the same: token ids and masks
that were handed in, positions from torch.arange, index tables made by a constructor. Models read such
values (`.item()`, `.tolist()`, `if mask.all()`, `nonzero`) to decide what to do. Here every op whose
inputs are all known is also done on the CPU, so that a model can go on where meta alone would stop.
Nothing is guessed: what depends on parameters or random numbers stays unknown.

`modelsum.trace.values.contents` keeps the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modelsum.trace import metakernels
from modelsum.trace.torch_private import (
    PACK_PADDED_SEQUENCE,
    PAD_PACKED_SEQUENCE,
    UNSAFE_INDEX,
    DeviceContext,
    DispatchMode,
    device_constructors,
    modes_entered,
)
from modelsum.trace.values.contents import (
    MOST_COMPUTED,
    begin_unfilled,
    computable,
    contents_of,
    few,
    forget,
    is_known,
    is_lost,
    is_unknown,
    learn,
    on_meta,
    partial_value_of,
    value_of,
)
from modelsum.trace.values.op_facts import OpFacts, facts_of, tensors_among

__all__ = [
    "Carrying",
    "MetaFactories",
    "carried",
    "learn",
    "on_meta",
    "run",
    "run_with",
    "shortcut_of",
    "value_of",
]

_CPU = torch.device("cpu")
_META = torch.device("meta")

_aten = torch.ops.aten


# ---- the modes


class MetaFactories(DeviceContext):
    """Makes meta the default device, as `with torch.device("meta")` does, and keeps the values of literals.

    `torch.tensor([1, 2])` runs no op that a dispatch mode could see, so it is caught here.
    """

    # As torch does where a device is a context: on top of the modes that there are. DeviceContext's own way
    # is that of torch.set_default_device, and ends in an error where a default device is set already.
    __enter__ = TorchFunctionMode.__enter__
    __exit__ = TorchFunctionMode.__exit__

    def __init__(self) -> None:
        super().__init__(_META)

    #: The functions of torch that `_called` gets to see; all others are called as they are.
    _seen: frozenset[Any]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self._seen:
            return self._called(func, types, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def _called(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in _LITERALS and (kwargs.get("device") is None or _names_meta(kwargs)):
            return self._literal(func, types, args, kwargs)
        if func in _INDEXING and args[0].is_meta:
            args = (args[0], _with_tensors(args[1]), *args[2:])
        elif func in _TO_NUMPY and args[0].is_meta:
            value = value_of(args[0])
            if value is not None:
                args = (value, *args[1:])
        return super().__torch_function__(func, types, args, kwargs)

    def _literal(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        data = args[0] if args else kwargs.get("data")
        if isinstance(data, Tensor) and data.is_meta and data.dim():
            if func is not torch.tensor:
                return super().__torch_function__(func, types, args, kwargs)  # perhaps data itself
            copy = data.detach().clone()
            return copy if kwargs.get("dtype") is None else copy.to(kwargs["dtype"])
        made = func(*_map(_as_number, args), **{**kwargs, "device": _CPU})
        return on_meta(made).requires_grad_(made.requires_grad)


_LITERALS = frozenset((torch.tensor, torch.as_tensor, torch.asarray))
_INDEXING = frozenset((Tensor.__getitem__, Tensor.__setitem__))
_TO_NUMPY: frozenset[Callable[..., Any]] = frozenset((Tensor.numpy, Tensor.__array__))
#: What makes a tensor on the default device.
FACTORIES = _LITERALS | frozenset(device_constructors())
MetaFactories._seen = FACTORIES | _INDEXING | _TO_NUMPY


def _as_number(tensor: Tensor) -> Any:
    """The number in a 0-d tensor that is known, so that a list of them is a literal."""
    value = value_of(tensor) if tensor.is_meta and not tensor.dim() else None
    return tensor if value is None else value.item()


def _with_tensors(index: Any) -> Any:
    """An index whose lists of numbers are tensors: torch would make these below every mode."""
    if isinstance(index, tuple):
        return tuple(map(_as_tensor, index))
    return _as_tensor(index)


def _as_tensor(index: Any) -> Any:
    """A list or tuple of numbers, or of 0-d tensors with known ones, as a tensor; anything else as it is."""
    if isinstance(index, (list, tuple)) and index:
        numbers = [_as_number(i) if isinstance(i, Tensor) else i for i in index]
        if all(isinstance(i, (int, bool)) for i in numbers):
            return on_meta(torch.tensor(numbers, device=_CPU))
    return index


class Carrying(DispatchMode):
    """Does every op by `run`: keeps the values that do not depend on unknown ones."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def carried() -> Iterator[None]:
    """Make tensors on meta by default, and know the values of those that do not depend on unknown ones."""
    if any(isinstance(mode, Carrying) for mode in modes_entered()):
        yield  # twice would do every in-place op on the values twice
        return
    with MetaFactories(), Carrying():
        yield


# ---- ops

# Kernels that read one argument (by its place) on the CPU, wherever the others are.
_READ_ON_CPU = {PACK_PADDED_SEQUENCE: 1, PAD_PACKED_SEQUENCE: 1}
_DETACH = _aten.detach.default
# Ops that select by values: known ones are looked at, whatever else is not known.
_SELECTING = frozenset(
    (_aten.index.Tensor, UNSAFE_INDEX, _aten.embedding.default, _aten.masked_select.default)
)
# Batch norms that update running_mean and running_var without saying so in their schema.
_BATCH_NORMS = frozenset((_aten.native_batch_norm.default, _aten.cudnn_batch_norm.default))


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do an op on meta tensors, and beside it on the values of its arguments where all of them are known.

    A CPU tensor among meta tensors, made by a model that names no device, counts as its twin on meta.
    """
    return run_with(shortcut_of(func), func, args, kwargs)


def run_with(
    shortcut: Callable[..., Any] | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> Any:
    """As `run`, for who has the op's `shortcut_of` already."""
    if shortcut is not None and args and not kwargs and _are_unknown(args):
        out = shortcut(*args)
        if out is not NotImplemented:
            return out
    return _run(func, args, kwargs or {})


# ---- most ops of most models: nothing is known, and nothing but shapes matters

_shortcuts: dict[Any, Callable[..., Any] | None] = {_DETACH: _DETACH}


def shortcut_of(func: Any) -> Callable[..., Any] | None:
    """The shape rule of an op, else the op, where that is all there is to it on plain and unknown tensors."""
    try:
        return _shortcuts[func]
    except KeyError:
        found = _shortcuts[func] = _shortcut(func)
        return found


def _shortcut(func: Any) -> Callable[..., Any] | None:
    op, rule = facts_of(func), metakernels.rule_for(func) or func
    special = op.reads or op.resizes or op.unfilled or op.shape_only or op.overwrites
    if special or func in _SELECTING or func in _READ_ON_CPU:
        return None
    if func in _BATCH_NORMS:

        def changing(*args: Any) -> Any:
            _forget_running(args)
            return rule(*args)

    elif op.writes:

        def changing(*args: Any) -> Any:
            out = rule(*args)
            for target in op.written(args, {}):
                forget(target)
            return out

    else:
        return rule
    return changing


def _are_unknown(args: tuple[Any, ...]) -> bool:
    """Whether all tensors of an op are plain ones on meta, and nothing was ever learnt of its first one."""
    first = args[0]
    if type(first) is list and first:
        first = first[0]
    if not isinstance(first, Tensor) or not is_unknown(first):
        return False
    for arg in args:
        kind = type(arg)
        if kind is Tensor or kind is nn.Parameter:
            if not arg.is_meta or arg.layout is not torch.strided:
                return False
        elif kind is list or kind is tuple:
            if arg and isinstance(arg[0], Tensor) and not metakernels.are_plain_meta(arg):
                return False
        elif kind not in _NUMBERS and isinstance(arg, Tensor):
            return False
    return True


_NUMBERS = frozenset((int, float, bool, type(None)))


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = tensors_among(args)
    if kwargs:
        tensors += tensors_among(kwargs.values())
    meta = [tensor for tensor in tensors if tensor.is_meta]
    if not meta and not any(map(is_lost, tensors)):
        return _create(func, args, kwargs) if kwargs and _names_meta(kwargs) else func(*args, **kwargs)
    if func in _READ_ON_CPU:
        return _run_reading(func, args, kwargs)
    op = facts_of(func)
    known = all(map(is_known, tensors))
    if len(meta) < len(tensors) and any(t.device == _CPU and (t.dim() or is_lost(t)) for t in tensors):
        for target in op.written(args, kwargs):
            if target.device == _CPU:
                if known:
                    return _on_values(func, args, kwargs)
                forget(target)
        args, kwargs = _map(_as_meta, args), _map_values(_as_meta, kwargs)
        known = known and all(few(t) for t in tensors)
    if known and not op.is_view and not computable(tensors):
        known = False
    if known or _continues_filling(op, args, kwargs):
        return _run_known(func, op, args, kwargs)
    return _run_unknown(func, op, args, kwargs)


def _continues_filling(op: OpFacts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an op writes known values into a tensor that is not wholly filled yet, or views it."""
    if not (op.places or op.is_view) or not args or not isinstance(args[0], Tensor):
        return False
    others = tensors_among((*args[1:], *kwargs.values()))
    return partial_value_of(args[0]) is not None and all(value_of(t) is not None for t in others)


def _create(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """torch.arange and the like, and copies of CPU tensors, onto meta."""
    out = metakernels.run(func, args, kwargs)
    op = facts_of(func)
    if isinstance(out, Tensor) and op.unfilled:
        begin_unfilled(out)
    elif isinstance(out, Tensor) and not op.forgets and few(out):
        learn(out, func(*args, **{**kwargs, "device": _CPU}))
    return out


def _run_known(func: Any, op: OpFacts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if op.reads or _moves_to_cpu(kwargs):
        return _on_values(func, args, kwargs)
    if op.resizes:
        return _map(on_meta, _on_values(func, args, kwargs))
    if op.writes:
        return _write_known(func, op, args, kwargs)
    out = metakernels.run(func, args, kwargs)
    if op.unfilled:
        begin_unfilled(out)
        return out
    made = tensors_among((out,))
    if not op.forgets and all(map(few, made)):
        values = tensors_among((_on_values_if_possible(func, args, kwargs),))
        if len(values) == len(made):  # some kernels leave out results that nobody needs on their device
            base = args[0] if op.is_view else None
            for tensor, value in zip(made, values, strict=True):
                learn(tensor, value, base)
    return out


def _write_known(func: Any, op: OpFacts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An op that changes tensors: the same is done to their values, which their views then have too."""
    out = metakernels.run(func, args, kwargs)
    written = op.written(args, kwargs)
    if op.forgets or _on_values_if_possible(func, args, kwargs) is _CANNOT:
        for tensor in written:
            forget(tensor)
        return out
    if op.uncounted:
        return out
    for contents in {id(c): c for c in map(contents_of, written) if c is not None}.values():
        contents.changes += 1  # torch counts the change after this call, once for the tensor and its views
    return out


def _run_unknown(func: Any, op: OpFacts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An op of which something is not known; a known mask still tells how much it selects."""
    if _moves_to_cpu(kwargs):
        kwargs = {**kwargs, "device": _META}  # no data to move: a meta tensor stands for it there too
    if op.writes:
        return _write_unknown(func, op, args, kwargs)
    if func in _BATCH_NORMS:
        _forget_running(args)
    elif func in (_aten.index.Tensor, UNSAFE_INDEX):
        args = (args[0], _without_masks(args[1]), *args[2:])
    elif func is _aten.embedding.default:
        _check_ids(value_of(args[1]), args[0].shape[0])
    elif func is _aten.masked_select.default:
        mask = value_of(args[1])
        if mask is not None:
            shape = torch.broadcast_shapes(args[0].shape, mask.shape)
            if math.prod(shape) > MOST_COMPUTED:
                raise NotImplementedError(f"masked_select of {math.prod(shape):,} elements is not worked out")
            return args[0].new_empty(int(mask.expand(shape).sum()))
    out = metakernels.run(func, args, kwargs)
    if op.unfilled:
        begin_unfilled(out)
    if op.shape_only and few(out) and not out.is_nested:
        size = args[0].shape if few(args[0]) and computable(args[:1]) else 0
        shape = torch.empty(size, dtype=args[0].dtype, device=_CPU)
        learn(out, _on_values(func, (shape, *args[1:]), kwargs))
    return out


def _forget_running(args: tuple[Any, ...]) -> None:
    """In training mode a batch norm changes its running_mean and running_var."""
    if args[5]:
        for running in tensors_among(args[3:5]):
            forget(running)


def _write_unknown(func: Any, op: OpFacts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An op that changes tensors into something unknown, or an unknown one into something known."""
    out = metakernels.run(func, args, kwargs)
    written = op.written(args, kwargs)
    targets = {id(t): t for t in written}
    sources = (t for t in tensors_among((*args, *kwargs.values())) if id(t) not in targets)
    values: dict[int, Tensor] = {}
    if (
        op.overwrites
        and all(map(few, written))
        and computable(written)
        and all(value_of(t) is not None for t in sources)
    ):
        values = {key: torch.empty(t.shape, dtype=t.dtype, device=_CPU) for key, t in targets.items()}

        def value(tensor: Tensor) -> Tensor | None:
            return values[id(tensor)] if id(tensor) in values else value_of(tensor)

        func(*_map(value, args), **_map_values(value, kwargs))
    for tensor in written:
        forget(tensor)
    for key, known in values.items():
        learn(targets[key], known)
        contents = contents_of(targets[key])
        if contents is not None:
            contents.changes += 1  # torch counts the change after this call
    return out


def _run_reading(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An op that wants one argument on the CPU: it gets its values, where they are known."""
    place = _READ_ON_CPU[func]
    value = value_of(args[place])
    return func(*args[:place], args[place] if value is None else value, *args[place + 1 :], **kwargs)


def _check_ids(ids: Tensor | None, rows: int) -> None:
    """Refuse known ids that a table of so many rows does not have, as every real device does."""
    if ids is not None and ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= rows):
        raise IndexError(
            f"index out of range in self: ids from {int(ids.min())} to {int(ids.max())}, {rows} rows"
        )


def _without_masks(indices: Any) -> list[Any]:
    """Index tensors in place of the boolean masks whose values are known."""
    plain: list[Any] = []
    for index in indices:
        mask = value_of(index) if isinstance(index, Tensor) and index.dtype is torch.bool else None
        if mask is None:
            plain.append(index)
        elif mask.numel() <= _MOST_MASK_ELEMENTS:
            plain += [on_meta(i) for i in mask.nonzero().unbind(1)]
        else:  # how many it selects is enough for the shape of the result
            selected = torch.empty(int(mask.sum()), dtype=torch.int64, device=_META)
            plain += [selected] * mask.dim()
    return plain


_MOST_MASK_ELEMENTS = 1 << 20


def _on_values(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values, named = _map(partial_value_of, args), _map_values(partial_value_of, kwargs)
    if "device" in named:
        named["device"] = _CPU
    return func(*values, **named)


_CANNOT = object()


def _on_values_if_possible(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The op on the values; where the CPU has no kernel for it, that is no reason for meta to stop."""
    try:
        return _on_values(func, args, kwargs)
    except NotImplementedError:
        return _CANNOT


# ---- arguments


def _map(change: Callable[[Tensor], Any], value: Any) -> Any:
    """The arguments or results of an op with every tensor replaced."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_map(change, v) for v in value])
    return value


def _map_values(change: Callable[[Tensor], Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _map(change, value) for name, value in kwargs.items()}


def _names_meta(kwargs: Mapping[str, Any]) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "meta"


def _moves_to_cpu(kwargs: Mapping[str, Any]) -> bool:
    device = kwargs.get("device") if kwargs else None
    return device is not None and torch.device(device).type == "cpu"


def _as_meta(tensor: Tensor) -> Tensor:
    """The twin of a CPU tensor; a number (0-d) stays where it is, as torch takes it on every device."""
    return on_meta(tensor) if tensor.device == _CPU and (tensor.dim() or is_lost(tensor)) else tensor
