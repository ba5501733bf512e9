"""What `print`, a notebook and a browser show of a value, from renderers that no value knows."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

_home = ""


class Printed:
    """A value that is printed as the command line prints it, and shown in a notebook."""

    __slots__ = ()

    def __str__(self) -> str:
        text: str = import_module(_home).render(self)
        return text.rstrip("\n")

    def _repr_html_(self) -> str | None:
        fragment: str | None = import_module(_home).fragment(self)
        return fragment

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page that `--format html` writes, one file that needs no network.

        Raises UsageError where there is no page of such a value, OSError where it cannot be written.
        """
        from modelsum import files

        files.replace(Path(path).resolve(), import_module(_home).render(self, "html"))

    def _frame(self, library: str | None) -> Any:
        return import_module(_home).frame(self, library)


def register(module: str) -> None:
    """Say which module has the functions that show a value; it is imported with the first that is shown.

    `render`, value -> text; `fragment`, value -> HTML for a notebook; `frame`, value -> a table of a library.
    """
    global _home
    _home = module
