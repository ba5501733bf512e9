"""How a question to the file system is heard while an answer is worked out.

Files that are opened and folders that are listed raise audit events; so does most of what makes an answer one
that nobody can vouch for. `os.stat` and its like raise none: stand-ins take their places meanwhile. A finder
before all others hears which modules are looked for, as one that was not found may be there the next time.
The import system's own looks at folders and files are not heard beside that.
"""

from __future__ import annotations

import functools
import glob
import os
import pathlib
import random
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from modelsum.cache.owners import asked_by_user, vouched_for


class Listener(Protocol):
    """Who is told what was heard. Paths are as they were given, or file descriptors."""

    def asked(self, kind: str, path: Any, dir_fd: int | None = None) -> None:
        """A question of a kind that `questions` knows."""

    def written(self, path: Any, dir_fd: int | None = None, *, only_anew: bool = False) -> None:
        """Something is about to be made, changed or removed there; only made, where nothing is there yet."""

    def looked_for(self, module: str, folders: Iterable[str]) -> None:
        """A module is looked for in these folders."""

    def seeded(self, with_value: bool) -> None:
        """Python's random numbers are now the same in every run, or they are not."""

    def drawn(self) -> None:
        """A random number is drawn for the user."""

    def doubted(self, reason: str) -> None:
        """Something was asked that nobody can vouch for."""


class _Ears:
    """The one audit hook of the process (a hook stays for good), and who listens now."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.quiet = threading.local()
        self._is_set = False

    def open(self, listener: Listener) -> None:
        if not self._is_set:
            self._is_set = True
            sys.addaudithook(self._hear)
        self.listener = listener

    def listening(self) -> Listener | None:
        return None if getattr(self.quiet, "is_on", False) else self.listener

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        tell = _EVENTS.get(event)
        if tell is not None and (listener := self.listening()) is not None:
            tell(listener, *arguments)


_EARS = _Ears()


@contextmanager
def unheard() -> Iterator[None]:
    """What this thread asks inside is not heard."""
    before = getattr(_EARS.quiet, "is_on", False)
    _EARS.quiet.is_on = True
    try:
        yield
    finally:
        _EARS.quiet.is_on = before


class Hearing:
    """Hears for a listener from `start` to `stop`, after which everything but the audit hook is as before."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._finder = _Finder()
        self._places: list[tuple[Any, str, Any]] = []
        self._supporting: list[tuple[set[Any], Any]] = []

    def start(self) -> None:
        """Begin."""
        for holder, name, tell in _unannounced():
            self._stand_in(holder, name, tell)
        sys.meta_path.insert(0, self._finder)
        _EARS.open(self._listener)

    def stop(self) -> None:
        """Put everything back; also where `start` did not get far."""
        _EARS.listener = None
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        while self._places:
            holder, name, before = self._places.pop()
            if before is None:
                delattr(holder, name)
            else:
                setattr(holder, name, before)
        while self._supporting:
            functions, stand_in = self._supporting.pop()
            functions.discard(stand_in)

    def _stand_in(self, holder: Any, name: str, tell: Callable[..., None]) -> None:
        original = getattr(holder, name, None)
        if original is None:
            return
        stand_in = _StandIn(original, tell)
        self._places.append((holder, name, vars(holder).get(name)))
        setattr(holder, name, stand_in)
        for functions in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            if original in functions:
                functions.add(stand_in)
                self._supporting.append((functions, stand_in))


class _StandIn:
    """Calls a function, and tells of it first. No function itself: as a class's attribute it is not bound."""

    def __init__(self, original: Callable[..., Any], tell: Callable[..., None]) -> None:
        functools.update_wrapper(self, original)
        self._original, self._tell = original, tell

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        listener = _EARS.listening()
        if listener is not None:
            with suppress(TypeError):  # a wrong call, of which the function itself says more
                self._tell(listener, *args, **kwargs)
        return self._original(*args, **kwargs)


class _Finder:
    """Finds no module, and tells of every one that is looked for."""

    def find_spec(self, name: str, path: Iterable[str] | None = None, target: object = None) -> None:
        listener = _EARS.listening()
        if listener is not None:
            listener.looked_for(name.rpartition(".")[2], tuple(sys.path if path is None else path))


# ---- what raises audit events


def _open(tell: Listener, path: Any, mode: str | None, flags: int) -> None:
    _opened(tell, path, flags)


def _opened(tell: Listener, path: Any, flags: int, dir_fd: int | None = None) -> None:
    if isinstance(path, int):
        return  # which came from an opened file
    access = flags & (os.O_WRONLY | os.O_RDWR)
    if access != os.O_WRONLY and not flags & (os.O_TRUNC | os.O_EXCL):
        tell.asked("contents", path, dir_fd)
    if access or flags & os.O_CREAT:
        tell.written(path, dir_fd)


def _listed(tell: Listener, path: Any, *, whole: bool) -> None:
    path = "." if path is None else path
    askers = _askers()
    if "importlib._bootstrap_external" in askers:
        return
    if not _METADATA.isdisjoint(askers):
        tell.asked("packages", path)
    else:
        tell.asked("entries" if whole and _TYPE_ONLY.isdisjoint(askers) else "names", path)


def _listdir(tell: Listener, path: Any) -> None:
    _listed(tell, path, whole=False)


def _scandir(tell: Listener, path: Any) -> None:
    _listed(tell, path, whole=True)


def _changed(tell: Listener, path: Any, *others: Any) -> None:
    dir_fd = others[-1] if others else -1
    tell.written(path, None if dir_fd == -1 else dir_fd)


def _made(tell: Listener, path: Any, _: int, dir_fd: int = -1) -> None:
    tell.written(path, None if dir_fd == -1 else dir_fd, only_anew=True)


def _changed_attributes(tell: Listener, path: Any, *_: Any) -> None:
    tell.written(path)


def _moved(tell: Listener, source: Any, target: Any, source_fd: int = -1, target_fd: int = -1) -> None:
    _changed(tell, source, source_fd)
    _changed(tell, target, target_fd)


def _symlinked(tell: Listener, source: Any, target: Any, dir_fd: int = -1) -> None:
    _changed(tell, target, dir_fd)


def _loaded_library(tell: Listener, name: Any) -> None:
    """A library of the user's, or one that the user loads, may do anything. Others load libc and CUDA's."""
    has_folder = isinstance(name, str) and os.sep in name
    if not vouched_for(name) if has_folder else asked_by_user():
        tell.doubted("ctypes.dlopen")


def _doubtful(event: str) -> Callable[..., None]:
    return lambda tell, *_, **__: tell.doubted(event)


#: What an answer may not depend on: other programs, other machines, databases, whoever sits there.
_DOUBTFUL = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn"),
    *("os.fork", "os.forkpty", "_winapi.CreateProcess", "builtins.input", "sqlite3.connect"),
    *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"),
    *("os.getxattr", "os.listxattr"),
)
_EVENTS: dict[str, Callable[..., None]] = {
    "open": _open,
    "os.listdir": _listdir,
    "os.scandir": _scandir,
    "os.mkdir": _made,
    "os.rmdir": _changed,
    "os.remove": _changed,
    "os.rename": _moved,
    "os.link": _moved,
    "os.symlink": _symlinked,
    "os.truncate": _changed_attributes,
    "os.chmod": _changed_attributes,
    "os.utime": _changed_attributes,
    "ctypes.dlopen": _loaded_library,
    **{event: _doubtful(event) for event in _DOUBTFUL},
}


# ---- what raises none


def _stat(tell: Listener, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    askers = _askers()
    if not _METADATA.isdisjoint(askers):
        return  # whose listing of the folder is heard
    kind = "status" if _TYPE_ONLY.isdisjoint(askers) else "type"
    tell.asked(kind if follow_symlinks else f"own {kind}", path, dir_fd)


def _lstat(tell: Listener, path: Any, *, dir_fd: int | None = None) -> None:
    _stat(tell, path, dir_fd=dir_fd, follow_symlinks=False)


def _type(tell: Listener, path: Any) -> None:
    tell.asked("type", path)


def _fstat(tell: Listener, fd: int) -> None:
    tell.asked("status", fd)


def _access(tell: Listener, path: Any, mode: int, *, dir_fd: int | None = None, **_: Any) -> None:
    tell.asked("access", path, dir_fd)


def _readlink(tell: Listener, path: Any, *, dir_fd: int | None = None) -> None:
    tell.asked("link", path, dir_fd)


def _open_beside(tell: Listener, path: Any, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> None:
    if dir_fd is not None:  # which the audit event leaves out
        _opened(tell, path, flags, dir_fd)


def _read_natively(tell: Listener, filename: Any, *_: Any, **__: Any) -> None:
    tell.asked("contents", filename)


def _of_the_moment(name: str, *, directly: bool = False) -> Callable[..., None]:
    def tell_of_user(tell: Listener, *_: Any, **__: Any) -> None:
        if asked_by_user(directly=directly):
            tell.doubted(name)

    return tell_of_user


#: Answers that differ from one moment to the next. What measures how long something took is no answer.
_OF_THE_MOMENT = {
    time: ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime"),
    os: ("getpid", "getppid", "getloadavg", "times"),
}


def _unannounced() -> Iterator[tuple[Any, str, Callable[..., None]]]:
    """Functions without an audit event: who holds them, their name, and what is told of a call."""
    import torch

    # Classes of the standard library that took references when they were loaded: Python 3.10, and 3.13 on.
    for holder in (os, getattr(pathlib, "_NormalAccessor", None), getattr(glob, "_StringGlobber", None)):
        if holder is not None:
            yield from (
                (holder, name, tell)
                for name, tell in (("stat", _stat), ("lstat", _lstat), ("readlink", _readlink))
                if name in vars(holder)
            )
    yield os, "access", _access
    yield os, "fstat", _fstat
    yield os, "open", _open_beside
    yield os, "statvfs", _of_the_moment("os.statvfs")
    for holder, names in _OF_THE_MOMENT.items():
        for name in names:  # logging asks for the time and the process as well, for its records
            yield holder, name, _of_the_moment(f"{holder.__name__}.{name}", directly=True)
    yield os, "urandom", _of_the_moment("os.urandom")
    yield random, "_urandom", _of_the_moment("os.urandom")  # for secrets and for generators of numpy
    for generator in (random, getattr(random, "_inst", None)):
        if generator is not None:
            yield from ((generator, name, _drawn) for name in ("random", "getrandbits"))
            yield generator, "seed", _seeded
            yield generator, "setstate", _restored(random.getstate())
    for name in ("exists", "lexists", "isfile", "isdir", "islink"):
        if isinstance(vars(os.path)[name], types.BuiltinFunctionType):  # on Windows, from Python 3.12 on
            yield os.path, name, _type
    # torch's own ways to map a file, by which safetensors reads too.
    yield torch, "from_file", _read_natively
    yield torch.UntypedStorage, "from_file", _read_natively
    if "_posixsubprocess" in sys.modules:  # by which multiprocessing starts its processes
        yield sys.modules["_posixsubprocess"], "fork_exec", _doubtful("fork_exec")


def _drawn(tell: Listener, *_: Any) -> None:
    if asked_by_user():
        tell.drawn()


def _seeded(tell: Listener, a: Any = None, version: int = 2) -> None:
    tell.seeded(a is not None)


def _restored(unseeded: Any) -> Callable[..., None]:
    return lambda tell, state: tell.seeded(state != unseeded)


# ---- who asks

#: What looks for installed packages: Python's own, and the package that takes its place where it is loaded.
_METADATA = frozenset(("importlib.metadata", "importlib_metadata"))
_PATHS = frozenset(("os", "genericpath", "posixpath", "ntpath", "pathlib", "glob", "importlib"))
_PATHS |= {"importlib_metadata"}
#: Functions that look no further than whether a file or folder is there.
_TYPE_ONLY = frozenset(
    (
        *("exists", "lexists", "isfile", "isdir", "islink", "realpath", "_joinrealpath", "makedirs"),
        *("is_file", "is_dir", "is_symlink", "resolve", "readlink", "mkdir"),
        *("walk", "_walk", "fwalk", "glob", "rglob", "iglob", "glob0", "_glob0", "_iterdir", "iterdir"),
        *("select_wildcard", "select_recursive", "select_exists", "select_recursive_step"),
    )
)


def _askers() -> set[str]:
    """The functions of os, pathlib and their like by which something is asked, and importlib's modules."""
    found = set()
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in _PATHS:
            break
        found |= {frame.f_code.co_name, module}
        frame = frame.f_back
    return found
