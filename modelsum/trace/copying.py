"""A copy of a model to run in its place, so that the model itself is left as it was found.

The copy has its own modules, hooks, flags and buffers; whatever a forward does to itself (running
statistics, counters, caches, lazy layers taking shape) happens to the copy. Parameters are not copied:
on the meta device they become shapes, on their own device they share storage with the originals.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from modelsum.errors import BuildError
from modelsum.trace.known_values import on_meta


def copy_to(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of `model` whose tensors are on `device`: parameters shared where they are there already.

    Raises BuildError for TorchScript on the meta device, where its tensors cannot be put.
    """
    model = unwrapped(model)
    scripted = any(isinstance(m, torch.jit.ScriptModule) for m in model.modules())
    if scripted and device.type == "meta":
        raise BuildError(
            f"{type(model).__name__} holds TorchScript, which cannot be put on the meta device",
            device_limit=True,
        )
    memo: dict[int, Any] = {}
    for tensor, is_buffer in _tensors_of(model):
        if id(tensor) not in memo and not isinstance(tensor, UninitializedTensorMixin):
            memo[id(tensor)] = _moved(tensor, device, clone=is_buffer)
    duplicate = _deepcopy(model, memo)
    for module in duplicate.modules():
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = unwrapped(child)
    return duplicate


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself in place of what torch.compile wrapped around it."""
    while type(model).__name__ == "OptimizedModule" and isinstance(
        getattr(model, "_orig_mod", None), nn.Module
    ):
        model = model._orig_mod  # type: ignore[assignment]
    return model


def _tensors_of(model: nn.Module) -> Iterator[tuple[Tensor, bool]]:
    """Every tensor that a module of the model holds, and whether it must be copied where it is shared.

    Tensors that are neither parameter nor buffer count too: masks kept as attributes, weight_norm's result.
    """
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        for parameter in module._parameters.values():
            if parameter is not None:
                yield parameter, False
        for value in (*module._buffers.values(), *vars(module).values()):
            for tensor in _plain_tensors(value):
                yield tensor, True


def _plain_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from _plain_tensors(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _plain_tensors(item)


def _moved(tensor: Tensor, device: torch.device, *, clone: bool) -> Tensor:
    moved = on_meta(tensor) if device.type == "meta" else tensor.detach().to(device)
    if clone and moved.device.type != "meta":
        moved = moved.clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(moved, requires_grad=tensor.requires_grad)
    return moved


def _deepcopy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:
        # Something in it cannot be copied (a lock, a process group, a generator): share only that.
        return _copy_modules(model, memo)


def _copy_modules(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    for module in model.modules():
        memo[id(module)] = module.__class__.__new__(module.__class__)
    for module in model.modules():
        twin = memo[id(module)]
        for name, value in vars(module).items():
            twin.__dict__[name] = _copy_attribute(value, memo)
    duplicate: nn.Module = memo[id(model)]
    return duplicate


def _copy_attribute(value: Any, memo: dict[int, Any], deepcopy: Callable[..., Any] = copy.deepcopy) -> Any:
    try:
        return deepcopy(value, dict(memo))
    except Exception:
        return value
