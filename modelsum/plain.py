"""Frozen values as JSON has them, and back: the fields of a dataclass are the keys of an object.

A field `class_name` is the key "class". What a class lists in `DERIVED`, its properties, is written too and
not read. A class with another form has a `to_dict`, of `plain_fields` and what it adds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

T = TypeVar("T")
Reader = Callable[[Any], T]

_NAMES = {"class_name": "class"}


class NotReadable(ValueError):
    """A JSON value is not what it has to be.

    Attributes:
        message: what is wrong.
        at: where, from the root: keys and indices.
        hint: what would be valid, or None.
        name: a key that is missing or unknown.
        known: the keys that there are, or may be.
    """

    def __init__(
        self,
        message: str,
        at: tuple[str | int, ...] = (),
        hint: str | None = None,
        *,
        name: str = "",
        known: Collection[str] = (),
    ) -> None:
        super().__init__(message)
        self.message, self.at, self.hint, self.name, self.known = message, at, hint, name, known

    def inside(self, place: str | int) -> NotReadable:
        """The same, seen from the value around it."""
        self.at = (place, *self.at)
        return self


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON does not have is the name of its class in angle brackets."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return value.to_dict() if hasattr(value, "to_dict") else plain_fields(value)
    return f"<{type(value).__name__}>"


def plain_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, and what it derives, as JSON has them."""
    names = [*(field.name for field in fields(value)), *getattr(value, "DERIVED", ())]
    return {_NAMES.get(name, name): plain(getattr(value, name)) for name in names}


LENIENT, STRICT, TRUSTED = "lenient", "strict", "trusted"


def read(kind: type[T], value: Any, how: str = LENIENT) -> T:
    """The value of a dataclass that `plain` made a JSON value of. Raises NotReadable.

    Args:
        how: lenient: fields with a default may be missing, and there may be other keys; strict: neither;
            trusted: this very version wrote it, and nothing is checked.
    """
    return cast("T", _reader(cast("Any", kind), how)(value))


def check_keys(value: Any, needed: Collection[str], known: Collection[str] | None = None) -> None:
    """Raise NotReadable unless a value is an object with these keys, and, of `known`, no others."""
    if not isinstance(value, dict):
        raise _is_not("an object", value)
    for key in value if known is not None else ():
        if key not in (known or ()):
            keys = f"Keys are {', '.join(sorted(known or ()))}."
            raise NotReadable("there is no such key", (key,), keys, name=key, known=known or ())
    for key in needed:
        if key not in value:
            raise NotReadable(f"there is no {key!r}", name=key, known=value)


def items(reader: Reader[T], value: Any, *, length: int | None = None) -> tuple[T, ...]:
    """What `reader` makes of each in a list. Raises NotReadable, also where it has another length."""
    if not isinstance(value, list) or length not in (None, len(value)):
        raise _is_not("a list" if length is None else f"a list of {length}", value)
    found: list[T] = []
    try:
        for each in value:
            found.append(reader(each))
    except NotReadable as error:
        raise error.inside(len(found)) from None
    return tuple(found)


@cache
def _reader(kind: Any, how: str) -> Reader[Any]:
    """What reads a value of that type: of a dataclass, or one that its fields may be declared as."""
    if is_dataclass(kind):
        return _dataclass_reader(cast("type[Any]", kind), how)
    if kind in _SIMPLE:
        return _SIMPLE[kind] if how != TRUSTED else _as_it_is
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (one,) = (each for each in inner if each is not NoneType)
        reader = _reader(one, how)
        return reader if reader is _as_it_is else lambda value: None if value is None else reader(value)
    reader = _reader(inner[0] if origin is tuple else inner[1], how)
    if origin is tuple:
        length = None if inner[-1] is ... else len(inner)
        return tuple if reader is _as_it_is else partial(items, reader, length=length)
    return reader if reader is _as_it_is else _mapping_reader(reader)


def _dataclass_reader(kind: type[T], how: str) -> Reader[T]:
    keys = {field.name: _NAMES.get(field.name, field.name) for field in fields(cast("Any", kind))}
    needed = [
        keys[field.name]
        for field in fields(cast("Any", kind))
        if how == STRICT or (field.default is MISSING and field.default_factory is MISSING)
    ]
    types = {field.name: _type(str(field.type), kind.__module__) for field in fields(cast("Any", kind))}
    readers = [(name, key, _reader(types[name], how)) for name, key in keys.items()]
    made_anew = [(place, each[2]) for place, each in enumerate(readers) if each[2] is not _as_it_is]

    def read_trusted(value: Any) -> T:
        values = [value[key] for key in keys.values()]
        for place, reader in made_anew:
            values[place] = reader(values[place])
        return kind(*values)

    def read_fields(value: Any) -> T:
        check_keys(value, needed, keys.values() if how == STRICT else None)
        given = {}
        key = ""
        try:
            for name, key, reader in readers:
                if key in value:
                    given[name] = reader(value[key])
        except NotReadable as error:
            raise error.inside(key) from None
        return kind(**given)

    return read_trusted if how == TRUSTED else read_fields


@cache
def _type(annotation: str, module: str) -> Any:
    """The type that an annotation of a module names; `typing.get_type_hints` evaluates equal ones again."""
    return eval(annotation, vars(sys.modules[module]))


def _mapping_reader(reader: Reader[T]) -> Reader[dict[str, T]]:
    def read_values(value: Any) -> dict[str, T]:
        check_keys(value, ())
        found = {}
        key = ""
        try:
            for key, each in value.items():
                found[key] = reader(each)
        except NotReadable as error:
            raise error.inside(key) from None
        return found

    return read_values


def _as_it_is(value: Any) -> Any:
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _is_not("a whole number from 0", value)
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _is_not("a number", value)
    return cast("float", value)


def _key(value: Any) -> str | int:
    return _text(value) if isinstance(value, str) else _whole(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _is_not("a text", value)
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _is_not("true or false", value)
    return value


def _is_not(kind: str, value: Any) -> NotReadable:
    said = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    return NotReadable(f"expected {kind}, found {said}")


_SIMPLE: Mapping[Any, Reader[Any]] = {
    Any: _as_it_is,
    str | int: _key,
    int: _whole,
    float: _number,
    str: _text,
    bool: _flag,
}
