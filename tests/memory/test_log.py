"""A log of storages and what is read from it: live bytes, peaks, parts, timeline."""

from __future__ import annotations

import pytest

from modelsum.memory.log import BACKWARD, FORWARD, SAVED_ACTIVATIONS, SETUP, TEMPORARIES, WEIGHTS, Log
from modelsum.memory.peaks import inclusive_maximum, inclusive_sum, replay


def a_step() -> tuple[Log, list, list]:
    """Weights of 100 bytes; forward keeps 30 and uses 50 for a moment; backward needs 60 on top of the 30."""
    log = Log()
    log.allocate(100, WEIGHTS)
    setup = log.cut()
    log.phase, log.module = FORWARD, "a.b"
    kept = log.allocate(30)
    log.categories[kept] = SAVED_ACTIVATIONS
    log.use(50)
    log.phase, log.module = BACKWARD, "a.c"
    gradient = log.allocate(60)
    log.release(kept)
    log.module = ""
    log.release(gradient)
    return log, setup, log.cut()


def test_the_peak_is_split_into_parts_that_add_up() -> None:
    log, setup, events = a_step()
    peak = replay(log.categories, setup, events).peak
    assert peak.bytes == 190 == sum(peak.parts.values())
    assert peak.parts[WEIGHTS] == 100
    assert peak.parts[SAVED_ACTIVATIONS] == 30
    assert peak.parts[TEMPORARIES] == 60
    assert (peak.phase, peak.module) == (BACKWARD, "a.c")


def test_every_phase_has_a_peak_of_its_own() -> None:
    log, setup, events = a_step()
    phases = replay(log.categories, setup, events).phases
    assert {phase: peak.bytes for phase, peak in phases.items()} == {FORWARD: 180, BACKWARD: 190}


def test_a_phase_that_only_gives_back_has_the_peak_of_its_beginning() -> None:
    log = Log()
    log.phase = FORWARD
    number = log.allocate(40)
    log.phase = BACKWARD
    log.release(number)
    assert replay(log.categories, [], log.cut()).phases[BACKWARD].bytes == 40


def test_modules_count_what_happens_inside_them() -> None:
    log, setup, events = a_step()
    assert replay(log.categories, setup, events).modules == {"a.b": 180, "a.c": 190, "a": 190, "": 190}
    assert inclusive_sum({"a.b": 1, "a.c": 2, "d": 4}) == {"a.b": 1, "a.c": 2, "a": 3, "d": 4, "": 7}
    assert inclusive_maximum({"ab": 5, "a.b": 1}) == {"ab": 5, "a.b": 1, "a": 1, "": 5}


def test_a_resize_counts_from_then_on() -> None:
    log = Log()
    number = log.allocate(10)
    log.resize(number, 25)
    log.resize(number, 5)
    assert [event.bytes for event in log.events] == [10, 15, -20]
    assert log.live() == 5


def test_sizes_are_rounded_to_what_the_allocator_hands_out() -> None:
    log = Log(round_to=512)
    number = log.allocate(1)
    assert log.live() == 512
    log.resize(number, 513)
    assert log.live() == 1024


@pytest.mark.parametrize("points", [8, 20, 50])
def test_the_timeline_is_bounded_and_keeps_the_peaks(points: int) -> None:
    """A sawtooth of 600 events with one high tooth in each phase."""
    log = Log()
    for phase in (FORWARD, BACKWARD):
        log.phase = phase
        for i in range(150):
            log.use(1000 if i == 77 else i % 7 + 1)
    events = log.cut()
    result = replay(log.categories, [], events, points)
    assert len(result.timeline) <= points
    for phase, peak in result.phases.items():
        assert max(p.live_bytes for p in result.timeline if p.phase == phase) == peak.bytes == 1000
    assert [p.event for p in result.timeline] == sorted({p.event for p in result.timeline})


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(ValueError, match="no peak"):
        replay([], [], [])


def test_what_is_there_before_has_no_peak_of_its_own() -> None:
    log = Log()
    log.use(1000)
    log.allocate(10, WEIGHTS)
    before = log.cut()
    log.phase = FORWARD
    log.use(5)
    assert all(event.phase == SETUP for event in before)
    assert replay(log.categories, before, log.cut()).peak.bytes == 15
