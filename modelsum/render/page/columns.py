"""The layers of a model as columns of small numbers, which a page reads: a tenth of their JSON."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

from modelsum.render.summary import cells
from modelsum.render.summary.rows import blocks_of, folded
from modelsum.repeats import Numbers, Run, placed
from modelsum.summary import Summary

T = TypeVar("T", bound=Hashable)


def of_summary(summary: Summary) -> dict[str, Any]:
    """The layers of a summary, in the order of its calls.

    Each list has an item a row, and what repeats is a number into a list of its own:

        up         how many rows above the row is that it happened in; 0 for the root
        name       into `names`: what it is called in that row
        elsewhere  by row, the whole path of one that is written elsewhere than in the row it happened in
        kind       into `kinds`: its class
        shape      into `shapes`: what came out
        first      how many rows above the row is that stands for it where equal blocks are one
        called     by that row, what it is called then
        own        by figure, what is its own; null where that is on another row, or nothing
        marks      by row, why it has no parameters of its own
    """
    modules = summary.memory.modules if summary.memory else {}
    rows = folded(summary.layers, None, modules)
    figures = {"params": [row.params for row in rows]}
    if summary.called:
        figures["macs"] = [row.macs for row in rows]
    memory: dict[str, list[int | None]] = {}
    if summary.memory:
        if summary.memory.training:
            memory["saved"] = [None if row.layer.reused else row.saved_bytes for row in rows]
        memory["peak"] = [row.peak_bytes for row in rows]
    return {
        "title": cells.model_name(summary.model),
        **tree([(row.layer.path, row.layer.class_name, row.parent) for row in rows], blocks_of(rows)),
        **listed("shape", [cells.output(row) if summary.called else "" for row in rows]),
        "figures": [*figures, *memory],
        "own": {**figures, **memory},
        "marks": {
            str(row.index): said for row in rows if (said := cells.params(row)) in ("(reused)", "(shared)")
        },
    }


def tree(modules: Sequence[tuple[str, str, int | None]], blocks: Iterable[Run]) -> dict[str, Any]:
    """The columns that say where modules are, given path, class and parent of each, and which are equal."""
    names, elsewhere = [], {}
    for number, (path, _, parent) in enumerate(modules):
        name, is_inside = placed(path, None if parent is None else modules[parent][0])
        names.append(name)
        if not is_inside and parent is not None:
            elsewhere[str(number)] = path
    first, called = [0] * len(modules), {}
    for members, path in blocks:
        for member in members:
            first[member] = member - members[0]
        parts = names[members[0]].count(".") + 1
        if (name := ".".join(path.split(".")[-parts:])) != names[members[0]]:
            called[str(members[0])] = name
    return {
        "up": [0 if parent is None else number - parent for number, (_, _, parent) in enumerate(modules)],
        "elsewhere": elsewhere,
        "first": first,
        "called": called,
        **listed("name", names),
        **listed("kind", [class_name for _, class_name, _ in modules]),
    }


def listed(name: str, values: Sequence[T]) -> dict[str, Any]:
    """A column of what repeats, as numbers into a list of its own."""
    numbers = Numbers()
    places = [numbers.of(value) for value in values]
    return {name: places, f"{name}s": list(dict.fromkeys(values))}


def steps(values: Sequence[int]) -> list[int]:
    """A row of numbers as the steps between them: what hardly changes is short so."""
    return [value - before for value, before in zip(values, (0, *values[:-1]), strict=True)]


def runs(values: Sequence[T]) -> list[tuple[T, int]]:
    """Values that follow each other and are equal, once with how many there are."""
    found: list[tuple[T, int]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1] = (value, found[-1][1] + 1)
        else:
            found.append((value, 1))
    return found
