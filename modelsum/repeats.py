"""Siblings that are alike and follow each other, as one: `layer3.[1-22]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_NUMBERED = re.compile(r"(.*?)(\d+)")


class Numbers:
    """Gives equal values the same number."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        """The number of a value."""
        return self._known.setdefault(value, len(self._known))


def runs(
    siblings: Sequence[T], name: Callable[[T], str], kind: Callable[[T], Hashable]
) -> Iterator[Sequence[T]]:
    """The siblings in order, those together that are of a kind and have the same name but for a number.

    >>> [*runs(["a", "b0", "b1", "c"], str, lambda each: each[0])]
    [['a'], ['b0', 'b1'], ['c']]
    """
    start = 0
    for end in range(1, len(siblings) + 1):
        if end < len(siblings) and _continues(siblings[end - 1], siblings[end], name, kind):
            continue
        yield siblings[start:end]
        start = end


def _continues(one: T, following: T, name: Callable[[T], str], kind: Callable[[T], Hashable]) -> bool:
    if kind(one) != kind(following):
        return False
    stems = [match and match[1] for match in map(_NUMBERED.fullmatch, (name(one), name(following)))]
    return stems[0] is not None and stems[0] == stems[1]


def joined(first: str, last: str) -> str:
    """What a run is called whose first and last have these names: "denselayer[1-6]".

    >>> joined("layers.1", "layers.31")
    'layers.[1-31]'
    """
    if first == last:
        return first
    ends = [_NUMBERED.fullmatch(each) for each in (first, last)]
    stem = ends[0][1] if ends[0] else ""
    return f"{stem}[{'-'.join(end[2] if end else '' for end in ends)}]"
