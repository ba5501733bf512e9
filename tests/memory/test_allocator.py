"""The simulated caching allocator: its rules, one test each, with sizes worked out by hand."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modelsum.memory.allocator import (
    MIB,
    Block,
    CachingAllocator,
    measured_process_bytes,
    process_bytes,
    replay,
)
from modelsum.memory.log import CACHE, Event


def test_requests_are_rounded_to_512_bytes() -> None:
    allocator = CachingAllocator()
    assert [allocator.malloc(n).size for n in (0, 1, 512, 513)] == [512, 512, 512, 1024]
    assert allocator.allocated == 2560


def test_small_requests_share_a_segment_of_2_mib() -> None:
    allocator = CachingAllocator()
    allocator.malloc(MIB)
    allocator.malloc(MIB)
    assert allocator.reserved == 2 * MIB
    allocator.malloc(1)
    assert allocator.reserved == 4 * MIB


def test_large_requests_below_10_mib_share_a_segment_of_20_mib() -> None:
    allocator = CachingAllocator()
    allocator.malloc(MIB + 1)
    allocator.malloc(9 * MIB)
    assert allocator.reserved == 20 * MIB


def test_from_10_mib_on_a_segment_is_as_large_as_the_request_in_steps_of_2_mib() -> None:
    allocator = CachingAllocator()
    assert allocator.malloc(13 * MIB).size == 14 * MIB  # the rest of 1 MiB is not split off
    assert allocator.reserved == 14 * MIB


def test_a_rest_is_split_off_where_it_is_large_enough() -> None:
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(20 * MIB))
    assert allocator.malloc(19 * MIB).size == 20 * MIB
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(20 * MIB))
    assert allocator.malloc(19 * MIB - 512).size == 19 * MIB - 512


def test_the_best_fit_is_taken_not_the_first() -> None:
    allocator = CachingAllocator()
    large, small = allocator.malloc(40 * MIB), allocator.malloc(30 * MIB)
    allocator.free(large)
    allocator.free(small)
    assert allocator.malloc(29 * MIB).address == small.address


def test_an_emptied_cache_returns_the_segments_in_which_nothing_is_used() -> None:
    """Of a segment of 20 MiB with one block of 5 in use nothing is returned, of one of 30 MiB everything."""
    allocator = CachingAllocator()
    used, free, large = allocator.malloc(5 * MIB), allocator.malloc(5 * MIB), allocator.malloc(30 * MIB)
    allocator.free(free)
    allocator.free(large)
    allocator.empty_cache()
    assert (allocator.reserved, allocator.reserved_peak) == (20 * MIB, 50 * MIB)
    allocator.free(used)
    allocator.empty_cache()
    assert allocator.reserved == 0
    allocator.malloc(30 * MIB)
    assert allocator.reserved_peak == 50 * MIB


def test_an_emptied_cache_of_expandable_segments_can_grow_again() -> None:
    allocator = CachingAllocator(expandable_segments=True)
    allocator.free(allocator.malloc(30 * MIB))
    allocator.empty_cache()
    assert allocator.reserved == 0
    assert allocator.malloc(50 * MIB).size == 50 * MIB
    assert allocator.reserved == 60 * MIB


def test_neighbours_are_joined_when_they_are_free() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.malloc(5 * MIB) for _ in range(4)]
    assert allocator.reserved == 20 * MIB
    for block in (blocks[0], blocks[2], blocks[1], blocks[3]):
        allocator.free(block)
    allocator.malloc(20 * MIB)
    assert allocator.reserved == 20 * MIB


def test_blocks_of_different_segments_are_never_joined() -> None:
    allocator = CachingAllocator()
    for block in [allocator.malloc(10 * MIB), allocator.malloc(10 * MIB)]:
        allocator.free(block)
    allocator.malloc(20 * MIB)
    assert allocator.reserved == 40 * MIB


def test_expandable_segments_grow_by_what_is_missing() -> None:
    """30 MiB take two pages of 20; freed, 50 MiB need one page more; a fixed segment would be a new one."""
    allocator = CachingAllocator(expandable_segments=True)
    allocator.free(allocator.malloc(30 * MIB))
    assert allocator.reserved == 40 * MIB
    allocator.malloc(50 * MIB)
    assert allocator.reserved == 60 * MIB
    fixed = CachingAllocator()
    fixed.free(fixed.malloc(30 * MIB))
    fixed.malloc(50 * MIB)
    assert fixed.reserved == 80 * MIB


@pytest.mark.parametrize("expandable", [False, True])
def test_blocks_never_overlap_and_all_memory_is_accounted_for(expandable: bool) -> None:
    """A thousand random steps: used blocks are apart, and nothing is lost when all are given back."""
    generator = random.Random(0)
    allocator = CachingAllocator(expandable_segments=expandable)
    used: list[Block] = []
    for _ in range(1000):
        if used and generator.random() < 0.5:
            allocator.free(used.pop(generator.randrange(len(used))))
        else:
            used.append(allocator.malloc(int(2 ** generator.uniform(0, 25))))
        spans = sorted((b.address, b.address + b.size) for b in used)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert allocator.allocated == sum(b.size for b in used) <= allocator.reserved
    for block in used:
        allocator.free(block)
    reserved = allocator.reserved
    allocator.empty_cache()  # all of it was joined to whole segments
    assert (reserved > 0, allocator.reserved) == (True, 0)


def test_a_log_is_replayed_storage_by_storage() -> None:
    """3 and 12 MiB share a segment of 20; 4 MiB then take its last 5, whose rest is too small to split."""
    events = [Event(0, 3 * MIB, "forward", ""), Event(1, 12 * MIB, "forward", "")]
    events += [Event(0, -3 * MIB, "backward", ""), Event(2, 4 * MIB, "backward", "")]
    allocator = replay(events)
    assert (allocator.allocated_peak, allocator.reserved_peak) == (17 * MIB, 20 * MIB)


def test_a_log_says_when_the_cache_is_emptied() -> None:
    """12 MiB given back and emptied: the next 30 are not on top of them."""
    before = [Event(0, 12 * MIB, "forward", ""), Event(0, -12 * MIB, "forward", "")]
    after = [Event(1, 30 * MIB, "forward", "")]
    assert replay([*before, *after]).reserved_peak == 42 * MIB
    assert replay([*before, Event(CACHE, 0, "forward", ""), *after]).reserved_peak == 30 * MIB


def test_the_process_takes_more_than_is_reserved() -> None:
    """1.014 x 1000 + 1744 MiB is the measured line, 6.6 % more the end; the least context is 287 MB."""
    least, most = process_bytes(1000 * MIB)
    assert measured_process_bytes(1000 * MIB) == 2758 * MIB
    assert (least, most) == (1000 * MIB + 287_000_000, int(1.066 * 2758 * MIB))
