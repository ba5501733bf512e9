"""What a model can ask the file system, and the mark that tells an answer from another.

A question is a kind, a path and, where the kind has one, a detail; all are text, so that they can be kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable

from modelsum.cache.owners import INSTALLED

Question = tuple[str, str, str]

#: The mark of what cannot be asked twice, such as the contents of a pipe. No mark is equal to it.
NEVER = "?"

_DIGESTED_BYTES = 1 << 24  # of larger files (weights) the size and the time of the last change


def mark(question: Question) -> str:
    """What the file system answers now. A failure counts by its number: a missing file is an answer too."""
    kind, path, detail = question
    try:
        return _KINDS[kind](path, detail)
    except OSError as error:
        return f"error {error.errno}"
    except ValueError:  # no path at all
        return "error"


def asks_for_names(kind: str) -> bool:
    """Whether the answer changes where something is put into the folder or removed from it."""
    return kind in ("names", "entries", "modules", "packages", "status", "own status")


def _contents(path: str, _: str) -> str:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return _type(status) if stat.S_ISDIR(status.st_mode) else NEVER
    if status.st_size > _DIGESTED_BYTES or path.startswith(INSTALLED):
        return f"{status.st_size} {status.st_mtime_ns}"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _names(path: str, _: str) -> str:
    """In the order that the folder is listed in, as a model that takes the first depends on it."""
    with os.scandir(path) as entries:
        return _digest(f"{e.name}\0{e.is_dir()}{e.is_symlink()}" for e in entries)


def _entries(path: str, _: str) -> str:
    with os.scandir(path) as entries:
        return _digest(f"{e.name}\0{_whole(e.stat(follow_symlinks=False))}" for e in entries)


def _modules(path: str, names: str) -> str:
    """The entries of a folder that an import of one of these modules could find."""
    wanted = set(names.split())
    return _digest(sorted(name for name in os.listdir(path) if name.partition(".")[0] in wanted))


def _packages(path: str, _: str) -> str:
    """The entries of a folder by which installed packages are found."""
    return _digest(
        sorted(name for name in os.listdir(path) if name.endswith((".dist-info", ".egg-info", ".egg")))
    )


def _type(status: os.stat_result) -> str:
    """Files also by their size and time.

    Native readers open a file unheard, but look first whether it is there.
    """
    kind = f"type {stat.S_IFMT(status.st_mode):o}"
    return f"{kind} {status.st_size} {status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else kind


def _whole(status: os.stat_result) -> str:
    """All but the time of the last access."""
    return repr((*status[:7], status.st_mtime_ns, status.st_ctime_ns))


def _access(path: str, _: str) -> str:
    return repr([os.access(path, mode) for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()


_KINDS: dict[str, Callable[[str, str], str]] = {
    "contents": _contents,
    "names": _names,
    "entries": _entries,
    "modules": _modules,
    "packages": _packages,
    "type": lambda path, _: _type(os.stat(path)),
    "own type": lambda path, _: _type(os.lstat(path)),
    "status": lambda path, _: _whole(os.stat(path)),
    "own status": lambda path, _: _whole(os.lstat(path)),
    "link": lambda path, _: os.readlink(path),
    "access": _access,
}
