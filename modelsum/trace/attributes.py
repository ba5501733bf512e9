"""How a module is configured: what its constructor left on it as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

_SCALARS = (bool, int, float, str, type(None))
_LONGEST = 100  # characters of a string or elements of a tuple: beyond that it is data, no setting


def attributes(module: nn.Module) -> Mapping[str, Any]:
    """The public attributes that are plain values, by name in alphabetical order.

        >>> attributes(nn.Conv2d(3, 8, 1))["stride"]
        (1, 1)

    Plain are bool, int, float, str and None and tuples of these; a float that is not finite is its name.
    Not among them is `training`, which is the mode of the run.
    """
    public = {name: value for name, value in vars(module).items() if name[:1] != "_" and name != "training"}
    return {name: _plain(value) for name, value in sorted(public.items()) if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= _LONGEST and all(type(each) in _SCALARS for each in value)
    return type(value) in _SCALARS and not (isinstance(value, str) and len(value) > _LONGEST)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
