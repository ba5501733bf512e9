"""How oneDNN's threads share the gradient of a weight, and what their own sums take (cpu_reducer.cpp)."""

from __future__ import annotations

from modelsum.memory.cpu.avx2.shape import FLOAT_BYTES, PAGE, booked
from modelsum.memory.cpu.machine import threads

_BARRIER_BYTES = 4096


def sums_of_threads(job: int, jobs: int, terms: int, most: int, *, beside: bool = False) -> int:
    """Bytes for so many jobs of `job` numbers, each a sum of `terms` that threads may share.

    Args:
        most: numbers that the buffer has at most.
        beside: whether also the first thread of a group has its own sums, and not the result's place.
    """
    groups, of_group, jobs_of_group = _shares(job, jobs, terms, most)
    if of_group == 1:
        return 0
    own = groups * (of_group - (0 if beside else 1)) * jobs_of_group * job * FLOAT_BYTES
    return booked(own) if beside and own else booked(own, PAGE)


def barriers(job: int, jobs: int, terms: int, most: int) -> int:
    """Bytes for the groups of threads to meet."""
    groups, of_group, _ = _shares(job, jobs, terms, most)
    return booked(groups * _BARRIER_BYTES, PAGE) if of_group > 1 else 0


def _shares(job: int, jobs: int, terms: int, most: int) -> tuple[int, int, int]:
    """Groups of threads, threads of a group and jobs of a group at most: the least work for a thread."""
    count = threads()
    fewest = max(1, jobs // count)
    limit = max(1, most // (count * job))
    groups = min(jobs // fewest, count)
    found = groups, min(count // groups, terms), -(-jobs // groups)
    least = jobs * job * terms
    for of_group in range(fewest, jobs):
        groups = min(jobs // of_group, count)
        together = min(count // groups, terms)
        own_jobs = -(-jobs // groups)
        if together > 1 and own_jobs > limit:
            continue
        work = job * own_jobs * (-(-terms // together) + (together != 1))
        if work < least:
            found, least = (groups, together, own_jobs), work
    return found
