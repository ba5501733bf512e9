"""Amounts as people write them in a configuration: limits, tolerances and bounds.

26 M              26000000                    K (or k), M, G, T and P are powers of 1000
9 GiB             9663676416                  KiB, MiB, ... are powers of 1024, for bytes
0.5% + 10 M       Tolerance(0.005, 10000000)  a share of the old figure and an absolute amount together
<= 26 M           Bound("<=", 26000000)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from modelsum.errors import UsageError
from modelsum.units import count, exact_bytes

_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15} | _BINARY
_UNITS = _DECIMAL | _BYTES
_SAME = {"k": "K", "kB": "KB"}  # kilo, as SI writes it

_AMOUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?)\s*([A-Za-z]*)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_BOUND = re.compile(r"(<=|>=|==|<|>)?\s*(.+)")

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much more than before is let pass: a share of the old figure plus an absolute amount."""

    share: Fraction = Fraction(0)
    absolute: int = 0

    def allowance(self, old: int) -> int:
        """The largest increase of a figure that was `old`; with a pin, the largest change."""
        return int(self.share * old) + self.absolute

    def words(self, *, is_bytes: bool) -> str:
        """As it is written: "0.5% + 10,000,000", an absolute amount of bytes also in MiB."""
        parts = [f"{float(self.share * 100):g}%"] if self.share else []
        if self.absolute:
            parts.append(exact_bytes(self.absolute) if is_bytes else count(self.absolute))
        return " + ".join(parts) or "0"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure has to be: `relation` is <=, >=, ==, < or >."""

    relation: str
    amount: int

    def holds(self, figure: int) -> bool:
        """Whether the figure keeps to it."""
        return _OPERATORS[self.relation](figure, self.amount)

    def __str__(self) -> str:
        return f"{self.relation} {self.amount:,}"


def parse_amount(value: object, *, is_bytes: bool) -> int:
    """Read a whole number or "26 M", "9 GiB"; what is less than one is cut off.

    Args:
        value: an int or a string.
        is_bytes: the amount is of bytes: KiB, MB and the like are valid.

    Raises UsageError with what would be valid.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise UsageError(f"{value} is negative", _example(is_bytes))
        return value
    match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise UsageError(f"{value!r} is not an amount", _example(is_bytes))
    digits, unit = match.groups()
    unit = _SAME.get(unit, unit)
    units = _BYTES | _DECIMAL if is_bytes else _DECIMAL
    if unit not in units:
        if unit in _UNITS:
            raise UsageError(f"{value!r}: {unit} is a unit of bytes", _example(is_bytes))
        right = next((known for known in units if known.lower() == unit.lower()), None)
        hint = f"Did you mean {right}?" if right else f"Units are {', '.join(filter(None, units))}."
        raise UsageError(f"{value!r}: unknown unit {unit!r}", hint)
    return int(Fraction(digits.replace("_", "").replace(",", "")) * units[unit])


def parse_tolerance(value: object, *, is_bytes: bool) -> Tolerance:
    """Read "0.5%", "10 M" or both with a + between; a whole number is absolute. Raises UsageError."""
    if not isinstance(value, str):
        return Tolerance(absolute=parse_amount(value, is_bytes=is_bytes))
    share, absolute = Fraction(0), 0
    for part in value.split("+"):
        if percent := _PERCENT.fullmatch(part.strip()):
            share += Fraction(percent[1]) / 100
        elif "%" in part:
            raise UsageError(f"{part.strip()!r} is not a percentage", "Write 0.5%, or 0.5% + 10 M.")
        else:
            absolute += parse_amount(part, is_bytes=is_bytes)
    return Tolerance(share, absolute)


def parse_bound(value: object, *, is_bytes: bool) -> Bound:
    """Read "<= 26 M", "== 4089184256"; a bare amount is an upper bound. Raises UsageError."""
    if not isinstance(value, str):
        return Bound("<=", parse_amount(value, is_bytes=is_bytes))
    match = _BOUND.fullmatch(value.strip())
    if match is None:
        raise UsageError("a bound is empty", "Write <= 26 M or == 4089184256.")
    return Bound(match[1] or "<=", parse_amount(match[2], is_bytes=is_bytes))


def _example(is_bytes: bool) -> str:
    return "Write a whole number, " + ('"900 MiB" or "9 GiB".' if is_bytes else '"26 M" or "4.1 G".')
