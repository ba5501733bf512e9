"""PyTorch's caching allocator for CUDA, simulated: what a log of storages makes it reserve.

The facts, from c10/core/AllocatorConfig.h and c10/cuda/CUDACachingAllocator.cpp (torch 2.14.1), for the
native backend, each stream by itself and the default configuration:

1. A request is rounded up to a multiple of 512 bytes, and is 512 bytes at least.
   `torch.cuda.max_memory_allocated` adds up these blocks, not what was asked for.
2. There are two pools. Blocks of up to 1 MiB come from the small pool, whose segments have 2 MiB. Larger
   ones come from the large pool: below 10 MiB out of segments of 20 MiB, from 10 MiB on out of a segment
   of their own size rounded up to 2 MiB.
3. The best fit is taken: the smallest free block of the pool that is large enough, of several of the same
   size the one at the lowest address. What is left of it is split off where that is at least 512 bytes
   (small pool) or more than 1 MiB (large pool); a rest that is not split off counts as allocated.
4. A block that is given back joins its free neighbours in the segment. Segments stay reserved until
   `empty_cache`, or until the device refuses another one: then those that are entirely free are returned.
5. With `expandable_segments:True` there is one growing segment a pool, mapped in pages of 2 MiB (small)
   or 20 MiB (large), and any rest of 512 bytes or more is split off. A free block at the end is extended
   with just the pages that are missing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from modelsum.memory.log import CACHE, COMPUTE, Event

MIB = 1 << 20
BLOCK_BYTES = 512
SMALL_BYTES = 1 * MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
OWN_SEGMENT_BYTES = 10 * MIB
SEGMENT_ROUNDING_BYTES = 2 * MIB

# Segments lie apart in the address space, so that blocks of two of them are never neighbours.
_SEGMENT_DISTANCE = 1 << 45


class Block:
    """A stretch of a segment: in use, or in the free list of its pool."""

    __slots__ = ("address", "next", "previous", "size", "small", "used")

    def __init__(
        self,
        address: int,
        size: int,
        small: bool,
        previous: Block | None = None,
        next: Block | None = None,
    ) -> None:
        self.address = address
        self.size = size
        self.small = small
        self.used = False
        self.previous = previous
        self.next = next


#: Size, address and block: a free list is sorted by them, and a shorter tuple finds its place in it.
_Free: TypeAlias = tuple[int, int, Block]


class CachingAllocator:
    """The state of the allocator.

    Attributes:
        allocated: bytes of the blocks in use; `allocated_peak` the most so far.
        reserved: bytes of all segments; `reserved_peak` the most so far.
    """

    def __init__(self, *, expandable_segments: bool = False) -> None:
        """`expandable_segments` as in PYTORCH_ALLOC_CONF."""
        self.allocated = self.allocated_peak = 0
        self.reserved = self.reserved_peak = 0
        self._expandable = expandable_segments
        self._free: dict[bool, list[_Free]] = {True: [], False: []}
        self._ends: dict[bool, Block] = {}  # the last block of each expandable segment
        self._segments = 0

    def malloc(self, nbytes: int) -> Block:
        """Allocate a block of at least so many bytes."""
        size = -(-nbytes // BLOCK_BYTES) * BLOCK_BYTES or BLOCK_BYTES
        small = size <= SMALL_BYTES
        pool = self._free[small]
        place = bisect_left(pool, (size,))  # the best fit
        if place < len(pool):
            block = pool.pop(place)[2]
        elif self._expandable:
            block = self._extend(size, small)
        else:
            block = self._new_segment(size, small)
        rest = block.size - size
        if rest > SMALL_BYTES or (rest and (small or self._expandable)):
            after = block.next
            remainder = block.next = Block(block.address + size, rest, small, block, after)
            if after is not None:
                after.previous = remainder
            elif self._ends.get(small) is block:
                self._ends[small] = remainder
            block.size = size
            insort(pool, (rest, remainder.address, remainder))
        block.used = True
        self.allocated += block.size
        if self.allocated > self.allocated_peak:
            self.allocated_peak = self.allocated
        return block

    def free(self, block: Block) -> None:
        """Give a block back to its pool, joined with the free blocks beside it."""
        self.allocated -= block.size
        block.used = False
        pool = self._free[block.small]
        before, after = block.previous, block.next
        if before is not None and not before.used:
            self._take(before)
            self._join(before, block)
            block = before
        if after is not None and not after.used:
            self._take(after)
            self._join(block, after)
        insort(pool, (block.size, block.address, block))

    def empty_cache(self) -> None:
        """Return every segment of which no block is in use to the device."""
        for small, pool in self._free.items():
            kept = []
            for entry in pool:
                block = entry[2]
                if block.previous is None and block.next is None:
                    self.reserved -= block.size
                    if self._ends.get(small) is block:
                        del self._ends[small]
                else:
                    kept.append(entry)
            pool[:] = kept

    def _new_segment(self, size: int, small: bool) -> Block:
        if small:
            segment = SMALL_SEGMENT_BYTES
        elif size < OWN_SEGMENT_BYTES:
            segment = LARGE_SEGMENT_BYTES
        else:
            segment = -(-size // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES
        self._segments += 1
        self._reserve(segment)
        return Block(self._segments * _SEGMENT_DISTANCE, segment, small)

    def _extend(self, size: int, small: bool) -> Block:
        """Map more pages at the end of the pool's segment: only what its last block, if free, lacks."""
        page = SMALL_SEGMENT_BYTES if small else LARGE_SEGMENT_BYTES
        end = self._ends.get(small)
        if end is None:
            address, missing = (1 + small) * _SEGMENT_DISTANCE, size
        else:
            address, missing = end.address + end.size, size - (0 if end.used else end.size)
        mapped = -(-missing // page) * page
        self._reserve(mapped)
        if end is not None and not end.used:
            self._take(end)
            end.size += mapped
            return end
        block = Block(address, mapped, small)
        if end is not None:
            block.previous, end.next = end, block
        self._ends[small] = block
        return block

    def _reserve(self, nbytes: int) -> None:
        self.reserved += nbytes
        self.reserved_peak = max(self.reserved_peak, self.reserved)

    def _join(self, left: Block, right: Block) -> None:
        left.size += right.size
        left.next = right.next
        if right.next is not None:
            right.next.previous = left
        elif self._ends.get(right.small) is right:
            self._ends[right.small] = left

    def _take(self, block: Block) -> None:
        pool = self._free[block.small]
        pool.pop(bisect_left(pool, (block.size, block.address)))


class Allocators:
    """An allocator a stream: what a stream has given back is for that stream alone.

    Attributes:
        allocated_peak: most bytes of the blocks in use on all streams at once.
        reserved_peak: most bytes of all segments.
    """

    def __init__(self, *, expandable_segments: bool = False) -> None:
        self.allocated_peak = self.reserved_peak = 0
        self._expandable = expandable_segments
        self._of: dict[str, CachingAllocator] = {}

    def on(self, stream: str) -> CachingAllocator:
        """That of a stream."""
        if stream not in self._of:
            self._of[stream] = CachingAllocator(expandable_segments=self._expandable)
        return self._of[stream]

    def empty_cache(self) -> None:
        """Return what no block is in use of, of all streams."""
        for allocator in self._of.values():
            allocator.empty_cache()

    def look(self) -> None:
        """Take note of the peaks."""
        if len(self._of) == 1:  # which takes note itself
            (one,) = self._of.values()
            allocated, reserved = one.allocated_peak, one.reserved_peak
        else:
            allocated = sum(one.allocated for one in self._of.values())
            reserved = sum(one.reserved for one in self._of.values())
        self.allocated_peak = max(self.allocated_peak, allocated)
        self.reserved_peak = max(self.reserved_peak, reserved)


def replay(
    events: Iterable[Event], *, expandable_segments: bool = False, streams: Mapping[int, str] | None = None
) -> Allocators:
    """The allocators after all events of a log; a storage that changes its size gets another block.

    `streams` are as `modelsum.memory.log.Log` has them.
    """
    allocators = Allocators(expandable_segments=expandable_segments)
    allocator = allocators.on(COMPUTE)
    blocks: dict[int, Block] = {}
    sizes: dict[int, int] = {}
    for event in events:
        storage, change = event[0], event[1]
        if storage == CACHE:
            allocators.empty_cache()
            continue
        size = sizes[storage] = sizes.get(storage, 0) + change
        old = blocks.pop(storage, None)
        if streams:
            allocator = allocators.on(streams.get(storage, COMPUTE))
        if size:
            blocks[storage] = allocator.malloc(size)
            if streams:
                allocators.look()
        if old is not None:
            allocator.free(old)
    allocators.look()
    for block in blocks.values():
        block.previous = block.next = None  # they hold on to each other
    return allocators


# What a process takes on the device besides, least: a CUDA context with lazily loaded kernels (287 MB,
# pytorch#86509) and no workspaces of libraries.
_LEAST_CONTEXT_BYTES = 287_000_000
# And on one machine, an A100 of which the software is not known: the line through 1,234 real training runs
# of 285 models, above which 5 % of them are by more than 6.6 % (reports/memory-gpu.md).
_FACTOR = 1.014
_CONTEXT_BYTES = 1744 * MIB
_MOST_ABOVE = 1.066


def measured_process_bytes(reserved: int) -> int:
    """What a training process took on the machine of the measured runs, for so many reserved bytes.

    Tested on 1,213 runs of 275 other models: half of them are within 1.1 % of it, 90 % within 5.2 %.
    """
    return int(_FACTOR * reserved) + _CONTEXT_BYTES


def process_bytes(reserved: int) -> tuple[int, int]:
    """The range in which the process's memory on the device lies, for so many reserved bytes.

    It begins with the smallest context that was reported and ends where 95 % of the measured runs are below.
    The rest are runs in which cuDNN, with its benchmark on, tried algorithms that take gigabytes.
    """
    return reserved + _LEAST_CONTEXT_BYTES, int(_MOST_ABOVE * measured_process_bytes(reserved))
