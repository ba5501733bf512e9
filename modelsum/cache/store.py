"""The folder of kept answers: one file an entry, written whole, bounded in size.

An entry is found by its key and begins with the digest of the rest: one that is damaged, or that is of
another format, is as good as none. Several processes may write at once; the last one wins.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelsum import files
from modelsum.cache.questions import Question
from modelsum.plain import TRUSTED
from modelsum.summary import Summary

MOST_BYTES = 64 << 20
_SUFFIX = ".entry"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer.

    Attributes:
        summary: what was answered.
        marks: the questions that it depended on, with what was answered.
        said: what was written to stderr meanwhile.
    """

    summary: Summary
    marks: Mapping[Question, str]
    said: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds: how many entries, of how many bytes."""

    folder: Path
    entries: int
    bytes: int


class Store:
    """Entries in a folder, by key. No method raises where the folder cannot be read or written."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        """`most_bytes`: beyond, those that were not used for longest are removed."""
        self.folder = folder
        self._most_bytes = most_bytes

    def get(self, key: str) -> Entry | None:
        """The entry, or None where there is none that can be read."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        try:
            entry = _read(payload)
        except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError):
            return None  # of another version
        with suppress(OSError):
            os.utime(path)  # used now
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry, in place of one that is there."""
        payload = _written(entry)
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._path(key), hashlib.sha256(payload).digest() + payload)
            self._shrink()

    def contents(self) -> Contents:
        """What there is."""
        found = self._files()
        return Contents(self.folder, len(found), sum(size for _, size, _ in found))

    def clear(self) -> Contents:
        """Remove every entry; returns what there was."""
        before = self.contents()
        for _, _, path in self._files():
            with suppress(OSError):
                path.unlink()
        return before

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of the last use, bytes and path of every entry, and of what a killed writer left behind."""
        found = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                if _SUFFIX in path.name:
                    with suppress(OSError):
                        status = path.stat()
                        found.append((status.st_mtime, status.st_size, path))
        return found

    def _shrink(self) -> None:
        found = sorted(self._files(), key=lambda file: file[0])
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self._most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size


def _written(entry: Entry) -> bytes:
    marks = [[*question, answer] for question, answer in entry.marks.items()]
    return pickle.dumps((entry.summary.to_dict(), marks, entry.said), protocol=5)


def _read(payload: bytes) -> Entry:
    summary, marks, said = _Unpickler(io.BytesIO(payload)).load()
    answers = {(kind, path, detail): answer for kind, path, detail, answer in marks}
    return Entry(Summary.from_dict(summary, TRUSTED), answers, said)


class _Unpickler(pickle.Unpickler):
    """Loads what JSON has, in half the time; no class, so that nothing can do anything."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no value of JSON")
