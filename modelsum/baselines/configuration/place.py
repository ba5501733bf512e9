"""A place in the configuration: reads the value there, and says where it is when it cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelsum.baselines.lines import Key, Lines
from modelsum.errors import ConfigError, ModelsumError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A key of a TOML file. Everything that reads a value raises ConfigError for one that it is not.

    Attributes:
        at: names of tables and keys, and indices, from the file's root.
    """

    path: Path
    lines: Lines
    at: Key

    def key(self, name: str | int) -> Place:
        """The place of a key in this table, or of an element."""
        return type(self)(self.path, self.lines, (*self.at, name))

    @property
    def line(self) -> int:
        """Its line, or that of the table that it would be in."""
        return self.lines.of(self.at)

    def error(self, message: str, hint: str | None = None) -> ConfigError:
        """What is wrong here, with the file, the line and the key."""
        inner = next((i + 1 for i, part in enumerate(self.at) if isinstance(part, int)), None)
        name = ".".join(str(part) for part in self.at[inner:] if part not in ("tool", "modelsum"))
        what = f"{name}: " if name else ""
        return ConfigError(f"{self.path.name}:{self.line}: {what}{message}", hint)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say the place of what is wrong with a value."""
        try:
            yield
        except ModelsumError as wrong:
            raise self.error(wrong.message, wrong.hint) from wrong

    def only(self, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse keys that a table cannot have."""
        for name in table:
            if name not in known:
                names = sorted(known)
                hint = did_you_mean(name, names) or f"Keys are {', '.join(names)}."
                raise self.key(name).error("there is no such key", hint)

    def text(self, value: Any) -> str:
        """A text that says something."""
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{value!r} is not a text", 'Write it in quotes, like "resnet50".')
        return value

    def texts(self, value: Any) -> tuple[str, ...]:
        """One text or a list of them."""
        values = value if isinstance(value, list) else [value]
        return tuple(map(self.text, values))

    def whole(self, value: Any) -> int:
        """A whole number from 1."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(f"{value!r} is not a positive whole number", "Write 1 or more.")
        return value

    def amount(self, value: Any) -> int:
        """A whole number from 0."""
        return 0 if isinstance(value, int) and value == 0 and value is not False else self.whole(value)

    def flag(self, value: Any) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            raise self.error(f"{value!r} is neither true nor false")
        return value

    def table(self, value: Any, read: Callable[[Place, str, Any], T]) -> dict[str, T]:
        """A table, each value read at its own place."""
        if not isinstance(value, dict):
            raise self.error(f"{value!r} is not a table", "Write {macs = ...}.")
        return {name: read(self.key(name), name, each) for name, each in value.items()}
