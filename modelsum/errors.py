"""What can go wrong, each kind with the exit code that the command line ends with.

ModelsumError                    anything that modelsum says no to
├── UsageError        exit 2     the user's words, configuration or baseline are wrong
│   ├── UnknownModelError        no model of that name; knows the nearest names
│   ├── ArgumentError            a constructor argument that the model does not take
│   ├── InputError               an input specification that cannot be read or used
│   ├── ConfigError              a configuration file that cannot be read or used
│   ├── ReportError              a report or baseline that cannot be read, found or compared
│   └── OutputError              a result that cannot be written where it was asked for
└── ModelError        exit 3     the model could not be built or run
    ├── BuildError               its constructor failed
    └── ForwardError             its forward failed; carries the summary of what did run
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from modelsum.summary import Summary


class ModelsumError(Exception):
    """Anything that modelsum says no to.

    Attributes:
        message: what failed, with the offending text.
        hint: what would be valid, or None.
        exit_code: the exit code of the command line (DESIGN: 2 the user's words, 3 the model).
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = plain(message)
        super().__init__(self.message)
        self.hint = hint and plain(hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Callable[..., ModelsumError], tuple[object, ...]]:
        """For pickle, with all attributes: it also comes from other processes."""
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[ModelsumError], attributes: dict[str, object]) -> ModelsumError:
    error = kind.__new__(kind, attributes["message"])
    error.__dict__.update(attributes)
    return error


class UsageError(ModelsumError):
    """The user's words, configuration or baseline are wrong."""


class UnknownModelError(UsageError):
    """No model of that name."""


class ArgumentError(UsageError):
    """A constructor argument that the model does not take, or a value that it refuses."""


class InputError(UsageError):
    """An input specification that cannot be read, or that the model cannot take."""


class NoInputError(InputError):
    """A model's input is not known, or it has no forward that could take one.

    Attributes:
        ready: the `modelsum.preparing.Prepared` model: it has its parameters all the same.
    """

    ready: Any = None


class ConfigError(UsageError):
    """A configuration file, a key or a value of it, that cannot be read or used."""


class ReportError(UsageError):
    """A report file or a stored baseline that cannot be read, found or compared."""


class OutputError(UsageError):
    """A result that cannot be written where it was asked for."""


class ModelError(ModelsumError):
    """The model could not be built or run.

    Attributes:
        device_limit: what stopped it is, as far as can be told, the meta device rather than the model or
            its input: it may run on another device.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str | None = None, *, device_limit: bool = False) -> None:
        super().__init__(message, hint)
        self.device_limit = device_limit


class BuildError(ModelError):
    """The model's constructor failed, or it cannot be brought to the device."""


class ForwardError(ModelError):
    """The model's forward failed.

    Attributes:
        summary: what is known: every layer that ran, the failing one marked, all parameters.
    """

    def __init__(
        self, message: str, hint: str | None = None, *, summary: Summary, device_limit: bool = False
    ) -> None:
        super().__init__(message, hint, device_limit=device_limit)
        self.summary = summary


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OURS = re.compile(r"<modelsum\.[\w.]+ object>")


def plain(text: str) -> str:
    """A text without the addresses of objects, which Python's own names for them hold, or objects of ours."""
    return _OURS.sub("modelsum", _ADDRESS.sub("", text))


def nearest(word: object, valid: Iterable[str], limit: int = 3) -> list[str]:
    """The valid words closest in spelling to `word`, best first, at most `limit`.

    From Python anything may stand where a word is wanted: none is near that.
    """
    by_lower = {v.lower(): v for v in valid}
    matches = difflib.get_close_matches(str(word).lower(), by_lower, n=limit, cutoff=0.6)
    return [by_lower[m] for m in matches]


def did_you_mean(word: str, valid: Iterable[str]) -> str | None:
    """A hint naming the nearest valid words, or None where nothing is near."""
    names = nearest(word, valid)
    return f"Did you mean {' or '.join(names)}?" if names else None


def one_of(what: str, word: str, valid: Collection[str]) -> str:
    """The word, if it is valid. Raises UsageError, "mode 'evil' is not known", with all that are."""
    if word not in valid:
        raise UsageError(f"{what} {word!r} is not known", valid_words(word, valid))
    return word


def valid_words(word: str, valid: Iterable[str]) -> str:
    """A hint with all valid words, the nearest ones in front."""
    words = tuple(valid)
    near = did_you_mean(word, words)
    return (f"{near} " if near else "") + f"Valid are {', '.join(words)}."
