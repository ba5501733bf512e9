"""What an answer depended on, so that it can be told later whether it still holds.

While an answer is worked out, every file that is opened for reading is noted (an audit hook sees them
all), and afterwards every module that is loaded. A file of an installed package counts by its size and the
time of its last change, any other by the digest of its contents; Python, torch and modelsum have versions
and marks of their own in the key of an answer. An answer for which another program was started, a
connection opened or a database read is one that nobody can vouch for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What an answer may not depend on: it is not kept then.
_DOUBTFUL_EVENTS = frozenset(
    ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "sqlite3.connect")
)
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_DIGESTED_BYTES = 1 << 24  # of larger files (weights) the size and the time of the last change


@dataclass
class Seen:
    """What was seen while an answer was worked out.

    Attributes:
        opened: files that were opened for reading, by path.
        doubts: why the answer should not be kept.
    """

    opened: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


class _Watch:
    """The one audit hook of the process (a hook stays for good), with the `Seen` that it fills now."""

    def __init__(self) -> None:
        self.now: Seen | None = None
        self._is_set = False

    def start(self, seen: Seen) -> None:
        if not self._is_set:
            self._is_set = True
            sys.addaudithook(self._hear)
        self.now = seen

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        seen = self.now
        if seen is None:
            return
        if event == "open":
            path, mode, flags = args
            reads = "r" in mode if isinstance(mode, str) else not flags & (os.O_WRONLY | os.O_RDWR)
            if reads and isinstance(path, (str, bytes)):
                seen.opened.add(os.fsdecode(path))
        elif event in _DOUBTFUL_EVENTS:
            seen.doubts.append(event)


_WATCH = _Watch()


@contextmanager
def watching() -> Iterator[Seen]:
    """Note what is read inside. Only for a process that answers once: its audit hook stays."""
    seen = Seen()
    here = os.getcwd()
    _WATCH.start(seen)
    try:
        yield seen
    finally:
        _WATCH.now = None
        seen.opened = {os.path.join(here, path) for path in seen.opened}


def evidence(seen: Seen) -> Mapping[str, str] | None:
    """The files that the answer depended on with their marks, or None where it depended on something else."""
    if seen.doubts:
        return None
    found = {*map(_source, seen.opened), *_module_files()}
    paths = set(_resolved(path for path in found if not path.startswith(_VOUCHED_FOR)))
    return {path: mark(path) for path in sorted(paths) if _counts(path)}


def holds(marks: Mapping[str, str]) -> bool:
    """Whether every file is still what it was."""
    return all(mark(path) == before for path, before in marks.items())


def mark(path: str) -> str:
    """What tells a file from a changed one; empty where there is none, which may count as well."""
    try:
        status = os.stat(path)
        if status.st_size > _DIGESTED_BYTES or path.startswith(_INSTALLED):
            return f"{status.st_size} {status.st_mtime_ns}"
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def package_mark() -> str:
    """What tells this modelsum from a changed one: the size and time of each of its files."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(_PACKAGE):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            status = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def torch_mark() -> str:
    """What tells this torch from another: the contents of its version file. torch is not imported for it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    return Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")


def installed_mark() -> str:
    """What tells these installed packages from others: their names and versions."""
    names = []
    for folder in sorted(_INSTALLED):
        with suppress(OSError):
            names += [
                name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".pth"))
            ]
    return hashlib.sha256(" ".join(sorted(names)).encode()).hexdigest()


# ---- whose files they are


def _folders(*names: str) -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.join(os.path.realpath(paths[name]), "") for name in names})


_INSTALLED = _folders("purelib", "platlib")
_PYTHON = _folders("stdlib", "platstdlib")
_TORCH = tuple(os.path.join(folder, "torch", "") for folder in _INSTALLED)
# Nearly all files that an answer reads are theirs.
_VOUCHED_FOR = (*_TORCH, _PACKAGE)


def _source(path: str) -> str:
    """The source of a compiled file; the path itself of any other."""
    if path.endswith(".pyc"):
        try:
            return importlib.util.source_from_cache(path)
        except ValueError:
            return path
    return path


def _module_files() -> Iterator[str]:
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and os.path.isabs(path):
            yield path


def _resolved(paths: Iterable[str]) -> Iterator[str]:
    """The paths without symbolic links. Each folder is resolved once, as thousands of files lie in few."""
    folders: dict[str, str] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        path = os.path.join(folders[folder], name)
        yield os.path.realpath(path) if os.path.islink(path) or name in ("", "..", ".") else path


def _counts(path: str) -> bool:
    """Whether a file is not vouched for by the versions in the key."""
    if path.startswith(_INSTALLED):
        return not path.startswith(_TORCH) and ".dist-info" + os.sep not in path
    return not (path.startswith((_PACKAGE, *_SYSTEM, *_PYTHON)) or os.path.isdir(path))
