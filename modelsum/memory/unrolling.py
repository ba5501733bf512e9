"""A log of a few equal blocks, as that of many: what one in the middle did, all those between do.

A block's events are those that belong to a module in it. They come in stretches, block after block: up in
the forward pass, down in the backward pass. The stretches of one block are put there once more for every
block that is missing, on storages of their own. What of another block's storages they change (a gathered
weight of the block before is given back) is of the block as far away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from modelsum.memory.log import CACHE, Event


class NotAlikeError(Exception):
    """The log is not one of equal blocks, one after the other."""


class Unrolling:
    """Lists of events of the same storages, one after the other, as they are with all blocks.

    Attributes:
        lists: the lists.
        like: of each storage in them, which of the short ones it is like.
    """

    def __init__(
        self,
        lists: Sequence[Sequence[Event]],
        short: Sequence[str],
        all_of_them: Sequence[str],
        copied: int,
        kinds: Sequence[Hashable],
    ) -> None:
        """Unroll a log. Raises NotAlikeError where there is no telling.

        Args:
            lists: of the log, in order.
            short: paths of the blocks in the log, in order.
            all_of_them: paths of the blocks that there are to be.
            copied: the place of the block in `short` that those between are like.
            kinds: equal for storages of a kind, by their numbers.
        """
        self.like: list[int] = []
        self._places = {path: place for place, path in enumerate(short)}
        self._paths = all_of_them
        self._kinds = kinds
        self._copied, self._more = copied, len(all_of_them) - len(short)
        self._known: dict[str, tuple[int, str] | None] = {}
        # In which block a storage was made, and as what; how far away what is last done to it is done.
        self._born: dict[int, tuple[int | None, Hashable]] = {}
        self._ends: dict[int, int | None] = {}
        stretches = [[*self._in_stretches(events)] for events in lists]
        # Which it is of those that a block made so: a first or a last block may make something more.
        made: Counter[Hashable] = Counter()
        self._keys: dict[int, tuple[int | None, Hashable]] = {}
        for storage, (block, what) in self._born.items():
            of_block = block, what, self._ends[storage]
            self._keys[storage] = block, (of_block[1:], made[of_block])
            made[of_block] += 1
        self._numbers: dict[tuple[int | None, Hashable], int] = {}
        self.lists = [[*self._unrolled(each)] for each in stretches]

    def _unrolled(self, stretches: Sequence[tuple[int | None, list[Event]]]) -> Iterator[Event]:
        for at, (block, stretch) in enumerate(stretches):
            if block != self._copied:
                yield from self._moved(block, stretch, self._shift(block))
                continue
            before = stretches[at - 1][0] if at else None
            after = stretches[at + 1][0] if at + 1 < len(stretches) else None
            for by in self._order(before, after):
                yield from self._moved(block, stretch, by)

    def _shift(self, block: int | None) -> int:
        return self._more if block is not None and block > self._copied else 0

    def moved(self, path: str) -> Iterator[str]:
        """The paths of the modules that one of the log stands for."""
        place = self._place_of(path)
        if place is None:
            yield path
            return
        block, rest = place
        copies = range(self._more + 1) if block == self._copied else (self._more * (block > self._copied),)
        yield from (self._paths[block + by] + rest for by in copies)

    def _order(self, before: int | None, after: int | None) -> Sequence[int]:
        up = (before is not None and before == self._copied - 1) or after == self._copied + 1
        down = before == self._copied + 1 or (after is not None and after == self._copied - 1)
        if up == down:
            raise NotAlikeError
        there = range(self._more + 1)
        return there if up else there[::-1]

    def _in_stretches(self, events: Sequence[Event]) -> Iterator[tuple[int | None, list[Event]]]:
        """The events by the block that they are of; takes note of where storages are made."""
        stretch: list[Event] = []
        block: int | None = None
        runs = False  # something in the block does
        for event, following in zip(events, self._that_run_next(events), strict=True):
            place, storage = self._place_of(event.module), event.storage
            if place:
                there: int | None = place[0]
            else:
                there = self._born.get(storage, (None,))[0]
                if runs and block is not None:
                    # Right after a block, or on the way to the one beside it: of the block that ran.
                    beside = following is not None and abs(following - block) == 1
                    there = block if there is not None or beside else None
            if not stretch or (there, event.phase) != (block, stretch[-1].phase):
                if stretch:
                    yield block, stretch
                stretch, block, runs = [], there, False
            runs = runs or place is not None
            stretch.append(event)
            if storage == CACHE:
                continue
            if storage not in self._born:
                inside = place[1] if place else event.module
                self._born[storage] = (
                    block,
                    (inside, event.phase, event.op, event.bytes, self._kinds[storage]),
                )
            born = self._born[storage][0]
            self._ends[storage] = None if born is None or block is None else block - born
        if stretch:
            yield block, stretch

    def _that_run_next(self, events: Sequence[Event]) -> list[int | None]:
        """For every event, the block that runs there or next."""
        found: list[int | None] = []
        block = None
        for event in reversed(events):
            place = self._place_of(event.module)
            block = place[0] if place else block
            found.append(block)
        return found[::-1]

    def _moved(self, at: int | None, stretch: Sequence[Event], by: int) -> Iterator[Event]:
        for event in stretch:
            place = self._place_of(event.module)
            module = event.module if place is None else self._paths[place[0] + by] + place[1]
            storage = event.storage
            if storage != CACHE:
                block, what = self._keys[storage]
                if block is not None:  # of one that is not beside this one: of the first or the last
                    is_beside = at is not None and abs(block - at) <= 1
                    block += by if is_beside else self._shift(block)
                key = block, what
                if key not in self._numbers:
                    if event.bytes < 0:
                        raise NotAlikeError
                    self._numbers[key] = len(self.like)
                    self.like.append(storage)
                storage = self._numbers[key]
            yield event._replace(storage=storage, module=module)

    def _place_of(self, path: str) -> tuple[int, str] | None:
        """The block that a module is in, and the rest of its path."""
        if path not in self._known:
            found = None
            outer, rest = path, ""
            while outer:
                if outer in self._places:
                    found = self._places[outer], rest
                    break
                outer, dot, name = outer.rpartition(".")
                rest = f"{dot}{name}{rest}"
            self._known[path] = found
        return self._known[path]


def renumbered(events: Sequence[Sequence[Event]]) -> tuple[list[list[Event]], list[int]]:
    """Lists of events with storages numbered as they come, and what number each had."""
    numbers: dict[int, int] = {CACHE: CACHE}
    lists = [
        [event._replace(storage=numbers.setdefault(event.storage, len(numbers) - 1)) for event in each]
        for each in events
    ]
    return lists, [*numbers][1:]
