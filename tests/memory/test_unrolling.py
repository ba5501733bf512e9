"""A log of three blocks, unrolled to five."""

from __future__ import annotations

import pytest

from modelsum.memory.log import BACKWARD, FORWARD, Event
from modelsum.memory.unrolling import NotAlikeError, Unrolling

THREE, FIVE = ("b.0", "b.1", "b.2"), ("b.0", "b.1", "b.2", "b.3", "b.4")


def blocks(count: int) -> list[Event]:
    """Each makes something, and gives back what the one before made; backward it is the other way round."""
    forward = [
        event
        for n in range(count)
        for event in (
            Event(n, 8, FORWARD, f"b.{n}.fc", "op"),
            *([Event(n - 1, -8, FORWARD, f"b.{n}", "op")] if n else []),
        )
    ]
    backward = [
        event
        for n in reversed(range(count))
        for event in (
            Event(2 * count - n, 4, BACKWARD, f"b.{n}.fc", "op"),
            *([Event(2 * count - n - 1, -4, BACKWARD, f"b.{n}", "op")] if n < count - 1 else []),
        )
    ]
    return [Event(count, 2, FORWARD, "head", "op"), *forward, *backward]


def sizes(events: list[Event]) -> list[tuple[int, str, str]]:
    return [(event.bytes, event.phase, event.module) for event in events]


def test_what_the_middle_one_does_those_between_do() -> None:
    found = Unrolling([blocks(3)], THREE, FIVE, 1, [""] * 8)
    assert sizes(found.lists[0]) == sizes(blocks(5))


def test_each_gives_back_what_its_neighbour_made() -> None:
    live: dict[int, int] = {}
    for event in Unrolling([blocks(3)], THREE, FIVE, 1, [""] * 8).lists[0]:
        live[event.storage] = live.get(event.storage, 0) + event.bytes
        assert live[event.storage] in (0, 2, 4, 8)
    assert sorted(live.values()) == [0] * 8 + [2, 4, 8]


def test_a_module_of_the_middle_one_stands_for_those_between() -> None:
    found = Unrolling([blocks(3)], THREE, FIVE, 1, [""] * 8)
    assert [*found.moved("b.1.fc")] == ["b.1.fc", "b.2.fc", "b.3.fc"]
    assert [*found.moved("b.2.fc")] == ["b.4.fc"]
    assert [*found.moved("head")] == ["head"]


def test_blocks_that_do_not_follow_each_other_are_no_row() -> None:
    alone = [Event(0, 8, FORWARD, "b.1", "op")]
    with pytest.raises(NotAlikeError):
        Unrolling([alone], THREE, FIVE, 1, [""])
