"""The model types whose call the general rules of `inputs` do not find: table.toml, and how it is read.

The first lines of table.toml say how an argument is written there; what its words stand for is in `words`.
"""

from __future__ import annotations

import importlib
import operator
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
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
    return taken_over | {name: written for name, written in row.items() if name not in (_WHY, _LIKE)}


def special(model_type: str, taken: Mapping[str, Any]) -> dict[str, Maker]:
    """What makes the arguments of a model type's row, of those that its forward takes."""
    return {
        name.removeprefix(_PASSED_ON): partial(value, written)
        for name, written in arguments(model_type).items()
        if name in taken or name.startswith(_PASSED_ON)
    }


def value(written: Any, call: Call) -> Any:
    """The value of an argument that is written like this; None where it is left out."""
    if isinstance(written, list):
        return [value(one, call) for one in written]
    if not isinstance(written, str):
        return written
    if "[" in written:
        return _tensor(written, call)
    return MAKERS[written](call) if written in MAKERS else number(written, call)


def _tensor(written: str, call: Call) -> Tensor:
    pieces = []
    for piece in written.split(" then "):
        what, inside = _PIECE.fullmatch(piece).groups()  # type: ignore[union-attr]
        numbers = [number(one, call) for one in inside.split(", ") if one]
        if not what:
            return call.batched(numbers)
        if what == "float":
            return call.unbatched(*numbers)
        pieces.append(torch.full(numbers, True if what == "true" else number(what, call)))
    return call.place(torch.cat(pieces, -1))


def number(written: str, call: Call) -> int:
    """The number that `height // patch * 2` stands for; done from left to right."""
    first, *rest = written.split()
    result = _number(first, call)
    for sign, word in zip(rest[::2], rest[1::2], strict=True):
        result = _SIGNS[sign](result, _number(word, call))
    return result


def _number(word: str, call: Call) -> int:
    if word.isdigit():
        return int(word)
    if word in NUMBERS:
        return NUMBERS[word](call)
    entry = reduce(getattr, word.split("."), call.config)
    return len(entry) if isinstance(entry, (list, tuple)) else int(entry)
