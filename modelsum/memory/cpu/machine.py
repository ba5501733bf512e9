"""The machine that memory on the CPU is predicted for: how many threads it has, and what vectors.

What a thread has for itself is there once for each of them, which several rules know; how oneDNN shares a
convolution's work among more or fewer than two of them was not measured everywhere. Which kernels there are,
and so what they allocate, depends on the instruction set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

BLOCK = 16  # channels that oneDNN keeps together with AVX-512: a vector of float32
MEASURED_THREADS = 2

AVX512, AVX2, OTHER = ISAS = ("avx512", "avx2", "other")
MEASURED_ISA = AVX512
ISA_WORDS = {AVX512: "x86 with AVX-512", AVX2: "x86 with AVX2", OTHER: "a CPU without AVX2"}
#: By torch.backends.cpu.get_cpu_capability(); the others are no x86, or an old one.
ISA_OF = {"AVX512": AVX512, "AVX2": AVX2}


class Machine(NamedTuple):
    """A CPU.

    Attributes:
        threads: how many run a kernel.
        isa: its instruction set, one of `ISAS`.
    """

    threads: int = MEASURED_THREADS
    isa: str = MEASURED_ISA


_machine = Machine()


class AtLeast(int):
    """Bytes of which there may be more.

    Attributes:
        spare: by how much more at most; None where that is not known.
    """

    spare: int | None

    def __new__(cls, nbytes: int, spare: int | None = None) -> AtLeast:
        """So many bytes, and up to `spare` more."""
        bound = super().__new__(cls, nbytes)
        bound.spare = spare
        return bound


def machine() -> Machine:
    """The one that is predicted for."""
    return _machine


def threads() -> int:
    """How many threads run a kernel."""
    return _machine.threads


def isa() -> str:
    """The instruction set, one of `ISAS`."""
    return _machine.isa


@contextmanager
def on_machine(**changed: Any) -> Iterator[None]:
    """Predict inside for a machine that differs in this from the one outside: `threads` or `isa`."""
    global _machine
    before, _machine = _machine, _machine._replace(**changed)
    try:
        yield
    finally:
        _machine = before


def measured_on_two_threads(rule: Callable[..., int | None]) -> Callable[..., int | None]:
    """A kernel rule whose figure is a lower bound on other threads, where it depends on them.

    The rules for AVX2 say themselves what threads share.
    """

    @wraps(rule)
    def on_any(*args: Any, **kwargs: Any) -> int | None:
        here = rule(*args, **kwargs)
        if threads() == MEASURED_THREADS or here is None or isa() == AVX2:
            return here
        with on_machine(threads=1):
            alone = rule(*args, **kwargs)
        return here if here == alone or alone is None else AtLeast(min(here, alone))

    return on_any
