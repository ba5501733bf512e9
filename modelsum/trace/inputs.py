"""Input specifications -> the tensors of a call; and any nested example moved to a device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.spec import InputSpec
from modelsum.trace.known_values import on_meta


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
    """
    args, kwargs = [], {}
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
    for spec in specs:
        shape = spec.shape if batch is None else (batch, *spec.shape)
        wanted = getattr(torch, spec.dtype) if spec.dtype else dtype
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
    """A nested example with all its tensors on `device`; containers are rebuilt, the original is not touched."""
    if isinstance(value, Tensor):
        return on_meta(value) if device.type == "meta" else value.detach().to(device)
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(move(v, device) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(move(v, device) for v in value)
    if isinstance(value, Mapping):
        moved = copy.copy(value)
        for key, item in value.items():
            moved[key] = move(item, device)  # type: ignore[index]
        return moved
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        moved = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(moved, field.name, move(getattr(value, field.name), device))
        return moved
    return value
