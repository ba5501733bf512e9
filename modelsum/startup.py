"""How the `modelsum` process has torch imported sooner. In library use none of it happens.

What `__main__` wants done around the import is done from here; and torch's meta registrations are deferred.
These are the shape functions written in Python that torch registers at the end of its import, in a fifth of
its time. modelsum has rules of its own for the ops that models call most, and asks for the registrations at
the first op without one. Until then a module that loads them stands in their place.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

_REGISTRATIONS = "torch._meta_registrations"

#: The versions of torch that are known to be imported well without. Of others nothing is deferred.
_KNOWN = re.compile(r"2\.1[34]\.")

#: Parts of torch that modelsum imports on its own, and that import nothing in turn.
_ALONE = frozenset(("torch.utils._device",))

_BEFORE: list[Callable[[], None]] = []
_AFTER: list[Callable[[], None]] = []


def around_torch(*, before: Callable[[], None] | None = None, after: Callable[[], None]) -> None:
    """Have these called, once each, around the import of torch for the next answer."""
    if before is not None:
        _BEFORE.append(before)
    _AFTER.append(after)


def import_torch() -> None:
    """Import torch, and do around it what was asked for. Nothing of the user's runs before."""
    while _BEFORE:
        _BEFORE.pop()()
    importlib.import_module("torch")
    while _AFTER:
        _AFTER.pop()()


class _Deferred(ModuleType):
    """Stands for the registrations until somebody asks for what is in them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # as `inspect` looks for, in all modules that there are
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        load_meta_registrations()
        return getattr(sys.modules[self.__name__], name)


class _BeforeMoreOfTorch:
    """Loads the registrations before a part of torch is imported on its own.

    Some parts, torch._dynamo for one, can only be imported after them. The part that is wanted may be one
    that they bring along: then it is not to be loaded a second time.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith("torch.") or name in _ALONE or is_importing_torch():
            return None
        load_meta_registrations()
        module = sys.modules.get(name)
        if module is None:
            return None
        spec = spec_from_loader(name, _Loaded(module))
        module.__spec__ = spec  # which is the one that counts, as importlib sees that the module is there
        return spec


class _Loaded(Loader):
    """The loader of a module that is loaded already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


_FINDER = _BeforeMoreOfTorch()


def defer_meta_registrations() -> None:
    """Let torch, when it is imported, do without its meta registrations until they are loaded."""
    if "torch" not in sys.modules and _KNOWN.match(_torch_version()):
        sys.modules[_REGISTRATIONS] = _Deferred(_REGISTRATIONS)
        sys.meta_path.insert(0, _FINDER)


def load_meta_registrations() -> bool:
    """Load them if they were deferred. Returns whether they were."""
    if not isinstance(sys.modules.get(_REGISTRATIONS), _Deferred):
        return False
    sys.meta_path.remove(_FINDER)
    del sys.modules[_REGISTRATIONS]
    importlib.import_module(_REGISTRATIONS)
    return True


def is_importing_torch() -> bool:
    """Whether the import of torch is going on."""
    torch = sys.modules.get("torch")
    return torch is not None and getattr(torch.__spec__, "_initializing", False)


def _torch_version() -> str:
    """The version of the torch that an import would find; empty where there is none, or it does not say."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    file = Path(spec.origin).with_name("version.py")
    found = re.search(r"__version__ = '([^']+)'", file.read_text(encoding="utf-8") if file.exists() else "")
    return found[1] if found else ""
