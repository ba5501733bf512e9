"""The model types whose call the general rules of `inputs` do not find: table.toml, and how it is read.

The first lines of table.toml say how an argument is written there; what its words stand for is in `words`.
"""

from __future__ import annotations

import importlib
import operator
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelsum.sources.transformers.call import Call, Maker
from modelsum.sources.transformers.words import MAKERS, NUMBERS

_FILE = Path(__file__).with_name("table.toml")
#: Entries of a row that are not arguments: its reason, and the row whose arguments it takes over.
_WHY, _LIKE = "why", "like"
#: Stands ahead of an argument that forward only passes on to its layers, and does not name itself.
_PASSED_ON = "**"

_PIECE = re.compile(r"(.*)\[(.*)\]")  # what[size, size]
_SIGNS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "max": max,
}


@lru_cache(maxsize=1)
def table() -> Mapping[str, Mapping[str, Any]]:
    """The rows by model type, as they are written."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    rows: dict[str, dict[str, Any]] = toml.loads(_FILE.read_text(encoding="utf-8"))
    return rows


def arguments(model_type: str) -> dict[str, Any]:
    """What the row of a model type says of its arguments, as it is written; nothing where it has none."""
    row = table().get(model_type, {})
    taken_over = arguments(row[_LIKE]) if _LIKE in row else {}
    return taken_over | {name: value for name, value in row.items() if name not in (_WHY, _LIKE)}


def special(model_type: str, taken: Mapping[str, Any]) -> dict[str, Maker]:
    """What makes the arguments of a model type's row, of those that its forward takes."""
    return {
        name.removeprefix(_PASSED_ON): maker(value)
        for name, value in arguments(model_type).items()
        if name in taken or name.startswith(_PASSED_ON)
    }


def maker(written: Any) -> Maker:
    """What makes the value of an argument that is written like this."""
    if isinstance(written, list):
        makers = [maker(one) for one in written]
        return lambda call: [make(call) for make in makers]
    if not isinstance(written, str):
        return lambda call: written
    if "[" in written:
        return lambda call: _tensor(call, written)
    return MAKERS[written] if written in MAKERS else lambda call: number(call, written)


def _tensor(call: Call, written: str) -> Tensor:
    pieces = []
    for piece in written.split(" then "):
        what, inside = _PIECE.fullmatch(piece).groups()  # type: ignore[union-attr]
        numbers = [number(call, one) for one in inside.split(", ") if one]
        if not what:
            return call.batched(numbers)
        if what == "float":
            return call.unbatched(*numbers)
        pieces.append(torch.full(numbers, True if what == "true" else number(call, what)))
    return call.place(torch.cat(pieces, -1))


def number(call: Call, written: str) -> int:
    """The number that `height // patch * 2` stands for; done from left to right."""
    first, *rest = written.split()
    result = _number(call, first)
    for sign, word in zip(rest[::2], rest[1::2], strict=True):
        result = _SIGNS[sign](result, _number(call, word))
    return result


def _number(call: Call, word: str) -> int:
    if word.isdigit():
        return int(word)
    if word in NUMBERS:
        return NUMBERS[word](call)
    entry = reduce(getattr, word.split("."), call.config)
    return len(entry) if isinstance(entry, (list, tuple)) else int(entry)
