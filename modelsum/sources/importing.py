"""The user's modules and files, imported under the names that they gave them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from modelsum.errors import BuildError, ModelsumError, UsageError
from modelsum.raised import told


def import_module(name: str, folder: Path | None = None) -> ModuleType:
    """The module of that dotted name, found in the folder (None: where the user is) or the environment.

    Raises UsageError where there is none, BuildError where its code fails.
    """
    with _found_in(folder or Path.cwd()), _failures(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise no_module(name, error) from error
            raise


def no_module(name: str, reason: object) -> UsageError:
    """What is said of a module that is not there."""
    return UsageError(
        f"there is no module {name!r}: {reason}",
        "Modules are looked for in the current directory and in the environment.",
    )


def is_there(package: str) -> bool:
    """Whether a top-level module or package can be found from where the user is; it is not imported."""
    with _found_in(Path.cwd()):
        return package in sys.modules or importlib.util.find_spec(package) is not None


def import_file(file: Path) -> ModuleType:
    """The module in a file: as part of its package, or by the file's own name.

    Either way both `import neighbour` and `from .neighbour import Block` find the file beside it: the module
    of a lone file is its folder's package too. Raises BuildError where its code fails.
    """
    path = file.resolve()
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if len(names) > 1:
        with _found_in(path.parent):
            return import_module(".".join(names), root)
    with _found_in(root), _failures(file):
        return _import_alone(path)


def _import_alone(path: Path) -> ModuleType:
    name = _name_of(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    names = (name, f"{name}.{path.stem}")  # the second is what `from .nets import Net` of a neighbour means
    sys.modules.update(dict.fromkeys(names, module))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError):
            error.msg = error.msg.replace(f"'{name}.", "'.")  # as a lone file says it: `from .missing import`
        for each in names:
            sys.modules.pop(each, None)
        raise
    return module


def _name_of(path: Path) -> str:
    """The file's own name; with those of its folders in front where another module has that already."""
    name = path.stem
    for folder in path.parents:
        if name not in sys.modules or _file_of(sys.modules[name]) == path:
            break
        name = f"{folder.name}_{name}"
    return name


@contextmanager
def _failures(what: object) -> Iterator[None]:
    """Turn whatever the code of a module raises into a BuildError."""
    try:
        yield
    except ModelsumError:
        raise
    except (Exception, SystemExit) as error:
        raise BuildError(f"importing {what} failed: {told(error, whole=True)}") from error


# ---- folders

_OURS: set[str] = set()  # folders that are in sys.path because a model was looked for there
_BROUGHT: dict[str, str] = {}  # the modules that came from them, with the folder


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    """Imports find modules in a folder first of all, as Python does in a script's own, there and afterwards.

    Modules of the same name that a model of another folder brought are forgotten: two versions of a file
    have each their own neighbours.
    """
    place = str(folder)
    for name in [n for n, home in _BROUGHT.items() if home != place and _has(folder, n)]:
        del _BROUGHT[name]
        for each in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
            del sys.modules[each]
    if sys.path[:1] != [place]:
        if place in _OURS and place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
        _OURS.add(place)
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if "." not in name and _home(sys.modules[name]) == folder:
                _BROUGHT[name] = place


def _has(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _home(module: ModuleType) -> Path | None:
    """The folder that has the module's file, or its package's folder."""
    file = _file_of(module)
    if file is None:
        return None
    return file.parent.parent if file.name == "__init__.py" else file.parent


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None
