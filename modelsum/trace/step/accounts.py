"""What a stretch of a step did, to a log and to what is counted beside it, so that it can be done again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from modelsum.memory.log import Log


class Account(NamedTuple):
    """What was done.

    Attributes:
        events: storage, counted from the first that was made, change in bytes, and op.
        op: the last one; "" where none ran.
        work: multiply-accumulates, and uncounted and unmeasured ops with how often they ran.
        sizes: bytes that the storages that were made have in the end; None where an older one changed.
    """

    events: tuple[tuple[int, int, str], ...]
    op: str
    work: tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]
    sizes: tuple[int, ...] | None

    @classmethod
    def of(cls, events: Iterable[tuple[int, int, str]], op: str, work: Any) -> Account:
        """An account of these."""
        events = tuple(events)
        sizes: dict[int, int] = {}  # the first event of a storage makes it
        for storage, nbytes, _ in events:
            sizes[storage] = sizes.get(storage, 0) + nbytes
        is_its_own = list(sizes) == list(range(len(sizes)))
        return cls(events, op, work, tuple(sizes.values()) if is_its_own else None)

    @property
    def is_its_own(self) -> bool:
        """No storage changed that was there before."""
        return self.sizes is not None


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
        return Account.of(
            ((event[0] - mark.storages, event[1], event[4]) for event in log.events[mark.events :]),
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
        first = log.again(account.events, account.sizes or ())
        if account.events or account.op:
            log.op = account.op
        macs, uncounted, unmeasured = account.work
        if macs:
            self.macs[log.phase] += macs
        for op, times in uncounted:
            self.uncounted[op] += times
        for op, times in unmeasured:
            self.unmeasured[op] += times
        return first
