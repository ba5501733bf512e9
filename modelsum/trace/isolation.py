"""Global state that a forward may touch, put back afterwards, also after an exception."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Keep random number generators (torch CPU and CUDA, numpy, random), grad mode and default dtype."""
    numpy = sys.modules.get("numpy.random")
    cpu_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    python_state = random.getstate()
    numpy_state = numpy.get_state() if numpy else None
    default_dtype = torch.get_default_dtype()
    grad_enabled = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(grad_enabled)
        torch.set_default_dtype(default_dtype)
        if numpy and numpy_state is not None:
            numpy.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        torch.set_rng_state(cpu_state)


@contextmanager
def plain_ops() -> Iterator[None]:
    """Turn off what hides the ops of a forward.

    That is the fused path of nn.MultiheadAttention and TransformerEncoder, one op with all the matmuls in
    it, and torch.compile, where the process uses it: compiled code runs as it was written.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _uncompiled():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _uncompiled() -> AbstractContextManager[object]:
    # Nothing is compiled where torch._dynamo was never imported; importing it takes a second.
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()
