"""How a module is configured: what its constructor left on it as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import nn

_SIMPLE = frozenset((bool, int, type(None)))
_SCALARS = _SIMPLE | {float, str}
_LONGEST = 100  # characters of a string or elements of a tuple: beyond that it is data, no setting


def attributes(module: nn.Module) -> Mapping[str, Any]:
    """The public attributes that are plain values, by name in alphabetical order.

        >>> attributes(nn.Conv2d(3, 8, 1))["stride"]
        (1, 1)

    Plain are bool, int, float, str and None and tuples of these; a float that is not finite is its name.
    Not among them is `training`, which is the mode of the run.
    """
    held = vars(module)
    found = {}
    for name in _public(tuple(held)):
        value = held[name]
        if type(value) in _SIMPLE:
            found[name] = value
        elif _is_plain(value):
            found[name] = _plain(value)
    return found


@cache
def _public(names: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if name[:1] != "_" and name != "training")


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= _LONGEST and _SCALARS.issuperset(map(type, value))
    return type(value) in _SCALARS and not (isinstance(value, str) and len(value) > _LONGEST)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
