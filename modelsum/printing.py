"""What `print` shows of a value: the text of the command line, from a renderer that no value knows."""

from __future__ import annotations

from importlib import import_module

_home = ""


class Printed:
    """A value that is printed as the command line prints it."""

    __slots__ = ()

    def __str__(self) -> str:
        text: str = import_module(_home).render(self)
        return text.rstrip("\n")


def register(module: str) -> None:
    """Say which module has the function `render`, value -> text; it is imported with the first print."""
    global _home
    _home = module
