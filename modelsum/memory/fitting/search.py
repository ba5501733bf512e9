"""The largest batch that fits into a room, found with as few predictions as possible."""

from __future__ import annotations

from collections.abc import Callable

#: The search stops here: of a model whose memory hardly grows with the batch.
MOST = 1 << 20

_SECOND = 8


def largest(
    need: Callable[[int], int],
    room: int,
    *,
    least: int = 1,
    near: int | None = None,
    per_sample: int | None = None,
    zero: int | None = None,
    most: int = MOST,
) -> int | None:
    """The largest batch whose need is at most the room; None where not even the least one fits.

    The need grows with the batch, nearly in proportion, but for the noise of an allocator that rounds and
    fragments. So a line through two points says where to look, and what is found is checked: of the answer
    and of the next batch the need was asked for, and one fits and the other does not (unless the answer is
    `most`). An end that stays where it is counts for half as much with every look (the Illinois method), or
    a curve would be followed from one side alone: 4 needs are asked for where it is straight, about 7 where
    it is a parabola, about 10 where an allocator makes it a staircase.

        >>> largest(lambda batch: 100 + 7 * batch, 1000)
        128

    Args:
        need: bytes that a batch needs.
        room: bytes that there are.
        least: the smallest batch to consider.
        near: a batch that the answer may be near, to look at first.
        per_sample: by how much the need may grow with each sample, where that is known already.
        zero: about what is needed by a batch just below the least one, where that is known already: then it
            is not looked at, nor is the least one unless the line leads there.
        most: the largest batch to consider.
    """
    low, high = (least, None) if zero is None else (least - 1, None)
    if near is not None and least < near <= most:
        point = near, need(near)
        low, high = (near, None) if point[1] <= room else (low, point)
    if zero is not None and low < least:
        low_need = min(zero, room)
    elif (low_need := need(low)) > room:
        return None
    below: tuple[int, int] | None = None  # an earlier point, for the line while there is no upper one
    moved = 0  # how often in a row the lower end did, less than 0 where the upper one did
    while high is None or high[0] - low > 1:
        if low == most:
            break
        if high is not None:
            spare, excess = (room - low_need) >> max(-moved - 1, 0), (high[1] - room) >> max(moved - 1, 0)
            guess = min(low + (high[0] - low) * spare // max(spare + excess, 1), high[0] - 1)
        elif below is not None:
            guess = _crossing(below, (low, low_need), room) or 4 * low
        elif per_sample:
            guess = low + (room - low_need) // per_sample
        else:
            guess = _SECOND * low
        guess = max(low + 1, min(guess, most))
        guess_need = need(guess)
        if guess_need > room:
            high, moved = (guess, guess_need), min(moved, 0) - 1
        else:
            moved = max(moved, 0) + 1
            below, (low, low_need) = (low, low_need), (guess, guess_need)
    return low if low >= least else None


def _crossing(left: tuple[int, int], right: tuple[int, int], room: int) -> int | None:
    """The last batch on the line through two points that fits the room; None where it does not rise."""
    (batch, nbytes), (other, other_bytes) = left, right
    if other_bytes <= nbytes:
        return None
    return batch + (room - nbytes) * (other - batch) // (other_bytes - nbytes)
