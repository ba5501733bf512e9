"""What the `modelsum` process wants done once torch is there. In library use nothing is registered."""

from __future__ import annotations

from collections.abc import Callable

_ACTIONS: list[Callable[[], None]] = []


def after_torch(action: Callable[[], None]) -> None:
    """Have `action` called once, as soon as torch has been imported for the first answer."""
    _ACTIONS.append(action)


def torch_is_there() -> None:
    """To be called where torch was just imported."""
    while _ACTIONS:
        _ACTIONS.pop()()
