"""A world of processes of which this one is there: torch.distributed on the meta device.

torch's own fake process group does as if every collective had happened. What it lacks is a meta device with
streams: here they are names, so that each allocation is known to be of the stream that was current.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from modelsum.errors import UsageError
from modelsum.memory.log import COMPUTE
from modelsum.trace.torch_private import (
    CURRENT_STREAM,
    META_DEVICE,
    follows_meshes,
    forget_meshes,
    names_that_refuse_meta,
    start_fake_group,
)


@contextmanager
def world(rank: int, size: int) -> Iterator[Callable[[], str]]:
    """Be one rank of so many; yields what tells the stream that is current.

    Everything of torch's is as it was afterwards, also on a failure.

    Raises UsageError where this process is one of several already, or torch is too old.
    """
    if not follows_meshes():
        raise UsageError(
            f"the memory of ranks is followed with torch from 2.13 on, and this is {torch.__version__}",
            "Install a newer torch, or leave out the mesh.",
        )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UsageError(
            "this process is one of several already (torch.distributed is initialized)",
            "Ask for a mesh in a process of its own.",
        )
    device = _Device()
    with ExitStack() as changed:
        handle = device.handle()
        changed.enter_context(META_DEVICE.replaced(handle))
        changed.enter_context(CURRENT_STREAM.replaced(handle.current_stream))
        for name, value in names_that_refuse_meta():
            changed.enter_context(name.replaced(value))
        forget_meshes()
        changed.callback(forget_meshes)
        # What FSDP says of an output that is a view is of what a program does with it.
        changed.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")
        start_fake_group(rank, size)
        changed.callback(torch.distributed.destroy_process_group)
        yield device.current


class _Stream:
    """A stream, which nothing waits for."""

    def __init__(self, *args: Any, name: str = "", **kwargs: Any) -> None:
        self.name = name or f"side {id(self):x}"

    def record_event(self, event: Any = None) -> Any:
        return event or _Event()

    def wait_event(self, event: Any) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass


class _Event:
    """An event, which has always happened."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def record(self, stream: Any = None) -> _Event:
        return self

    def wait(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return True


class _Device:
    """What torch.cuda is for CUDA, for meta."""

    def __init__(self) -> None:
        self._stack = [_Stream(name=COMPUTE)]

    def current(self) -> str:
        """The name of the stream that is current."""
        return self._stack[-1].name

    @contextmanager
    def on(self, stream: _Stream | None) -> Iterator[None]:
        """`with torch.cuda.stream(...)`."""
        self._stack.append(stream or self._stack[-1])
        try:
            yield
        finally:
            self._stack.pop()

    def handle(self) -> SimpleNamespace:
        """What torch looks for as `torch.meta`."""
        return SimpleNamespace(
            Stream=_Stream,
            Event=_Event,
            stream=self.on,
            current_stream=lambda device=None: self._stack[-1],
            current_device=lambda: 0,
            device_count=lambda: 1,
            is_available=lambda: True,
            is_initialized=lambda: True,
            set_device=lambda device: None,
            synchronize=lambda device=None: None,
            manual_seed_all=lambda seed: None,
            get_rng_state=lambda device=None: torch.get_rng_state(),
            set_rng_state=lambda state, device=None: torch.set_rng_state(state),
        )
