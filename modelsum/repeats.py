"""Siblings that are alike and follow each other, and so whole blocks, as one: `layer3.[1-22]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple, TypeVar

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


# ---- whole blocks


class Place(NamedTuple):
    """A row of a table with others in it.

    Attributes:
        parent: the place of the row that it is in, which comes before it; None for an outermost one.
        name: what it is called there.
        is_inside: its path is that of the row it is in, and its name; else its name is its whole path.
        own: equal for rows that nothing tells apart, but what is in them.
        again: a further call of what has a row already; those that are equal are one wherever they stand.
    """

    parent: int | None
    name: str
    is_inside: bool
    own: Hashable
    again: bool = False


class Run(NamedTuple):
    """Equal blocks, by the places of their rows, and the path that is shown for them."""

    members: Sequence[int]
    path: str


def placed(path: str, above: str | None) -> tuple[str, bool]:
    """What a module is called in the one above it, and whether its path is inside that one's.

    >>> placed("layers.0.fc", "layers.0"), placed("shared.fc", "layers.0")
    (('fc', True), ('shared.fc', False))
    """
    prefix = f"{above}." if above else ""
    return (path[len(prefix) :], above is not None) if path.startswith(prefix) else (path, False)


def equal_blocks(places: Sequence[Place]) -> Iterator[Run]:
    """The rows in their order, those of equal blocks that follow each other together; most are alone."""
    return _Blocks(places).all()


class _Blocks:
    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._children: list[list[int]] = [[] for _ in places]
        self._tops: list[int] = []
        for number, place in enumerate(places):
            (self._tops if place.parent is None else self._children[place.parent]).append(number)
        numbers = Numbers()
        self._kinds = [0] * len(places)
        for number in range(len(places) - 1, -1, -1):
            inside = tuple((places[child].name, self._kinds[child]) for child in self._children[number])
            self._kinds[number] = numbers.of((places[number].own, places[number].again, inside))

    def all(self) -> Iterator[Run]:
        pending = list(reversed([*self._runs([self._tops], "")]))
        while pending:
            run = pending.pop()
            yield run
            inside = [self._children[member] for member in run.members]
            pending += reversed([*self._runs(inside, run.path)])

    def _runs(self, families: Sequence[Sequence[int]], path: str) -> Iterator[Run]:
        """The rows below equal ones, a list each: those at the same place in them are one as well."""
        first = families[0]

        def name(at: int) -> str:
            return self._places[first[at]].name

        def kind(at: int) -> int:
            return self._kinds[first[at]]

        calls: dict[tuple[str, int], list[int]] = {}
        for at, number in enumerate(first):
            if self._places[number].again:
                calls.setdefault((name(at), kind(at)), []).append(at)
        further = {each[0]: each for each in calls.values()}
        merged = {at for each in calls.values() for at in each[1:]}
        for alike in runs([at for at in range(len(first)) if at not in merged], name, kind):
            together = [each for at in alike for each in further.get(at, (at,))]
            members = [family[at] for family in families for at in together]
            called = joined(name(alike[0]), name(alike[-1]))
            is_inside = path and self._places[members[0]].is_inside
            yield Run(members, f"{path}.{called}" if is_inside else called)
