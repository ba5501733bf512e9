"""Documented networks of so many layers that each takes seconds: not for every test every day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

DEEPEST = frozenset(("resnet1202", "preact_resnet1001", "densenet190bc_k40", "densenet250bc_k24"))


def slow_if_deep(names: Iterable[str], name_of: Callable[[str], str] = str) -> list[Any]:
    """Parameters of a test, those of the deepest networks marked slow; `name_of` is the documented name."""
    return [pytest.param(n, marks=pytest.mark.slow if name_of(n) in DEEPEST else ()) for n in names]
