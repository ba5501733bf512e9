"""Parameters and buffers of a model, every tensor once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]


def identity(tensor: Tensor) -> Hashable:
    """What makes two tensor objects the same tensor: the same part of the same storage.

    On the meta device storages have no address, but each is still an object of its own.
    """
    try:
        storage = tensor.untyped_storage()._cdata
        return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
    except (RuntimeError, NotImplementedError, AttributeError):
        return id(tensor)  # sparse, quantised and wrapper tensors have no storage to look at


def unique(tensors: Iterable[Tensor | None]) -> Iterator[Tensor]:
    """Each tensor once, in order; None and lazy tensors without a shape are left out."""
    seen: set[Hashable] = set()
    for tensor in tensors:
        if tensor is None or isinstance(tensor, UninitializedTensorMixin):
            continue
        key = identity(tensor)
        if key not in seen:
            seen.add(key)
            yield tensor


def nbytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements; of a sparse tensor, those of what it stores: values and indices."""
    if tensor.layout is torch.sparse_coo:
        return nbytes(tensor._values()) + nbytes(tensor._indices())
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return nbytes(tensor.values()) + nbytes(tensor.crow_indices()) + nbytes(tensor.col_indices())
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return nbytes(tensor.values()) + nbytes(tensor.ccol_indices()) + nbytes(tensor.row_indices())
    return tensor.numel() * tensor.element_size()


@dataclass(frozen=True, slots=True)
class Share:
    """Elements of some parameters: all of them, and those with requires_grad."""

    params: int
    trainable: int

    @classmethod
    def of(cls, parameters: Iterable[Tensor | None]) -> Share:
        """Count parameters, each tensor once."""
        params = trainable = 0
        for p in unique(parameters):
            params += p.numel()
            if p.requires_grad:
                trainable += p.numel()
        return cls(params, trainable)


def shares(model: nn.Module) -> dict[int, Share]:
    """The share of every module of a model, by the id of the module.

    A module's share is the sum of its children's and its own, so that one walk is enough: but for the modules
    in which something is shared, a tensor or a child, and must not be added twice. These are counted anew.
    """
    modules = list(model.modules())  # parents before the children that were found through them
    children = {id(m): [c for c in m._modules.values() if c is not None] for m in modules}
    own = {id(m): list(unique(own_parameters(m))) for m in modules}
    owners = Counter(identity(p) for tensors in own.values() for p in tensors)
    parents = Counter(id(c) for found in children.values() for c in found)
    parents[id(model)] += 1
    result: dict[int, Share] = {}
    shared: set[int] = set()
    for module in reversed(modules):
        key = id(module)
        inside = children[key]
        if parents[key] > 1 or any(owners[identity(p)] > 1 for p in own[key]):
            shared.add(key)
        if key in shared or any(id(c) in shared or id(c) not in result for c in inside):
            shared.add(key)
            result[key] = Share.of(module.parameters())
        else:
            parts = [Share.of(own[key]), *(result[id(c)] for c in inside)]
            result[key] = Share(sum(p.params for p in parts), sum(p.trainable for p in parts))
    return result


def own_parameters(module: nn.Module) -> list[Tensor | None]:
    """The parameters that the module registers itself."""
    if isinstance(module, torch.jit.ScriptModule):
        return [p for _, p in module.named_parameters(recurse=False)]
    return list(module._parameters.values())


def all_buffers(model: nn.Module) -> list[Tensor]:
    """Every registered buffer, persistent or not, tensor by tensor once."""
    return list(unique(model.buffers()))


def packed_params(model: nn.Module) -> int:
    """Elements of weights that quantised modules keep packed, outside nn.Parameter."""
    return sum(tensor.numel() for module in model.modules() for tensor in _packed_tensors(module))


def _packed_tensors(module: nn.Module) -> Iterator[Tensor]:
    packed: Any = getattr(module, "_packed_params", None)
    if isinstance(packed, torch.ScriptObject):
        unpack: Any = getattr(packed, "unpack")  # noqa: B009 (its methods are not declared)
        yield from (t for t in unpack() if t is not None)


def uninitialized(model: nn.Module) -> bool:
    """Whether a lazy parameter or buffer has no shape yet."""
    tensors = (*model.parameters(), *model.buffers())
    return any(isinstance(t, UninitializedTensorMixin) for t in tensors)


def common_dtype(tensors: Iterable[Tensor]) -> str | None:
    """The dtype that most of the floating-point tensors' elements have, as torch names it, or None."""
    elements: dict[torch.dtype, int] = {}
    for t in tensors:
        if t.is_floating_point() and not isinstance(t, UninitializedTensorMixin):
            elements[t.dtype] = elements.get(t.dtype, 0) + t.numel()
    if not elements:
        return None
    return str(max(elements, key=lambda d: elements[d])).removeprefix("torch.")
