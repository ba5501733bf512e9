"""A request answered from the store where that is sure to be the same, and by `api.run` otherwise."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelsum.api import Request
from modelsum.cache.evidence import evidence, holds, installed_mark, package_mark, torch_mark, watching
from modelsum.cache.store import Entry, Store
from modelsum.spec import ModelSpec
from modelsum.summary import Summary
from modelsum.version import __version__

OFF = "MODELSUM_NO_CACHE"
FOLDER = "MODELSUM_CACHE_DIR"

# Variables of a terminal or session, on which no model depends.
_OF_THE_SESSION = frozenset(
    ("COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "TERM_PROGRAM", "NO_COLOR", "WINDOWID", "_")
)


def folder() -> Path:
    """Where answers are kept: the platform's folder for caches, or $MODELSUM_CACHE_DIR."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("modelsum", appauthor=False))


def answer(request: Request, run: Callable[[Request], Summary], *, cached: bool) -> Summary:
    """The summary that the request asks for.

    What the answer wrote to stderr is written again. Only answers from shapes are kept: where the model
    really ran, it runs again.

    Args:
        run: works the summary out.
        cached: look for a kept answer first, and keep a new one. `$MODELSUM_NO_CACHE` forbids both.

    Raises as `run` does; a failure is never kept.
    """
    if not cached or os.environ.get(OFF) or not _can_be_kept(request):
        return run(request)
    store, key = Store(folder()), _key(request)
    entry = store.get(key)
    if entry is not None and holds(entry.marks):
        sys.stderr.write(entry.said)
        return entry.summary
    said = _Tee(sys.stderr)
    sys.stderr = said
    try:
        with watching() as seen:
            summary = run(request)
    finally:
        sys.stderr = said.stream
    marks = evidence(seen) if summary.device == "meta" else None
    if marks is not None:
        store.put(key, Entry(summary, marks, said.text()))
    return summary


def _can_be_kept(request: Request) -> bool:
    return (
        isinstance(request.model, ModelSpec)
        and request.example is None
        and request.device in ("auto", "meta")
    )


def _key(request: Request) -> str:
    """A digest of the question, of where it was asked, and of the versions that answer it."""
    parts = [
        repr(request),
        os.getcwd(),
        sys.executable,
        platform.python_version(),
        __version__,
        package_mark(),
        torch_mark(),
        installed_mark(),
        repr(sys.path),
    ]
    if request.inputs_from or (isinstance(request.model, ModelSpec) and request.model.kind != "name"):
        # The user's code may look at any of them.
        parts.append(repr(sorted((k, v) for k, v in os.environ.items() if k not in _OF_THE_SESSION)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


class _Tee:
    """A text stream that also remembers what is written to it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._written: list[str] = []

    def write(self, text: str) -> int:
        self._written.append(text)
        return int(self.stream.write(text))

    def text(self) -> str:
        return "".join(self._written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
