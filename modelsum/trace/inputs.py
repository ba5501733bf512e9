"""Input specifications -> the tensors of a call; and any nested example moved to a device."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from modelsum.errors import BuildError, InputError
from modelsum.spec import InputSpec
from modelsum.trace.values.known_values import on_meta

#: Sizes of tensors, in bytes, are counted in 64 bits with a sign.
_MOST_BYTES = 2**63 - 1


def make_inputs(
    specs: Sequence[InputSpec], *, batch: int | None, device: torch.device, dtype: torch.dtype
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """The call's arguments for input specifications.

    Args:
        specs: positional ones (no name) in order, then keywords.
        batch: put in front of every shape; None takes the shapes as they are.
        device: meta tensors cost nothing; elsewhere floats are random in [0, 1) and integers are 0,
            which is inside every vocabulary.
        dtype: of the specifications that name none.

    Raises InputError for a size that no tensor can have.
    """
    args, kwargs = [], {}
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
    for spec in specs:
        shape = spec.shape if batch is None else (batch, *spec.shape)
        wanted = getattr(torch, spec.dtype) if spec.dtype else dtype
        if math.prod(shape) * wanted.itemsize > _MOST_BYTES:
            raise InputError(
                f"input {'x'.join(map(str, shape))} has {math.prod(shape):,} elements: too large a tensor",
                "Give smaller sizes, or a smaller --batch.",
            )
        if generator is not None and wanted.is_floating_point:
            tensor = torch.rand(shape, device=device, generator=generator).to(wanted)
        else:
            tensor = torch.zeros(shape, dtype=wanted, device=device)
        if spec.name:
            kwargs[spec.name] = tensor
        else:
            args.append(tensor)
    return tuple(args), kwargs


def move(value: Any, device: torch.device) -> Any:
    """A nested example with all its tensors on `device`; containers are rebuilt.

    The example itself is not touched, and a forward that writes to its input does not reach it: tensors are
    copied, one that is there twice once; so are objects of any class, with their tensors, if they can be.

    Raises:
        InputError: a tensor without data shall go to a real device.
        BuildError: the device takes no tensors of this kind (nested ones on meta).
    """
    return _move(value, device, {})


def _move(value: Any, device: torch.device, memo: dict[int, Any]) -> Any:
    if isinstance(value, Tensor):
        if id(value) not in memo:
            memo[id(value)] = _move_tensor(value, device)
        return memo[id(value)]
    if isinstance(value, PackedSequence):
        # Its batch sizes are on the CPU always.
        parts = (value.data, value.batch_sizes, value.sorted_indices, value.unsorted_indices)
        return PackedSequence(*(p if p is parts[1] else _move(p, device, memo) for p in parts))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_move(v, device, memo) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_move(v, device, memo) for v in value)
    if isinstance(value, MappingProxyType):
        return MappingProxyType({k: _move(v, device, memo) for k, v in value.items()})
    if isinstance(value, Mapping):
        moved = copy.copy(value)
        for key, item in value.items():
            moved[key] = _move(item, device, memo)  # type: ignore[index]
        return moved
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields: Any = copy.copy(value)
        for field in dataclasses.fields(value):
            if hasattr(value, field.name):
                object.__setattr__(fields, field.name, _move(getattr(value, field.name), device, memo))
        return fields
    return _copied(value, memo)


def _move_tensor(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.is_meta and device.type != "meta":
        raise InputError(f"an input is on the meta device and cannot go to {device}", "Use device meta.")
    if device.type == "meta":
        try:
            moved = on_meta(tensor)
        except NotImplementedError as error:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise BuildError(
                f"an input is a {kind} tensor, which cannot be put on the meta device", device_limit=True
            ) from error
    elif tensor.is_nested:
        moved = tensor.detach().to(device)  # one that is not contiguous cannot be copied
    else:
        moved = tensor.detach().to(device, copy=True)
    return moved.requires_grad_(tensor.requires_grad)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if not hasattr(value, "__dict__") or callable(value):
        return value
    try:
        return copy.deepcopy(value, dict(memo))
    except Exception:
        return value  # something in it cannot be copied: the caller's own has to do
