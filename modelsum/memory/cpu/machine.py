"""The machine that memory on the CPU is predicted for: x86 with AVX-512, and so many threads.

The rules were measured on two threads. What a thread has for itself is there once for each of them, which
several rules know; how oneDNN shares a convolution's work among more or fewer of them was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

BLOCK = 16  # channels that oneDNN keeps together: a vector of float32
MEASURED_THREADS = 2

_threads = MEASURED_THREADS


class AtLeast(int):
    """Bytes of which there may be more."""


def threads() -> int:
    """How many threads run a kernel."""
    return _threads


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Predict for so many threads inside."""
    global _threads
    before, _threads = _threads, count
    try:
        yield
    finally:
        _threads = before


def measured_on_two_threads(rule: Callable[..., int | None]) -> Callable[..., int | None]:
    """A kernel rule whose figure is a lower bound on other threads, where it depends on them."""

    @wraps(rule)
    def on_any(*args: Any, **kwargs: Any) -> int | None:
        here = rule(*args, **kwargs)
        if _threads == MEASURED_THREADS or here is None:
            return here
        with with_threads(1):
            alone = rule(*args, **kwargs)
        return here if here == alone or alone is None else AtLeast(min(here, alone))

    return on_any
