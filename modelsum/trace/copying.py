"""A copy of a model to run in its place, so that the model itself is left as it was found.

The copy has its own modules, hooks, flags and buffers; whatever a forward does to itself (running
statistics, counters, caches, lazy layers taking shape) happens to the copy. Parameters are not copied:
on the meta device they become shapes, on their own device they share storage with the originals.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from modelsum.errors import BuildError
from modelsum.trace.census import identity, modules_of
from modelsum.trace.isolation import deep_enough, uncollected
from modelsum.trace.torch_private import (
    as_subclass,
    buffers_of,
    compiled_of,
    is_compiled,
    parameters_of,
    sharded_class,
    storage_key,
    submodules_of,
)
from modelsum.trace.values.contents import learn, on_meta, shape_of, value_of


def copy_to(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of `model` whose tensors are on `device`: parameters shared where they are there already.

    Raises BuildError for TorchScript on the meta device, where its tensors cannot be put.
    """
    model = unwrapped(model)
    modules = list(modules_of(model).values())
    kinds = set[Any](map(type, modules))
    scripted = any(issubclass(kind, torch.jit.ScriptModule) for kind in kinds)
    if scripted and device.type == "meta":
        raise BuildError(
            f"{type(model).__name__} holds TorchScript, which cannot be put on the meta device",
            device_limit=True,
        )
    sharded = next((name for module in modules if (name := sharded_class(module))), None)
    if sharded is not None:
        raise BuildError(
            f"{type(model).__name__} is sharded by torch's {sharded}: each process holds a part of it",
            "Summarize the model before it is sharded.",
        )
    memo: dict[int, Any] = {}
    originals: list[Tensor] = []  # kept alive: a memo goes by the address of an object
    twins: dict[Hashable, Tensor] = {}
    with deep_enough(model), uncollected(device):
        for tensor, is_buffer in tensors_of(modules):
            if id(tensor) not in memo:
                memo[id(tensor)] = _twin(tensor, device, twins, clone=is_buffer)
                originals.append(tensor)
        with torch.no_grad():  # TorchScript copies its parameters by an op that autograd would follow
            duplicate = _deepcopy(model, modules, kinds, memo)
        for tensor in originals:
            if vars(tensor):
                _copy_attributes(tensor, memo)
        if any(map(_wraps, kinds)):
            for module in duplicate.modules():
                children = submodules_of(module)
                for name, child in children.items():
                    if child is not None:
                        children[name] = unwrapped(child)
        if scripted:
            for ours, theirs in zip(duplicate.parameters(), model.parameters(), strict=True):
                ours.requires_grad_(theirs.requires_grad)
    return duplicate


def own_parameters(duplicate: nn.Module) -> None:
    """Give the parameters of a copy storages of their own: for who trains it, not the model it was made of.

    Those that share a storage, of tied weights, share one afterwards.
    """
    storages: dict[int, torch.UntypedStorage] = {}
    for parameter in duplicate.parameters():
        if isinstance(parameter, UninitializedTensorMixin):
            continue
        if parameter.layout is not torch.strided or type(parameter) is not nn.Parameter:
            parameter.data = parameter.data.clone()
            continue
        shared = parameter.untyped_storage()
        key = storage_key(shared)
        if key not in storages:
            storages[key] = shared.clone()
        own = torch.empty(0, dtype=parameter.dtype, device=parameter.device)
        place = parameter.storage_offset(), parameter.size(), parameter.stride()
        parameter.data = own.set_(storages[key], *place)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself in place of what torch.compile or data parallelism wrapped around it."""
    while True:
        inner: Any = model.module if isinstance(model, _PARALLEL) else compiled_of(model)
        if inner is None:
            return model
        model = inner


_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def _wraps(kind: type[nn.Module]) -> bool:
    """Whether a class is one that `unwrapped` may have to look into."""
    return issubclass(kind, _PARALLEL) or is_compiled(kind)


def tensors_of(modules: Iterable[nn.Module]) -> Iterator[tuple[Tensor, bool]]:
    """Every tensor that one of the modules holds, and whether it must be copied where it is shared.

    Tensors that are neither parameter nor buffer count too: masks kept as attributes, weight_norm's result.
    """
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            continue
        parameters, buffers, inside = parameters_of(module), buffers_of(module), submodules_of(module)
        for parameter in parameters.values():
            if parameter is not None:
                yield parameter, False
        for buffer in buffers.values():
            if buffer is not None:
                yield buffer, True
        for value in [value for value in vars(module).values() if type(value) not in _NO_CARRIERS]:
            kind = type(value)
            if (kind is dict and not value) or value is parameters or value is buffers or value is inside:
                continue
            if kind is tuple and _ATOMS.issuperset(map(type, value)):
                continue
            for tensor in _plain_tensors(value):
                yield tensor, True


_ATOMS = frozenset((bool, int, float, str, type(None)))


def _plain_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from _plain_tensors(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _plain_tensors(item)


def _twin(tensor: Tensor, device: torch.device, twins: dict[Hashable, Tensor], *, clone: bool) -> Tensor:
    """The tensor in the copy. Those that are the same part of one storage are so in the copy too."""
    if isinstance(tensor, UninitializedTensorMixin):
        # Lazy: it has no shape yet, and is no tensor that could be copied.
        lazy: Any = nn.UninitializedParameter if isinstance(tensor, nn.Parameter) else nn.UninitializedBuffer
        fresh: Tensor = lazy(tensor.requires_grad, device=device, dtype=tensor.dtype)
        return fresh
    kind = type(tensor)
    # What isinstance asks of a class of parameters is dear.
    is_parameter = kind is nn.Parameter or (kind is not Tensor and isinstance(tensor, nn.Parameter))
    same = identity(tensor)
    if same in twins:
        moved = twins[same].detach()
        if (value := value_of(twins[same])) is not None and moved.is_meta:
            learn(moved, value)
    elif is_parameter:
        goes = device.type == "meta" and not tensor.is_meta
        moved = shape_of(tensor) if goes else tensor.detach().to(device)  # its values are never known
    elif device.type == "meta":
        moved = on_meta(tensor, is_lent=True)
    else:
        moved = tensor.detach().to(device, copy=clone)
    twins[same] = moved
    if not is_parameter:
        return moved
    if issubclass(kind, nn.Parameter) and (kind is not nn.Parameter or type(moved) is Tensor):
        twin: Tensor = as_subclass(kind, moved, tensor.requires_grad)
        return twin
    return nn.Parameter(moved, requires_grad=tensor.requires_grad)


def _copy_attributes(tensor: Tensor, memo: dict[int, Any]) -> None:
    """What libraries keep on a tensor: how it is quantised, by what it shall be initialised."""
    twin = memo[id(tensor)]
    for name, value in vars(tensor).items():
        if name not in vars(twin) and not name.startswith("_modelsum"):
            setattr(twin, name, _copy_attribute(value, memo))


def _deepcopy(
    model: nn.Module, modules: Sequence[nn.Module], kinds: Iterable[Any], memo: dict[int, Any]
) -> nn.Module:
    tried = dict(memo)
    try:
        usual = all(_is_copied_as_usual(kind) for kind in kinds)
        duplicate = _copied(modules, tried) if usual else copy.deepcopy(model, tried)
    except Exception:
        # Something in it cannot be copied (a lock, a process group, a generator): share only that.
        return _copy_modules(modules, memo)
    memo.update(tried)
    return duplicate


@cache
def _is_copied_as_usual(kind: Any) -> bool:
    """Whether a class says nothing of its own of how it is copied, but for its state."""
    return all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in _OF_COPYING)


_NAMES = frozenset((str,))
_OF_COPYING = (
    *("__deepcopy__", "__reduce__", "__reduce_ex__"),
    *("__getnewargs__", "__getnewargs_ex__", "__new__"),
)


def _copied(modules: Sequence[nn.Module], memo: dict[int, Any]) -> nn.Module:
    """What copy.deepcopy makes of modules that are copied as usual, sooner.

    A module has a dozen dicts, most empty, and many numbers: copy.deepcopy asks each how it is copied.
    """
    for module in modules:
        memo[id(module)] = type(module).__new__(type(module))
    states = []  # kept alive: a memo goes by the address of an object
    for module in reversed(modules):  # what is inside comes first, as there
        states.append(module.__getstate__() if hasattr(module, "__getstate__") else vars(module))
        twin, state = memo[id(module)], _values(states[-1], memo)
        if type(module).__setstate__ is nn.Module.__setstate__:  # for pickles of old, it adds what they lack
            vars(twin).update(state)
        else:
            twin.__setstate__(state)
    duplicate: nn.Module = memo[id(modules[0])]
    return duplicate


def _value(value: Any, memo: dict[int, Any]) -> Any:
    """A copy of something that a module holds, which is not in the memo yet."""
    if type(value) is dict and _NAMES.issuperset(map(type, value)):
        new = memo[id(value)] = {}
        new.update(_values(value, memo))
        return new
    return copy.deepcopy(value, memo)


def _values(named: dict[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    copies = {}
    for name, value in named.items():
        kind = type(value)
        if kind not in _ATOMS and not (kind is tuple and _ATOMS.issuperset(map(type, value))):
            key = id(value)
            if key in memo:
                value = memo[key]
            elif kind in _CONTAINERS and not value:
                value = memo[key] = kind()
            else:
                value = _value(value, memo)
        copies[name] = value
    return copies


_CONTAINERS = frozenset((OrderedDict, dict, list, set))
_NO_CARRIERS = _ATOMS | {OrderedDict, set}


def _copy_modules(modules: Sequence[nn.Module], memo: dict[int, Any]) -> nn.Module:
    for module in modules:
        memo[id(module)] = module.__class__.__new__(module.__class__)
    for module in modules:
        twin = memo[id(module)]
        for name, value in vars(module).items():
            twin.__dict__[name] = _copy_attribute(value, memo)
    duplicate: nn.Module = memo[id(modules[0])]
    return duplicate


def _copy_attribute(value: Any, memo: dict[int, Any], deepcopy: Callable[..., Any] = copy.deepcopy) -> Any:
    try:
        return deepcopy(value, dict(memo))
    except Exception:
        return value
