"""`package.module:attribute` and `path/file.py:attribute`: the user's own Module, class or factory."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelsum.errors import ArgumentError, BuildError, UsageError, did_you_mean
from modelsum.sources.arguments import checked_arguments, refusals
from modelsum.sources.base import Loaded
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


class Imported:
    """Models in Python files and importable modules."""

    name = "imported"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether the spec names an attribute of a module or file. Raises UsageError where there is none."""
        if spec.kind in ("import", "file"):
            check_there(spec)
            return True
        return False

    def names(self) -> Collection[str]:
        """None that could be offered."""
        return ()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Import the file or module and build what the attribute stands for."""
        from torch import nn

        from modelsum.sources.building import build
        from modelsum.trace.copying import copy_to

        found = load_attribute(spec)
        if isinstance(found, nn.Module):
            if arguments:
                raise ArgumentError(f"{spec.text} is a module, not a constructor", "It takes no --arg.")
            return Loaded(copy_to(found, device), self.name)
        if not callable(found):
            raise UsageError(
                f"{spec.text} is a {type(found).__name__}",
                "Name a torch.nn.Module, its class, or a function that returns one.",
            )
        keywords = checked_arguments(spec.text, found, arguments)
        with refusals(spec.text, arguments):
            model, notice = build(lambda: _module_from(spec.text, found, keywords), device)
        if any(t.device != device for t in (*model.parameters(), *model.buffers())):
            model = copy_to(model, device)  # a factory may name a device itself
        return Loaded(model, self.name, changed=bool(arguments), notices=(notice,) if notice else ())


def _module_from(text: str, factory: Callable[..., Any], keywords: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    model = factory(**keywords)
    if not isinstance(model, nn.Module):
        raise BuildError(
            f"{text} returned a {type(model).__name__}, not a torch.nn.Module",
            "Name a Module, its class, or a function that returns one.",
        )
    return model


def check_there(spec: ModelSpec) -> None:
    """Say, before anything is imported, that there is no such file or package. Raises UsageError."""
    if spec.kind == "file":
        path = Path(spec.name)
        if not path.is_file():
            nearby = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
            raise UsageError(f"there is no file {str(path)!r}", did_you_mean(str(path), nearby))
        return
    _make_importable(Path.cwd())
    package = spec.name.partition(".")[0]
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise _no_module(spec.name, f"No module named {package!r}")


def _no_module(name: str, reason: object) -> UsageError:
    return UsageError(
        f"there is no module {name!r}: {reason}",
        "Modules are looked for in the current directory and in the environment.",
    )


def load_attribute(spec: ModelSpec) -> Any:
    """What the attribute of an import or file spec stands for. Raises UsageError or BuildError."""
    module = _import_file(Path(spec.name)) if spec.kind == "file" else _import_module(spec.name)
    found: Any = module
    for name in str(spec.attribute).split("."):
        if not hasattr(found, name):
            public = [n for n in dir(found) if not n.startswith("_")]
            hint = did_you_mean(name, public) or f"It has {', '.join(public[:20]) or 'nothing public'}."
            raise UsageError(f"{spec.text}: there is no {name!r} in {spec.name}", hint)
        found = getattr(found, name)
    return found


def _import_module(name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _no_module(name, error) from error
        raise _import_failed(name, error) from error
    except Exception as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: Exception) -> BuildError:
    return BuildError(f"importing {name} failed: {type(error).__name__}: {error}")


def _import_file(path: Path) -> ModuleType:
    """The module in a file: as part of its package, or of one made up for a lone file's folder.

    Either way both `import neighbour` and `from .neighbour import Block` find the file beside it.
    """
    path = path.resolve()
    _make_importable(path.parent)
    if (path.parent / "__init__.py").is_file():
        root, names = path.parent, [path.stem]
        while (root / "__init__.py").is_file():
            names.insert(0, root.name)
            root = root.parent
        _make_importable(root)
        return _import_module(".".join(names))
    package = f"_modelsum_{hashlib.sha1(str(path.parent).encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        folder = ModuleType(package)
        folder.__path__ = [str(path.parent)]
        sys.modules[package] = folder
    return _import_module(f"{package}.{path.stem}")


def _make_importable(folder: Path) -> None:
    """Let imports find modules in a folder, first of all places, as Python does for a script's own folder."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


source = Imported()
