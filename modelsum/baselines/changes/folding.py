"""The lines that people read of a diff: repeated blocks that changed in the same way are one line.

`layer3.[1-22].conv2` is conv2 in layer3.1 up to layer3.22. A block that was added, removed or renamed is
one line, however much is in it; so is a changed one at the greatest depth that is asked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelsum.baselines.changes.changes import Change, Diff
from modelsum.repeats import Numbers, joined, runs


@dataclass(frozen=True, slots=True)
class Line:
    """Modules that changed in the same way.

    Attributes:
        state: as of a `Change`; "same" for repeated blocks beside others that are not.
        path: where they are, folded names as [first-last].
        old_path: where they were, if that is another place.
        class_name: their class; "" where they have several.
        times: how many they are.
        size: modules in each, itself included, where the line stands for all of them; else 1.
        change: the first of them.
        differences: by how much the figures of all that the line stands for grew together.
    """

    state: str
    path: str
    old_path: str | None
    class_name: str
    times: int
    size: int
    change: Change
    differences: Mapping[str, int]

    @property
    def is_consequence(self) -> bool:
        """Whether it only says that other sizes were passed on."""
        return self.state == "changed" and self.size == 1 and self.change.is_consequence


def lines(diff: Diff, depth: int | None = None, *, every: bool = False) -> list[Line]:
    """The diff as people read it, in the order of the model.

    Args:
        depth: blocks that deep are one line with what changed in them; None goes down to every module.
        every: each of repeated blocks has lines of its own.
    """
    return list(_Folded(diff.changes, depth, every).lines())


@dataclass(frozen=True, slots=True)
class _Run:
    """Siblings on one line, how often they are there in all, and what they are called."""

    members: Sequence[int]
    times: int
    path: str
    old_path: str


class _Folded:
    def __init__(self, changes: Sequence[Change], depth: int | None, every: bool) -> None:
        self._changes = changes
        self._depth = depth
        self._every = every
        self._children: list[list[int]] = [[] for _ in changes]
        above: list[int] = []
        for index, change in enumerate(changes):
            while above and changes[above[-1]].depth >= change.depth:
                above.pop()
            if above:
                self._children[above[-1]].append(index)
            above.append(index)
        self._sums: list[Counter[str]] = [Counter() for _ in changes]
        self._is_quiet = [False] * len(changes)  # nothing in it changed, but for its own name perhaps
        self._is_whole = [False] * len(changes)  # it came or went with everything in it
        self._kind = [0] * len(changes)  # modules of one kind changed in the same way
        numbers = Numbers()
        for index in range(len(changes) - 1, -1, -1):
            self._read(index, numbers)

    def _read(self, index: int, numbers: Numbers) -> None:
        change, children = self._changes[index], self._children[index]
        for part in (change.differences, *(self._sums[child] for child in children)):
            for name, difference in part.items():
                self._sums[index][name] += difference
        self._is_quiet[index] = change.state in ("same", "renamed") and all(
            self._is_quiet[child] and self._changes[child].state == "same" for child in children
        )
        self._is_whole[index] = change.state in ("added", "removed") and all(
            self._is_whole[child] and self._changes[child].state == change.state for child in children
        )
        own: object
        if self._is_quiet[index]:
            own = change.state
        elif self._is_whole[index]:
            own = (change.state, change.class_name)
        else:
            what = json.dumps([dict(change.attributes), change.differences], sort_keys=True)
            inside = tuple((self._name(child), self._kind[child]) for child in children)
            own = (change.state, change.is_renamed, change.class_name, what, inside)
        self._kind[index] = numbers.of(own)

    def _name(self, index: int) -> str:
        return self._changes[index].path.rpartition(".")[2]

    def lines(self) -> Iterator[Line]:
        pending = [_Run((0,), 1, "", "")]
        while pending:
            run = pending.pop()
            index = run.members[0]
            change = self._changes[index]
            if self._is_quiet[index]:
                if index and (change.state != "same" or change.size > 1):
                    yield self._line(run, change.state)
            elif self._is_whole[index]:
                yield self._line(run, change.state)
            elif self._depth is not None and change.depth >= self._depth:
                yield self._line(run, "changed")
            else:
                if change.state != "same":
                    yield self._line(run, change.state, alone=True)
                pending += reversed(list(self._runs(index, run)))

    def _line(self, run: _Run, state: str, *, alone: bool = False) -> Line:
        members = [self._changes[index] for index in run.members]
        repeats = run.times // len(members)
        each = Counter[str]()
        for index, change in zip(run.members, members, strict=True):
            for name, difference in (change.differences if alone else self._sums[index]).items():
                each[name] += difference
        classes = {change.class_name for change in members}
        return Line(
            state=state,
            path=run.path,
            old_path=run.old_path if members[0].is_renamed else None,
            class_name=classes.pop() if len(classes) == 1 else "",
            times=run.times,
            size=1 if alone else members[0].size,
            change=members[0],
            differences={name: sum_ * repeats for name, sum_ in each.items() if sum_},
        )

    def _runs(self, index: int, run: _Run) -> Iterator[_Run]:
        """The children, those that follow each other and changed in the same way together."""
        children = self._children[index]
        for members in self._alike(children):
            first, last = self._changes[members[0]], self._changes[members[-1]]
            is_shown = first.state != "same" or not self._is_quiet[members[0]]
            if is_shown or self._name(members[0]).isdigit():
                was = _joined(self._old_place(index, first, run.old_path), first.old_path, last.old_path)
                now = was if first.new_path is None else _joined(run.path, first.new_path, last.new_path)
                yield _Run(members, run.times * len(members), now, was)

    def _alike(self, children: Sequence[int]) -> Iterable[Sequence[int]]:
        if self._every:
            return ([child] for child in children)
        return runs(children, self._name, self._kind.__getitem__)

    def _old_place(self, parent: int, change: Change, old_path: str) -> str:
        """Where the module was: in what its parent was, or elsewhere if it moved."""
        place = (change.old_path or "").rpartition(".")[0]
        return old_path if place == self._changes[parent].old_path else place


def _joined(path: str, first: str | None, last: str | None) -> str:
    """The folded path of modules that stand in `path` and are called as the last parts of these paths."""
    name = joined(*((each or "").rpartition(".")[2] for each in (first, last)))
    return f"{path}.{name}" if path else name
