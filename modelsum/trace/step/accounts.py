"""What a stretch of a step did, to a log and to what is counted beside it, so that it can be done again."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from modelsum.memory.log import Log


class Account(NamedTuple):
    """What was done.

    Attributes:
        events: storage, counted from the first that was made, change in bytes, and op.
        op: the last one; "" where none ran.
        work: multiply-accumulates, and uncounted and unmeasured ops with how often they ran.
    """

    events: tuple[tuple[int, int, str], ...]
    op: str
    work: tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]

    @property
    def is_its_own(self) -> bool:
        """No storage changed that was there before."""
        return all(storage >= 0 for storage, _, _ in self.events)


class Mark(NamedTuple):
    """How many events and storages there were, the last op, and what was counted."""

    events: int
    storages: int
    op: str
    macs: int
    uncounted: Counter[str]
    unmeasured: Counter[str]


class Ledger:
    """A log, and the work beside it.

    Attributes:
        macs: multiply-accumulates by phase, of ops that have a rule.
        uncounted: ops that do arithmetic and have no rule, by name, with how often they ran.
        unmeasured: ops whose kernels allocate what is not known, by name, with how often they ran.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.macs: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.unmeasured: Counter[str] = Counter()

    def begin(self) -> Mark:
        """What there is now."""
        log = self.log
        op, log.op = log.op, ""
        counted = self.macs.total(), Counter(self.uncounted), Counter(self.unmeasured)
        return Mark(len(log.events), len(log.sizes), op, *counted)

    def since(self, mark: Mark) -> Account:
        """What was done since."""
        log = self.log
        op = log.op
        log.op = op or mark.op
        return Account(
            tuple((event[0] - mark.storages, event[1], event[4]) for event in log.events[mark.events :]),
            op,
            (
                self.macs.total() - mark.macs,
                tuple((self.uncounted - mark.uncounted).items()),
                tuple((self.unmeasured - mark.unmeasured).items()),
            ),
        )

    def repeat(self, account: Account) -> int:
        """Do it again; returns the number of the first storage that is made."""
        log = self.log
        first = len(log.sizes)
        for storage, nbytes, op in account.events:
            log.op = op
            if storage + first == len(log.sizes):
                log.allocate(nbytes)
            else:
                log.resize(storage + first, log.sizes[storage + first] + nbytes)
        if account.op:
            log.op = account.op
        macs, uncounted, unmeasured = account.work
        if macs:
            self.macs[log.phase] += macs
        for counter, found in ((self.uncounted, uncounted), (self.unmeasured, unmeasured)):
            for op, times in found:
                counter[op] += times
        return first
