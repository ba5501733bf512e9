"""Global state that a forward may touch, put back afterwards, also after an exception."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.trace.higher_order import cond
from modelsum.trace.torch_private import (
    AUTOCAST_INIT,
    COMPILE,
    COND,
    VALIDATES_DISTRIBUTIONS,
    flex_attention_check,
    storage_key,
    submodules_of,
)


@contextmanager
def isolated() -> Iterator[None]:
    """Keep random number generators (torch, CUDA, numpy, random), grad mode, default dtype and folder.

    Numbers that torch draws on the CPU inside are the same each time: where they decide shapes, as weights of
    a detector do, so are the figures.
    """
    numpy = sys.modules.get("numpy.random")
    cpu_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    python_state = random.getstate()
    numpy_state = numpy.get_state() if numpy else None
    default_dtype = torch.get_default_dtype()
    grad_enabled = torch.is_grad_enabled()
    folder = os.getcwd()
    try:
        torch.default_generator.manual_seed(0)
        yield
    finally:
        if os.getcwd() != folder:
            os.chdir(folder)
        torch.set_grad_enabled(grad_enabled)
        torch.set_default_dtype(default_dtype)
        if numpy and numpy_state is not None:
            numpy.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        torch.set_rng_state(cpu_state)


@contextmanager
def uncollected(device: torch.device) -> Iterator[None]:
    """Collect no garbage while shapes are computed on meta.

    The collector goes through all objects of torch several times a second, and where a forward leaves
    tensors in a cycle, it would decide by its own count when their memory is free.
    """
    if device.type != "meta" or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def plain_ops() -> Iterator[None]:
    """Turn off what hides the ops of a forward.

    That is the fused path of nn.MultiheadAttention and TransformerEncoder, one op with all the matmuls in
    it, and torch.compile: compiled code, and what is compiled now, runs as it was written, torch.cond too.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _uncompiled(), COMPILE.replaced(_as_it_is), COND.replaced(cond):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def runs_on_meta(device: torch.device) -> Iterator[None]:
    """Lift checks that refuse the meta device, or read values, though shapes are all that counts.

    `torch.autocast(x.device.type)` knows no meta device: there it is the CPU's, which leaves meta tensors as
    they are. Distributions read their parameters to validate them. flex_attention names the devices it
    was written for. All of it is put back, and nothing changes where the forward runs for real.
    """
    if device.type != "meta":
        yield
        return
    with ExitStack() as changed:
        changed.enter_context(AUTOCAST_INIT.replaced(_autocast_on_meta(AUTOCAST_INIT.value)))
        changed.enter_context(VALIDATES_DISTRIBUTIONS.replaced(False))
        flex = flex_attention_check()
        if flex is not None:
            changed.enter_context(flex.replaced(lambda *tensors: None))
        yield


def _autocast_on_meta(init: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: torch.autocast, device_type: str, *args: Any, **kwargs: Any) -> None:
        init(self, "cpu" if device_type == "meta" else device_type, *args, **kwargs)

    return __init__


def _as_it_is(model: Any = None, **options: Any) -> Any:
    """In place of torch.compile: what is compiled runs as it is written."""
    return model if model is not None else lambda function: function


def _uncompiled() -> AbstractContextManager[object]:
    # Nothing is compiled where torch._dynamo was never imported; importing it takes a second.
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
        stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return stance
    return nullcontext()


class SharedTensors:
    """Tensors that a copy of a model shares with the caller's model, put back if an op writes to them."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._shared = {
            storage_key(storage): storage for t in tensors if (storage := _storage(t)) is not None
        }
        self._before: dict[int, torch.UntypedStorage] = {}

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Remember what is in the shared ones of these, which are about to change."""
        for tensor in tensors:
            storage = _storage(tensor)
            if storage is not None and (key := storage_key(storage)) in self._shared:
                self._before.setdefault(key, storage.clone())

    def restore(self) -> None:
        """Put everything back that was kept."""
        for key, before in self._before.items():
            self._shared[key].copy_(before)
        self._before.clear()


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):
        return None  # sparse, uninitialised and wrapper tensors have no storage of their own


@contextmanager
def deep_enough(model: nn.Module) -> Iterator[None]:
    """Let Python recurse as deep as the modules of the model are nested: some frames more for each level.

    Copying takes about six frames a level, and a hooked call two more than a plain one.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 16 * _depth(model))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _depth(model: nn.Module) -> int:
    depth, seen, level = 0, {id(model)}, [model]
    while level:
        depth += 1
        inner = [child for module in level for child in submodules_of(module).values() if child is not None]
        level = [m for m in {id(m): m for m in inner}.values() if id(m) not in seen]
        seen.update(map(id, level))
    return depth
