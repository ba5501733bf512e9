"""What sharing work out costs: 300 items of nothing on two processes, without and with one that dies.

    python tests/benchmarks/jobs_time.py [--rounds 7]

Prints the median of the ratios of the two, taken in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

from modelsum import jobs

ITEMS, PROCESSES, THE_ONE = 300, 2, 150


def nothing(item: int) -> int:
    """What is done without a death."""
    return item


def dies_at_one(item: int) -> int:
    """What is done with a death."""
    if item == THE_ONE:
        os._exit(1)
    return item


def seconds(work: object) -> float:
    """How long all items take; they all have to come back."""
    begun = time.perf_counter()
    found = list(jobs.results(work, range(ITEMS), jobs=PROCESSES, lost=lambda item, ended: -1))  # type: ignore[arg-type]
    taken = time.perf_counter() - begun
    assert found == [-1 if work is dies_at_one and item == THE_ONE else item for item in range(ITEMS)]
    return taken


def main() -> None:
    """Take the times in turn and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    import torch  # noqa: F401  (the processes are copies of one that has it, as for `modelsum check`)

    times = [(seconds(nothing), seconds(dies_at_one)) for _ in range(rounds)]
    plain, one = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(
        f"{ITEMS} items on {PROCESSES} processes: {plain:.2f} s, with a death {one:.2f} s, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
