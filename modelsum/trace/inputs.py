"""Input specifications -> the tensors of a call; and any nested example moved to a device."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import BuildError, InputError
from modelsum.spec import InputSpec
from modelsum.trace.holders import holds_itself, rebuilt, tensors_held
from modelsum.trace.torch_private import storage_key
from modelsum.trace.values.contents import is_unknown
from modelsum.trace.values.known_values import on_meta

#: Sizes of tensors, in bytes, are counted in 64 bits with a sign.
_MOST_BYTES = 2**63 - 1


def make_inputs(
    specs: Sequence[InputSpec],
    *,
    batch: int | None,
    device: torch.device,
    dtype: torch.dtype,
    numbers: Collection[str] = (),
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """The call's arguments for input specifications.

    Args:
        specs: positional ones (no name) in order, then keywords.
        batch: put in front of every shape; None takes the shapes as they are.
        device: meta tensors cost nothing; elsewhere floats are random in [0, 1) and integers are 0,
            which is inside every vocabulary.
        dtype: of the specifications that name none.
        numbers: keywords that are no tensors, of those that may be numbers.

    Raises InputError for a size that no tensor can have.
    """
    args: list[Tensor] = []
    kwargs: dict[str, Any] = {}
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
    for spec in specs:
        if spec.name and (spec.value is not None or (spec.name in numbers and spec.may_be_a_number)):
            kwargs[spec.name] = ast.literal_eval(spec.value) if spec.value is not None else spec.shape[0]
            continue
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


def rebatched(example: Any, batch: int) -> Any:
    """An example with another batch: the first size of its first tensor, and of all that have the same.

    Samples are taken again and again; where there are too many to hold, their values are not known. Each lies
    as those of the example do, channels last or as a part of a larger tensor.

    Raises InputError where no tensor has a size.
    """
    sizes = [tensor.shape[0] for tensor in tensors_held(example) if tensor.dim() and not tensor.is_nested]
    if not sizes:
        raise InputError("the example has no tensor with a batch", "Its tensors' first size is the batch.")

    def changed(tensor: Tensor) -> Tensor:
        if not tensor.dim() or tensor.is_nested or tensor.shape[0] != sizes[0]:
            return tensor
        shape = (batch, *tensor.shape[1:])
        if tensor.is_meta or tensor.is_floating_point() or math.prod(shape) > _MOST_REPEATED:
            return _laid_out_as(tensor, batch).requires_grad_(tensor.requires_grad)
        return tensor[torch.arange(batch, device=tensor.device) % sizes[0]]

    return rebuilt(example, changed)


_MOST_REPEATED = 1 << 20


def _laid_out_as(tensor: Tensor, batch: int) -> Tensor:
    """A tensor on meta with another first size, and as large a part of its storage as `tensor` of its own.

    Where the samples lie within each other, they do so among more of them.
    """
    shape, samples = (batch, *tensor.shape[1:]), tensor.shape[0]
    if not _is_plain(tensor) or not samples:
        return tensor.detach().new_empty(shape, device="meta")
    elements, offset = (
        tensor.untyped_storage().nbytes() // tensor.element_size(),
        int(tensor.storage_offset()),
    )
    step, *strides = tensor.stride()
    if samples == 1:  # nobody stepped to the next one
        step = max(step, _extent(tensor))
        elements = max(elements, offset + step)
    around = [stride > step and n > 1 for n, stride in zip(tensor.shape[1:], strides, strict=True)]
    if step and any(around):
        scaled = [elements, offset, *(stride for stride, is_so in zip(strides, around, strict=True) if is_so)]
        if any(n * batch % samples for n in scaled):
            return tensor.detach().new_empty(shape, device="meta")
        elements, offset = (n * batch // samples for n in scaled[:2])
        strides = [n * batch // samples if is_so else n for n, is_so in zip(strides, around, strict=True)]
    else:
        elements += (batch - samples) * step
    whole = torch.empty(elements, dtype=tensor.dtype, device="meta")
    return torch.empty(0, dtype=tensor.dtype, device="meta").set_(
        whole.untyped_storage(), offset, shape, (step, *strides)
    )


def move(value: Any, device: torch.device, *, as_they_lie: bool = False) -> Any:
    """A nested example with all its tensors on `device`; containers and objects are rebuilt.

    The example itself is not touched, and a forward that writes to its input does not reach it.

    Args:
        as_they_lie: a model is called on the tensors themselves: each keeps its strides, and is a part of a
            storage as large as its own, which those share that did. Else as `Tensor.to` moves them.

    Raises:
        InputError: a tensor without data shall go to a real device.
        BuildError: the device takes no tensors of this kind (nested ones on meta).
    """
    twins: dict[int, torch.UntypedStorage] = {}

    def moved(tensor: Tensor) -> Tensor:
        if tensor.is_meta and device.type != "meta":
            raise InputError(f"an input is on the meta device and cannot go to {device}", "Use device meta.")
        as_it_lies = as_they_lie and _is_plain(tensor)
        new = _part(tensor, device, twins) if as_it_lies else _move_tensor(tensor, device)
        return new.requires_grad_(tensor.requires_grad)

    return rebuilt(value, moved)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is its part of a storage and nothing else."""
    if not holds_itself(tensor) or tensor.layout is not torch.strided or tensor.is_nested:
        return False
    return not (tensor.is_quantized or tensor.is_neg() or tensor.is_conj())


def _part(tensor: Tensor, device: torch.device, twins: dict[int, torch.UntypedStorage]) -> Tensor:
    """The same part of a storage of that size on `device`; what is beside it there is not filled."""
    storage = tensor.untyped_storage()
    twin = twins.get(storage_key(storage))
    if twin is None:
        whole = torch.empty(storage.nbytes(), dtype=torch.uint8, device=device)
        twin = twins[storage_key(storage)] = whole.untyped_storage()
    place = tensor.storage_offset(), tensor.size(), tensor.stride()
    moved = torch.empty(0, dtype=tensor.dtype, device=device).set_(twin, *place)
    if moved.is_meta:
        on_meta(tensor, is_lent=True, twin=moved)
    elif tensor.numel():
        extent = _extent(tensor)
        moved.as_strided((extent,), (1,)).copy_(tensor.detach().as_strided((extent,), (1,)))
    return moved


def _extent(tensor: Tensor) -> int:
    """Elements of its storage from its first to its last one."""
    return 1 + sum((n - 1) * stride for n, stride in zip(tensor.size(), tensor.stride(), strict=True))


def _move_tensor(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.is_meta and device.type == "meta" and _is_plain(tensor) and is_unknown(tensor):
        moved = torch.empty_like(tensor)  # no part of a larger one
    elif device.type == "meta":
        try:
            moved = on_meta(tensor, is_lent=True)
        except NotImplementedError as error:
            kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            raise BuildError(
                f"an input is a {kind} tensor, which cannot be put on the meta device", device_limit=True
            ) from error
    elif tensor.is_nested:
        moved = tensor.detach().to(device)  # one that is not contiguous cannot be copied
    else:
        moved = tensor.detach().to(device, copy=True)
    return moved
