"""Parameters and buffers of a model, every tensor once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import chain
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from modelsum.trace.holders import holds_itself, state_of_packed, stored_tensors
from modelsum.trace.torch_private import (
    buffers_of,
    parameters_of,
    sparse_indices,
    sparse_values,
    storage_key,
    submodules_of,
)


def identity(tensor: Tensor) -> Hashable:
    """What makes two tensor objects the same tensor: the same part of the same storage.

    On the meta device storages have no address, but each is still an object of its own.
    """
    try:
        storage = storage_key(tensor.untyped_storage())
        return storage, tensor.storage_offset(), tensor.shape, tensor.stride()
    except (RuntimeError, NotImplementedError, AttributeError):
        return id(tensor)  # sparse, quantised and wrapper tensors have no storage to look at


def unique(tensors: Iterable[Tensor | None]) -> Iterator[Tensor]:
    """Each tensor once, in order; None and lazy tensors without a shape are left out."""
    yield from by_identity(tensors).values()


def by_identity(tensors: Iterable[Tensor | None]) -> dict[Hashable, Tensor]:
    """The tensors of `unique`, by their identity."""
    found: dict[Hashable, Tensor] = {}
    for tensor in tensors:
        if tensor is not None and not isinstance(tensor, UninitializedTensorMixin):
            found.setdefault(identity(tensor), tensor)
    return found


def nbytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements; of a sparse tensor, those of what it stores: values and indices.

    Of a subclass that is made of other tensors, as torchao's quantised weights are, those of its parts.
    """
    if holds_itself(tensor) and tensor.layout is torch.strided:
        return tensor.numel() * tensor.element_size()
    if hasattr(tensor, "__tensor_flatten__") and not tensor.is_nested:
        return sum(map(nbytes, stored_tensors(tensor)))
    if tensor.layout is torch.sparse_coo:
        return nbytes(sparse_values(tensor)) + nbytes(sparse_indices(tensor))
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return nbytes(tensor.values()) + nbytes(tensor.crow_indices()) + nbytes(tensor.col_indices())
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return nbytes(tensor.values()) + nbytes(tensor.ccol_indices()) + nbytes(tensor.row_indices())
    return tensor.numel() * tensor.element_size()


def elements(tensor: Tensor) -> int:
    """How many numbers a tensor stands for: of bitsandbytes' 4-bit weights there are two in a byte."""
    if holds_itself(tensor):
        return tensor.numel()
    shape = getattr(state_of_packed(tensor), "shape", None)
    return tensor.numel() if shape is None else prod(shape)


class Share(NamedTuple):
    """Elements of some parameters: all of them, and those with requires_grad."""

    params: int
    trainable: int

    @classmethod
    def of(cls, parameters: Iterable[Tensor | None]) -> Share:
        """Count parameters, each tensor once."""
        return cls.of_all(unique(parameters))

    @classmethod
    def of_all(cls, parameters: Iterable[Tensor]) -> Share:
        """Count parameters of which none is there twice."""
        params = trainable = 0
        for p in parameters:
            params += elements(p)
            if p.requires_grad:
                trainable += p.numel()
        return cls(params, trainable)


class Census:
    """The modules of a model and what they register, looked up once: as they are now.

    Attributes:
        modules: by path, each once, a module before those inside it.
        own: what each module registers itself, by the id of the module: its parameters by their identity.
        own_buffers: its buffers likewise.
        own_shares: the share of what each module registers itself, by its id.
        parameters: all of them, every tensor once.
        buffers: all of them, persistent or not, every tensor once.
        uninitialized: whether a lazy parameter or buffer has no shape yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = modules_of(model)
        registered = {id(module): own_parameters(module) for module in self.modules.values()}
        buffers = {id(module): own_buffers(module) for module in self.modules.values()}
        self.own = {key: by_identity(parameters) for key, parameters in registered.items()}
        self.own_buffers = {key: by_identity(found) for key, found in buffers.items()}
        self.own_shares = {key: Share.of_all(found.values()) for key, found in self.own.items()}
        self.parameters = _together(self.own.values())
        self.buffers = _together(self.own_buffers.values())
        self.uninitialized = any(
            isinstance(t, UninitializedTensorMixin) for t in chain(*buffers.values(), *registered.values())
        )

    def shares(self) -> dict[int, Share]:
        """The share of every module, by the id of the module.

        A module's share is the sum of its children's and its own, so that one walk is enough: but for the
        modules in which something is shared, a tensor or a child, and must not be added twice. These are
        counted anew.
        """
        modules = list(self.modules.values())  # parents before the children that were found through them
        children = {id(m): [c for c in submodules_of(m).values() if c is not None] for m in modules}
        owners = Counter(key for parameters in self.own.values() for key in parameters)
        parents = Counter(id(c) for found in children.values() for c in found)
        parents[id(modules[0])] += 1
        result: dict[int, Share] = {}
        shared: set[int] = set()
        for module in reversed(modules):
            key = id(module)
            inside = children[key]
            if parents[key] > 1 or any(owners[p] > 1 for p in self.own[key]):
                shared.add(key)
            if key in shared or any(id(c) in shared or id(c) not in result for c in inside):
                shared.add(key)
                result[key] = Share.of(module.parameters())
            else:
                params, trainable = self.own_shares[key]
                for child in inside:
                    of_child = result[id(child)]
                    params += of_child.params
                    trainable += of_child.trainable
                result[key] = Share(params, trainable)
        return result


def _together(found: Iterable[dict[Hashable, Tensor]]) -> list[Tensor]:
    whole: dict[Hashable, Tensor] = {}
    for tensors in found:
        for key, tensor in tensors.items():
            whole.setdefault(key, tensor)
    return list(whole.values())


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """What `model.named_modules()` yields, in a quarter of the time."""
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    pending = [("", model)]
    while pending:
        path, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        found[path] = module
        inside = submodules_of(module)
        if inside:
            prefix = f"{path}." if path else ""
            children = [(prefix + name, child) for name, child in inside.items() if child is not None]
            pending += reversed(children)
    return found


def hookable(modules: Mapping[str, nn.Module]) -> list[tuple[str, nn.Module]]:
    """Those of the modules inside a model that take hooks, by path: those of TorchScript do not."""
    return [
        (path, module)
        for path, module in modules.items()
        if path and not isinstance(module, torch.jit.ScriptModule)
    ]


def own_parameters(module: nn.Module) -> list[Tensor | None]:
    """The parameters that the module registers itself."""
    if isinstance(module, torch.jit.ScriptModule):
        return [p for _, p in module.named_parameters(recurse=False)]
    return list(parameters_of(module).values())


def parameters_in(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """The parameters that modules register, every object once, as `nn.Module.parameters` has them."""
    found = chain.from_iterable(map(own_parameters, modules))
    yield from {id(parameter): parameter for parameter in found if parameter is not None}.values()


def own_buffers(module: nn.Module) -> list[Tensor | None]:
    """The buffers that the module registers itself."""
    if isinstance(module, torch.jit.ScriptModule):
        return [b for _, b in module.named_buffers(recurse=False)]
    return list(buffers_of(module).values())


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
