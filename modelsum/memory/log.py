"""A log of storages: when each was allocated, resized and released, at what place in the step.

A storage has one category for its whole life. It is often known only later (an activation is found to
be saved for backward after its kernel made it), so the log keeps categories apart from the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from modelsum.memory_values import Traffic

WEIGHTS = "weights"
BUFFERS = "buffers"
GRADIENTS = "gradients"
OPTIMIZER_STATE = "optimizer_state"
SAVED_ACTIVATIONS = "saved_activations"
TEMPORARIES = "temporaries"
INPUTS = "inputs"
#: A moving average of weights and buffers, in a copy of them.
EMA = "ema"
#: Weights that other ranks hold, while they are here.
GATHERED = "gathered_weights"
#: What is sent to other ranks, and what has come from them.
COMMUNICATION = "communication"
CATEGORIES = (
    *(WEIGHTS, BUFFERS, EMA, GRADIENTS, OPTIMIZER_STATE, SAVED_ACTIVATIONS, TEMPORARIES, INPUTS),
    *(GATHERED, COMMUNICATION),
)

SETUP = "setup"
FORWARD = "forward"
BACKWARD = "backward"
OPTIMIZER_STEP = "optimizer step"
PHASES = (FORWARD, BACKWARD, OPTIMIZER_STEP)

#: The stream of CUDA that the model computes on.
COMPUTE = "compute"

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


_event: Callable[[tuple[int, int, str, str, str]], Event] = partial(tuple.__new__, Event)


class Log:
    """Storages and what happens to them, in order.

    Attributes:
        phase: where the events that come next belong.
        module: the module that they belong to.
        op: the op that they belong to; "" where it is none.
        events: what happened since the last `cut`.
        categories: the category of each storage, by its number.
        sizes: the bytes of each storage now, 0 once it is released.
        round_to: the unit of all sizes.
        streams: of the storages that were not allocated on `COMPUTE`, by number, the stream that they were.
        hosted: storages of the host's memory, by number; of no account to the device.
        traffic: what collectives have sent and received since it was last taken, by their name.
    """

    def __init__(self, round_to: int = 1, stream: Callable[[], str] | None = None) -> None:
        """Sizes are rounded up to `round_to` bytes; `stream` names the current one, without it `COMPUTE`."""
        self.op = ""
        self.phase = SETUP
        self.module = ""
        self.events: list[Event] = []
        self.categories: list[str] = []
        self.sizes: list[int] = []
        self.streams: dict[int, str] = {}
        self.hosted: set[int] = set()
        self.traffic: dict[str, Traffic] = {}
        self.round_to = round_to
        self._stream = stream
        self._on_host = False

    def allocate(self, nbytes: int, category: str = TEMPORARIES) -> int:
        """A new storage; returns its number."""
        number = len(self.sizes)
        nbytes = -(-nbytes // self.round_to) * self.round_to
        if self._on_host:
            self.hosted.add(number)
        elif self._stream is not None and (stream := self._stream()) != COMPUTE:
            self.streams[number] = stream
            category = COMMUNICATION if category == TEMPORARIES else category
        self.categories.append(category)
        self.sizes.append(nbytes)
        self.events.append(_event((number, nbytes, self.phase, self.module, self.op)))
        return number

    def resize(self, storage: int, nbytes: int) -> None:
        """The storage has another size from now on."""
        nbytes = -(-nbytes // self.round_to) * self.round_to
        change = nbytes - self.sizes[storage]
        if change:
            self.sizes[storage] = nbytes
            self.events.append(_event((storage, change, self.phase, self.module, self.op)))

    def release(self, storage: int) -> None:
        """The storage is gone."""
        if size := self.sizes[storage]:
            self.sizes[storage] = 0
            self.events.append(_event((storage, -size, self.phase, self.module, self.op)))

    def use(self, nbytes: int) -> None:
        """Memory that is there for a moment: what a kernel allocates for itself."""
        self.release(self.allocate(nbytes))

    def repeat(self, events: Iterable[Event]) -> None:
        """What happened to storages that came and went happens again, to new ones."""
        again: dict[int, int] = {}
        for event in events:
            if event.storage not in again:
                again[event.storage] = self.allocate(event.bytes, self.categories[event.storage])
            else:
                self.resize(again[event.storage], self.sizes[again[event.storage]] + event.bytes)

    def again(self, events: Iterable[tuple[int, int, str]], sizes: Sequence[int]) -> int:
        """What happened to storages from the first on happens again, to new ones; returns the first's number.

        Args:
            events: storage, counted from the first, change in bytes, and op, as this log once had them.
            sizes: what each storage has in the end.
        """
        first, phase, module = len(self.sizes), self.phase, self.module
        self.events += [_event((first + n, change, phase, module, op)) for n, change, op in events]
        self.sizes += sizes
        self.categories += [TEMPORARIES] * len(sizes)
        return first

    @contextmanager
    def on_host(self) -> Iterator[None]:
        """What is allocated meanwhile is the host's."""
        before, self._on_host = self._on_host, True
        try:
            yield
        finally:
            self._on_host = before

    def empty_cache(self) -> None:
        """Blocks that the allocator only keeps go back to the device; no storage changes."""
        self.events.append(Event(CACHE, 0, self.phase, self.module))

    def communicate(self, collective: str, sent: int, received: int) -> None:
        """A collective sends and receives so many bytes."""
        before = self.traffic.get(collective, Traffic(0, 0, 0))
        self.traffic[collective] = Traffic(
            before.calls + 1, before.sent_bytes + sent, before.received_bytes + received
        )

    def take_traffic(self) -> dict[str, Traffic]:
        """The traffic so far; the log goes on without it."""
        traffic, self.traffic = self.traffic, {}
        return traffic

    def cut(self) -> list[Event]:
        """The events so far; the log goes on without them."""
        events, self.events = self.events, []
        return events

    def live(self) -> int:
        """Bytes of all storages that are not released."""
        return sum(self.sizes)


def of_storages(events: Iterable[Event]) -> list[Event]:
    """The events in which a storage changes."""
    return [event for event in events if event.storage != CACHE]
