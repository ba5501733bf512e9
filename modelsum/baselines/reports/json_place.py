"""A place in a JSON file: reads the value there, and says where it is when it is not what it should be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from modelsum.baselines.reports.json_lines import Key, Lines
from modelsum.errors import ReportError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a JSON file. Everything that reads one raises ReportError for what it cannot be.

    Attributes:
        file: what the file is called in errors.
        text: all of it.
        value: the value here.
        at: its key from the root: names and indices.
        hint: what the user can do about a file that is wrong.
    """

    file: str
    text: str
    value: Any
    at: Key = ()
    hint: str | None = None

    def error(self, message: str, hint: str | None = None) -> ReportError:
        """What is wrong here, with the file, the line and the key."""
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.at)
        what = f"{name.removeprefix('.')}: " if name else ""
        line = Lines(self.text).of(self.at)
        return ReportError(f"{self.file}:{line}: {what}{message}", hint or self.hint)

    def _is(self, kind: str) -> ReportError:
        said = {"dict": "an object", "list": "a list"}.get(type(self.value).__name__, repr(self.value))
        return self.error(f"expected {kind}, found {said}")

    def key(self, name: str) -> Place:
        """The value of a key of this object."""
        table = self.object()
        if name not in table:
            raise self.error(f"there is no {name!r}", did_you_mean(name, table))
        return self._inner(name, table[name])

    def optional(self, name: str) -> Place | None:
        """The value of a key that may be missing."""
        return self.key(name) if name in self.object() else None

    def only(self, names: Collection[str]) -> Place:
        """This object, which has no other keys than these."""
        for name in self.object():
            if name not in names:
                hint = did_you_mean(name, names) or f"Keys are {', '.join(sorted(names))}."
                raise self._inner(name, None).error("there is no such key", hint)
        return self

    def object(self) -> dict[str, Any]:
        """An object."""
        if not isinstance(self.value, dict):
            raise self._is("an object")
        return self.value

    def items(self) -> Iterator[Place]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self._is("a list")
        return (self._inner(place, value) for place, value in enumerate(self.value))

    def whole(self) -> int:
        """A whole number from 0."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self._is("a whole number from 0")
        return self.value

    def string(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self._is("a text")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._is("true or false")
        return self.value

    def or_null(self, read: Callable[[Place], T]) -> T | None:
        """Null, or what `read` makes of it."""
        return None if self.value is None else read(self)

    def mapping(self, read: Callable[[Place], T]) -> dict[str, T]:
        """An object, each value read at its own place."""
        return {name: read(self._inner(name, value)) for name, value in self.object().items()}

    def _inner(self, part: str | int, value: Any) -> Place:
        return Place(self.file, self.text, value, (*self.at, part), self.hint)
