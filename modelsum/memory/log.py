"""A log of storages: when each was allocated, resized and released, at what place in the step.

A storage has one category for its whole life. It is often known only later (an activation is found to
be saved for backward after its kernel made it), so the log keeps categories apart from the events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

WEIGHTS = "weights"
BUFFERS = "buffers"
GRADIENTS = "gradients"
OPTIMIZER_STATE = "optimizer_state"
SAVED_ACTIVATIONS = "saved_activations"
TEMPORARIES = "temporaries"
INPUTS = "inputs"
#: A moving average of weights and buffers, in a copy of them.
EMA = "ema"
CATEGORIES = (WEIGHTS, BUFFERS, EMA, GRADIENTS, OPTIMIZER_STATE, SAVED_ACTIVATIONS, TEMPORARIES, INPUTS)

SETUP = "setup"
FORWARD = "forward"
BACKWARD = "backward"
OPTIMIZER_STEP = "optimizer step"
PHASES = (FORWARD, BACKWARD, OPTIMIZER_STEP)

#: Stands for a storage in an event at which the allocator's cached blocks are given back to the device.
CACHE = -1


class Event(NamedTuple):
    """A change of the live bytes.

    Attributes:
        storage: the storage's number in the log; `CACHE` where no storage changes.
        bytes: what is added to the live bytes; negative where memory is given back.
        phase: one of `PHASES`, or `SETUP`.
        module: path of the module that ran, or whose derivative ran; "" is the root.
        op: that ran, or last, "aten.convolution"; "" where it was none.
    """

    storage: int
    bytes: int
    phase: str
    module: str
    op: str = ""


class Log:
    """Storages and what happens to them, in order.

    Attributes:
        phase: where the events that come next belong.
        module: the module that they belong to.
        op: the op that they belong to; "" where it is none.
        events: what happened since the last `cut`.
        categories: the category of each storage, by its number.
        sizes: the bytes of each storage now, 0 once it is released.
    """

    def __init__(self, round_to: int = 1) -> None:
        """Sizes are rounded up to multiples of `round_to` bytes."""
        self.op = ""
        self.phase = SETUP
        self.module = ""
        self.events: list[Event] = []
        self.categories: list[str] = []
        self.sizes: list[int] = []
        self._round_to = round_to

    def allocate(self, nbytes: int, category: str = TEMPORARIES) -> int:
        """A new storage; returns its number."""
        number = len(self.sizes)
        nbytes = self._rounded(nbytes)
        self.categories.append(category)
        self.sizes.append(nbytes)
        self.events.append(Event(number, nbytes, self.phase, self.module, self.op))
        return number

    def resize(self, storage: int, nbytes: int) -> None:
        """The storage has another size from now on."""
        nbytes = self._rounded(nbytes)
        change = nbytes - self.sizes[storage]
        if change:
            self.sizes[storage] = nbytes
            self.events.append(Event(storage, change, self.phase, self.module, self.op))

    def release(self, storage: int) -> None:
        """The storage is gone."""
        self.resize(storage, 0)

    def use(self, nbytes: int) -> None:
        """Memory that is there for a moment: what a kernel allocates for itself."""
        self.release(self.allocate(nbytes))

    def empty_cache(self) -> None:
        """Blocks that the allocator only keeps go back to the device; no storage changes."""
        self.events.append(Event(CACHE, 0, self.phase, self.module))

    def cut(self) -> list[Event]:
        """The events so far; the log goes on without them."""
        events, self.events = self.events, []
        return events

    def live(self) -> int:
        """Bytes of all storages that are not released."""
        return sum(self.sizes)

    def _rounded(self, nbytes: int) -> int:
        return -(-nbytes // self._round_to) * self._round_to


def of_storages(events: Iterable[Event]) -> list[Event]:
    """The events in which a storage changes."""
    return [event for event in events if event.storage != CACHE]
