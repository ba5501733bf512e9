"""Checks of constructor arguments: each returns the value, or raises ValueError saying what is valid.

A zoo constructor is called with whatever a user typed after `--arg`, so that a wrong value has to be
refused by name, and not by a tensor operation far from it. A bool is never taken for a number.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def _refuse(name: str, value: object, valid: str) -> ValueError:
    return ValueError(f"{name} must be {valid}, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def whole(name: str, value: Any, minimum: int = 1) -> int:
    """An integer of at least `minimum`."""
    if not _is_whole(value) or value < minimum:
        raise _refuse(name, value, f"a whole number of at least {minimum}")
    return int(value)


def wholes(name: str, value: Any, length: int | None = None, minimum: int = 1) -> tuple[int, ...]:
    """A list or tuple of integers of at least `minimum`: of `length` of them, or of one or more."""
    count = "one or more" if length is None else str(length)
    right_length = isinstance(value, (list, tuple)) and (len(value) == length if length else len(value) > 0)
    if not right_length or not all(_is_whole(v) and v >= minimum for v in value):
        raise _refuse(name, value, f"a list of {count} whole numbers of at least {minimum}")
    return tuple(value)


def positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise _refuse(name, value, "a number above 0")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number in (0, 1]."""
    if not _is_number(value) or not 0 < value <= 1:
        raise _refuse(name, value, "a number above 0 and at most 1")
    return float(value)


def probability(name: str, value: Any) -> float:
    """A number in [0, 1): at 1, dropout would leave nothing."""
    if not _is_number(value) or not 0 <= value < 1:
        raise _refuse(name, value, "a number of at least 0 and below 1")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise _refuse(name, value, "True or False")
    return value


def one_of(name: str, value: Any, valid: Collection[Any]) -> Any:
    """One of the `valid` values; a bool is not the 0 or 1 that it equals."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value not in valid:
        raise _refuse(name, value, "one of " + ", ".join(repr(v) for v in valid))
    return value
