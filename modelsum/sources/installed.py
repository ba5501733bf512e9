"""What an installed package offers, found by reading its files: importing it takes seconds."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from modelsum.errors import UsageError


@cache
def folder(package: str) -> Path | None:
    """The folder of an installed top-level package, or None; the package is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def require(package: str) -> None:
    """Raise UsageError with the install command where the package is missing."""
    if folder(package) is None:
        raise UsageError(f"{package} is not installed", f"Install it with: pip install 'modelsum[{package}]'")


def registered_functions(package: str, subfolder: str, decorator: str) -> frozenset[str]:
    """Names of the functions under @DECORATOR (or @DECORATOR(...)) at the top level of a package's files."""
    base = folder(package)
    texts = (f.read_text(encoding="utf-8") for f in (base / subfolder).rglob("*.py")) if base else ()
    # Below the decorator there may be others, which may span lines, ahead of the function.
    function = re.compile(rf"^@{decorator}(?:\(\))?\n(?:@.*\n|[ \t].*\n|\)\n)*def (\w+)", re.MULTILINE)
    explicit = re.compile(rf"^@{decorator}\((?:name=)?[\"'](\w+)[\"']\)", re.MULTILINE)
    return frozenset(name for text in texts for form in (function, explicit) for name in form.findall(text))
