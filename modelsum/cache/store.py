"""The folder of kept answers: one file an entry, written whole, bounded in size.

An entry is found by its key and begins with the digest of the rest: one that is damaged, or that is of
another format, is as good as none. Several processes may write at once; the last one wins.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelsum.summary import Summary

MOST_BYTES = 64 << 20
_SUFFIX = ".entry"
_DIGEST_BYTES = hashlib.sha256().digest_size
#: Where the classes of an entry may come from. Nothing else is ever loaded.
_MODULES = ("modelsum.summary", "modelsum.memory.values")


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer.

    Attributes:
        summary: what was answered.
        marks: the files that it depended on, with what they were.
        said: what was written to stderr meanwhile.
    """

    summary: Summary
    marks: Mapping[str, str]
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
            values = _Unpickler(io.BytesIO(payload)).load()
            entry = Entry(*values)
        except Exception:
            return None  # of another version, whatever is wrong with it
        with suppress(OSError):
            os.utime(path)  # used now
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry, in place of one that is there."""
        payload = pickle.dumps((entry.summary, dict(entry.marks), entry.said), protocol=5)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(payload).digest() + payload)
                os.replace(name, self._path(key))
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name)
                raise
            self._shrink()

    def contents(self) -> Contents:
        """What there is."""
        files = self._files()
        return Contents(self.folder, len(files), sum(size for _, size, _ in files))

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
        files = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.endswith(_SUFFIX) or path.name.startswith(".new-"):
                    with suppress(OSError):
                        status = path.stat()
                        files.append((status.st_mtime, status.st_size, path))
        return files

    def _shrink(self) -> None:
        files = sorted(self._files(), key=lambda file: file[0])
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size


class _Unpickler(pickle.Unpickler):
    """Loads the values that summaries are made of, and nothing that could do anything."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a value of a summary")
