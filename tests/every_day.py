"""Which cases of a long list are run every day; the others are marked slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

#: Documented networks of so many layers that each takes seconds.
DEEPEST = frozenset(("resnet1202", "preact_resnet1001", "densenet190bc_k40", "densenet250bc_k24"))


def slow_unless(values: Iterable[Any], daily: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test: those that are not for every day are marked slow."""
    return [pytest.param(value, marks=() if daily(value) else pytest.mark.slow) for value in values]


def every_nth(values: Iterable[Any], n: int) -> list[Any]:
    """One of `n` every day, from the first on."""
    values = list(values)
    daily = values[::n]
    return slow_unless(values, lambda value: value in daily)
