"""Constructor arguments (`--arg`) against what a constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modelsum.errors import ArgumentError, did_you_mean


def checked_arguments(
    what: str, constructor: Callable[..., Any], arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments, if the constructor takes them by keyword; else ArgumentError with those it does."""
    try:
        parameters = inspect.signature(constructor).parameters
    except (TypeError, ValueError):  # a builtin without a signature: it will say so itself
        return arguments
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    valid = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for key in arguments:
        if key not in valid:
            takes = f"It takes {', '.join(map(_show, valid.values()))}." if valid else "It takes none."
            near = did_you_mean(key, valid)
            raise ArgumentError(f"{what} has no argument {key!r}", f"{near} {takes}" if near else takes)
    return arguments


@contextmanager
def refusals(what: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Turn a constructor's complaint about a keyword that the user gave into an ArgumentError."""
    try:
        yield
    except TypeError as error:
        if not any(f"'{key}'" in str(error) for key in arguments):
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ArgumentError(f"{what} cannot take {given}: {error}") from error


def _show(parameter: inspect.Parameter) -> str:
    return (
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
    )
