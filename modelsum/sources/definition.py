"""The line where a model is defined, found by reading its file: nothing is imported.

    nets.py:Detector           the line of `class Detector`, or of `def` for a function
    package.nets:model         the line of `model = ...`
    package:Detector           that in package/nets.py, where package/__init__.py imports it from there

The last of several definitions counts, as it does for Python. What is imported from files that are not the
reader's own stands where it is imported.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from modelsum.spec import ModelSpec

_Imports = ast.Import | ast.ImportFrom
_Definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Definition(NamedTuple):
    """A line of a file."""

    file: Path
    line: int


@dataclass(frozen=True)
class Definitions:
    """Finds definitions in the files of a project, each of which is read once.

    Attributes:
        folder: where relative paths begin, and modules are looked for first.
        own: the file that a reader would edit, for the one that Python would run, which may be an installed
            copy of it; None for other people's.
    """

    folder: Path
    own: Callable[[Path], Path | None]
    _trees: dict[Path, ast.Module | None] = field(default_factory=dict, init=False)

    def find(self, spec: ModelSpec) -> Definition | None:
        """Where the attribute of an import or file spec is defined; None where that cannot be read."""
        file = self.folder / spec.name if spec.kind == "file" else None
        if spec.kind == "import":
            file = module_file(spec.name, self.folder)
        return self._in_file(file, str(spec.attribute).split("."), frozenset())

    def _in_file(self, file: Path | None, names: list[str], seen: frozenset[Path]) -> Definition | None:
        """Where a file defines `names[0]`, and in that `names[1]` and so on."""
        file = file and self.own(file)
        if file is None or file in seen or not names or (tree := self._tree(file)) is None:
            return None
        seen |= {file}
        bound = _bound(tree.body, names[0])
        if bound is None:
            starred = (
                self._imported(node, names, file, seen)
                for node in _statements(tree.body)
                if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
            )
            return next(filter(None, starred), None)
        if isinstance(bound, _Imports):
            return self._imported(bound, names, file, seen) or Definition(file, bound.lineno)
        for name in names[1:]:
            inner = _bound(bound.body, name) if isinstance(bound, ast.ClassDef) else None
            bound = inner or bound  # else inherited, or set elsewhere
        return Definition(file, bound.lineno)

    def _imported(
        self, node: _Imports, names: list[str], file: Path, seen: frozenset[Path]
    ) -> Definition | None:
        """Where what an import statement binds to `names[0]` is defined."""
        first, *rest = names
        alias = next((a for a in node.names if (a.asname or a.name) == first), node.names[0])
        if isinstance(node, ast.Import):
            return self._in_file(module_file(alias.name, self.folder), rest, seen)
        origin = first if alias.name == "*" else alias.name
        module = self._from(node, file)
        if found := self._in_file(module, [origin, *rest], seen):
            return found
        if module is None or module.name != "__init__.py":
            return None
        return self._in_file(_module_at(module.parent / origin), rest, seen)

    def _from(self, node: ast.ImportFrom, file: Path) -> Path | None:
        """The file of the module that `from ... import` names; a dot stands for the file's own folder."""
        if node.level == 0:
            return module_file(str(node.module), self.folder)
        base = file.parents[node.level - 1]
        return _module_at(base / node.module.replace(".", "/")) if node.module else base / "__init__.py"

    def _tree(self, file: Path) -> ast.Module | None:
        if file not in self._trees:
            try:
                self._trees[file] = ast.parse(file.read_bytes())
            except (OSError, SyntaxError, ValueError, RecursionError):
                self._trees[file] = None
        return self._trees[file]


def module_file(name: str, folder: Path) -> Path | None:
    """The file that `import name` would run in that folder; packages on the way to it are not imported."""
    places: Sequence[str] | None = [str(folder), *sys.path]
    found: ModuleSpec | None = None
    parts = name.split(".")
    for size in range(1, len(parts) + 1):
        found = PathFinder.find_spec(".".join(parts[:size]), places)
        if found is None and size == 1:
            found = _by_other_finders(name)
        if found is None:
            return None
        places = found.submodule_search_locations or []
    return Path(found.origin) if found and found.has_location and found.origin else None


def _by_other_finders(package: str) -> ModuleSpec | None:
    """As editable installs have them. Of a top-level package alone, which imports nothing."""
    try:
        return importlib.util.find_spec(package.partition(".")[0])
    except ValueError:  # loaded by hand, without a spec
        return None


def public_names(file: Path) -> list[str]:
    """What a file defines at its top level; of a package's own file also what it imports from others."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    passes_on = ast.ImportFrom if file.name == "__init__.py" else ()
    found = (
        name for n in body if not isinstance(n, _Imports) or isinstance(n, passes_on) for name in _names(n)
    )
    return [name for name in dict.fromkeys(found) if name.isidentifier() and not name.startswith("_")]


# ---- statements


def _bound(body: Sequence[ast.stmt], name: str) -> ast.stmt | None:
    """The last statement that binds a name."""
    return next((node for node in reversed(list(_statements(body))) if name in _names(node)), None)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run where these run: those under `if`, `try`, `with` and loops too."""
    for node in body:
        yield node
        if not isinstance(node, _Definitions):
            for inner in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(node, inner, []):
                    yield from _statements(child.body if isinstance(child, ast.ExceptHandler) else [child])


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds."""
    if isinstance(node, _Definitions):
        yield node.name
    elif isinstance(node, _Imports):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name))


def _module_at(path: Path) -> Path | None:
    candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
