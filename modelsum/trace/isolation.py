"""Global state that a forward may touch, put back afterwards, also after an exception."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
def plain_attention() -> Iterator[None]:
    """Turn off the fused path of nn.MultiheadAttention and TransformerEncoder, one op that hides its matmuls."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
