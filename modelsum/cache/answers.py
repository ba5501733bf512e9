"""Answers of earlier runs: one that still holds is found, a new one is kept with what it depended on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelsum.cache.evidence import evidence, holds, watching
from modelsum.cache.key import key_of
from modelsum.cache.store import Entry, Store
from modelsum.request import Request
from modelsum.spec import ModelSpec
from modelsum.summary import Summary

OFF = "MODELSUM_NO_CACHE"
FOLDER = "MODELSUM_CACHE_DIR"


def folder() -> Path:
    """Where answers are kept: the platform's folder for caches, or $MODELSUM_CACHE_DIR."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("modelsum", appauthor=False))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answer to one question is kept.

    Attributes:
        store: the folder.
        key: of the question as it was asked, before torch is imported or any code of the user's runs.
    """

    store: Store
    key: str

    def kept(self) -> Summary | None:
        """The answer that is there, if it still holds; what it wrote to stderr is written again."""
        entry = self.store.get(self.key)
        if entry is None or not holds(entry.marks):
            return None
        sys.stderr.write(entry.said)
        return entry.summary

    @contextmanager
    def keeping(self) -> Iterator[Callable[[Summary], None]]:
        """Watch what is asked and said inside, and keep the answer that is handed over there.

        It is kept only if nothing is raised, and if somebody can vouch for all that it depended on. Imports
        torch. For a process that answers once: the watch leaves an audit hook.
        """
        answered: list[Summary] = []
        said, out = _Tee(sys.stderr), sys.stdout
        sys.stderr = said
        if out is said.stream:  # as for a command whose stdout is kept for its result
            sys.stdout = said
        try:
            with watching() as seen:
                yield answered.append
        finally:
            sys.stdout, sys.stderr = out, said.stream
        for summary in answered:
            if summary.device == "meta" and (marks := evidence(seen)) is not None:
                self.store.put(self.key, Entry(summary, marks, said.text()))


def place_of(request: Request) -> Place | None:
    """The place of a question's answer; None where it is never kept.

    Only answers from shapes are kept: where the model really ran, it runs again. $MODELSUM_NO_CACHE forbids
    all.
    """
    if (
        os.environ.get(OFF)
        or not isinstance(request.model, ModelSpec)
        or request.example is not None
        or request.device not in ("auto", "meta")
    ):
        return None
    return Place(Store(folder()), key_of(request))


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
