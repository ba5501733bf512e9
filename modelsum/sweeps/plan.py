"""The points of grids, in their order: all, a sample of them, or the share of one of several machines."""

from __future__ import annotations

import dataclasses
import json
import random
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from modelsum import spec
from modelsum.errors import UsageError
from modelsum.plain import plain
from modelsum.request import Request
from modelsum.sources import resolve
from modelsum.sweeps import keys
from modelsum.sweeps.grid import Grid

#: The most points whose numbers are held at once.
MOST = 10**7
# Of so many points one at least has to be one that can be asked for.
_TRIED = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a plan.

    Attributes:
        number: its place among all points of the grids.
        values: by axis.
        request: what it asks for; None where its values cannot stand together, and `error` says why.
    """

    number: int
    values: Mapping[str, Any]
    request: Request | None
    error: str = ""

    @property
    def question(self) -> str:
        """The part of its row's key that is known before it is done."""
        if self.request is None:
            return keys.without_request(self.values, self.error)
        return keys.question(self.request)


@dataclass(frozen=True)
class Plan:
    """Points of grids.

    Attributes:
        defaults: those of the project, by key.
        numbers: of the points that are meant; None for all that no grid excludes.
    """

    grids: Sequence[Grid]
    defaults: Mapping[str, str] = field(default_factory=dict)
    numbers: Sequence[int] | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of all axes, in the order in which the grids have them."""
        return tuple(dict.fromkeys(name for grid in self.grids for name in grid.axes))

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.grids)))

    @cached_property
    def chosen(self) -> Sequence[int]:
        """The numbers of its points. Raises UsageError where they are too many to be gone through."""
        if self.numbers is not None:
            return self.numbers
        total = self._ends[-1]
        if total > MOST:
            raise UsageError(f"the grid has {total:,} points", "--sample N or --search N takes some of them.")
        if not any(grid.exclude for grid in self.grids):
            return range(total)
        left = [number for number in range(total) if not self._is_excluded(number)]
        if not left:
            raise UsageError("the grid has no points", "All of them are excluded.")
        return left

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterator[Point]:
        return map(self.point, self.chosen)

    def point(self, number: int) -> Point:
        """The point of that number."""
        grid, values = self._values(number)
        try:
            return Point(number, values, grid.request(values, self.defaults))
        except UsageError as error:
            return Point(number, values, None, error.message)

    def find(self, values: Mapping[str, Any]) -> Point | None:
        """The point of these values, as JSON has them; None where it is not one of the plan's."""
        wanted = {name: json.dumps(value) for name, value in values.items()}
        for place in (
            *self._places.get(frozenset(wanted.items()), ()),
            *self._places.get(frozenset(wanted), ()),
        ):
            number = 0
            for name, numbers in self._numbers_by_value[place].items():
                if wanted[name] not in numbers:
                    break
                number = number * len(self.grids[place].axes[name]) + numbers[wanted[name]]
            else:
                if (found := self.point_of(place, number)) is not None and self._is_meant(found.number):
                    return found
        return None

    def point_of(self, place: int, number: int) -> Point | None:
        """The point of that number in the grid of that place; None where it is excluded."""
        number += self._ends[place - 1] if place else 0
        return None if self._is_excluded(number) else self.point(number)

    @cached_property
    def _numbers_by_value(self) -> list[dict[str, dict[str, int]]]:
        def numbers(values: Sequence[Any]) -> dict[str, int]:
            return {json.dumps(plain(value)): number for number, value in enumerate(values)}

        return [{name: numbers(values) for name, values in grid.axes.items()} for grid in self.grids]

    @cached_property
    def _places(self) -> dict[frozenset[Any], list[int]]:
        """The places of grids by the names of their axes, of those of one point also by its values."""
        places: dict[frozenset[Any], list[int]] = {}
        for place, axes in enumerate(self._numbers_by_value):
            alone = len(self.grids[place]) == 1
            key = ((name, *numbers) for name, numbers in axes.items()) if alone else axes
            places.setdefault(frozenset(key), []).append(place)
        return places

    @cached_property
    def _meant(self) -> Collection[int] | None:
        numbers = self.numbers
        return numbers if numbers is None or isinstance(numbers, range) else frozenset(numbers)

    def _is_meant(self, number: int) -> bool:
        return self._meant is None or number in self._meant

    def sample(self, size: int, seed: int) -> Plan:
        """So many of its points, or all where there are not more, drawn at random."""
        draw = random.Random(seed)
        total = self._ends[-1]
        if self.numbers is not None or total <= MOST:
            return self._of(sorted(draw.sample(self.chosen, min(size, len(self.chosen)))))
        drawn: dict[int, None] = {}
        for _ in range(100 * size):  # of more than ten million, hardly one is drawn twice
            number = draw.randrange(total)
            if len(drawn) < size and not self._is_excluded(number):
                drawn[number] = None
        return self._of(sorted(drawn))

    def shard(self, number: int, of: int) -> Plan:
        """Every so manieth point: the share of one of several machines, from 1."""
        return self._of(self.chosen[number - 1 :: of])

    def check(self) -> None:
        """Say what can be said before anything is built: wrong keys and values, names that nobody knows.

        Raises UsageError, also where no point can be asked for.
        """
        for grid in self.grids:
            grid.check(self.defaults)
            for model in grid.axes["model"]:
                resolve(spec.parse_model(model))
        tried = [self.point(number) for number in range(min(self._ends[-1], _TRIED))]
        if all(point.request is None for point in tried):
            raise UsageError(tried[0].error)

    def _of(self, numbers: Sequence[int]) -> Plan:
        return dataclasses.replace(self, numbers=numbers)

    def _values(self, number: int) -> tuple[Grid, dict[str, Any]]:
        place = bisect_right(self._ends, number)
        return self.grids[place], self.grids[place].point(number - (self._ends[place - 1] if place else 0))

    def _is_excluded(self, number: int) -> bool:
        grid, values = self._values(number)
        return grid.leaves_out(values)
