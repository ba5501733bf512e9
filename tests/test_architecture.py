"""The layers of the package and their one direction (modelsum/docs/layout.md)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import modelsum

PACKAGE = Path(modelsum.__file__).parent

GROUND = {
    "errors",
    "files",
    "generation_values",
    "jobs",
    "memory_values",
    "objects",
    "plain",
    "printing",
    "processes",
    "raised",
}
GROUND |= {"repeats", "spec", "summary", "units", "version", "weights"}
# What each part may import of the others, besides itself and the ground floor.
MAY_IMPORT = {
    "zoo": set(),
    "sources": {"zoo", "trace"},
    "trace": {"memory"},
    "memory": set(),
    "baselines": {"request", "memory"},
    "render": {"zoo", "baselines", "memory", "sweeps"},
    "request": {"memory"},
    "preparing": {"request", "sources", "trace", "memory", "generation"},
    "api": {"request", "preparing", "trace", "baselines", "generation"},
    "measuring": {"request", "preparing", "api", "sources", "trace", "memory"},
    "predicting": {"request", "preparing", "api", "sources", "trace", "memory"},
    "arranging": {"request", "predicting", "memory", "trace"},
    "fitting": {"request", "api", "predicting", "memory", "baselines", "arranging"},
    "generation": {"sources", "trace", "memory"},
    "generating": {"request", "api", "fitting", "generation", "memory"},
    "checking": {"request", "api", "sources", "baselines", "sweeps"},
    "comparing": {"request", "api", "sources", "baselines"},
    "cache": {"request", "memory"},
    "sweeps": {"request", "api", "sources", "baselines", "cache", "memory"},
    "sweeping": {"sweeps", "baselines"},
    "cli": {
        *("request", "preparing", "api", "cache", "checking", "comparing", "fitting", "generating"),
        *("arranging", "measuring"),
        *("memory", "render", "baselines", "sources", "sweeping", "sweeps", "zoo"),
    },
    "compat": {"api", "render"},
    "__main__": {"cli"},
    "assertions": {"api", "baselines", "memory"},
    "__init__": {
        "api",
        "assertions",
        "checking",
        "comparing",
        "fitting",
        "generating",
        "measuring",
        "sweeping",
    },
}
TORCH_FREE = {*GROUND, "request", "memory", "baselines", "render", "cli", "cache", "api", "assertions"}
TORCH_FREE |= {"checking", "comparing", "fitting", "generating", "measuring", "predicting", "preparing"}
TORCH_FREE |= {"arranging", "sweeping", "sweeps"}


@cache
def imports(file: Path) -> list[tuple[str, bool]]:
    """Every imported module's name, and whether the import runs when the file is imported.

    Those that only typing needs and those in functions are among them.
    """
    return list(imported(file))


def imported(file: Path) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(file.read_text())
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", id(node) not in later) for alias in node.names)


def test_imports_of_typing_and_of_functions_count(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(
        "import a\nif TYPE_CHECKING:\n    import b\nclass C:\n    def f(self):\n        from c import d"
    )
    assert sorted(imports(file)) == [("a", True), ("b", False), ("c.d", False)]


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = sorted(PACKAGE.rglob("*.py"))


def where_not(of: Callable[[Path], Iterable[str]], files: Iterable[Path] = FILES) -> dict[str, list[str]]:
    """What is wrong, file by file."""
    return {str(file.relative_to(PACKAGE)): wrong for file in files if (wrong := sorted(of(file)))}


def target_of(name: str) -> str | None:
    """The part of the package that an import is of; None of other packages."""
    package, *rest = name.split(".")
    if package != "modelsum" or not rest:
        return None
    there = (PACKAGE / rest[0]).exists() or (PACKAGE / f"{rest[0]}.py").exists()
    return rest[0] if there else "__init__"


def test_imports_follow_the_one_direction() -> None:
    def wrong(file: Path) -> Iterable[str]:
        part = part_of(file)
        allowed = {*GROUND, *MAY_IMPORT.get(part, ()), part, None}
        return (name for name, _ in imports(file) if target_of(name) not in allowed)

    assert where_not(wrong) == {}


def test_nothing_is_imported_in_a_circle() -> None:
    """There is an order of files, and of parts, in which each stands on those before it."""
    files = {".".join(("modelsum", *f.relative_to(PACKAGE).with_suffix("").parts)): f for f in FILES}
    files = {name.removesuffix(".__init__"): file for name, file in files.items()}
    modules = {
        name: {wanted if wanted in files else wanted.rpartition(".")[0] for wanted, _ in imports(file)}
        for name, file in files.items()
    }
    for graph in (modules, MAY_IMPORT):
        TopologicalSorter(graph).prepare()  # raises CycleError


def test_torch_free_parts_import_torch_at_most_when_called() -> None:
    heavy = {"torch", "torchinfo", "torchvision", "timm", "transformers", "pyarrow", "distributed", "optuna"}

    def wrong(file: Path) -> Iterable[str]:
        return heavy & {name.split(".")[0] for name, now in imports(file) if now}

    assert where_not(wrong, [file for file in FILES if part_of(file) in TORCH_FREE]) == {}


def test_pages_alone_import_what_they_are_made_with_and_only_when_one_is_made() -> None:
    def wrong(file: Path) -> Iterable[str]:
        used = ((name, now) for name, now in imports(file) if name.split(".")[0] in ("jinja2", "markupsafe"))
        return (name for name, now in used if now or "page" not in file.parts)

    assert where_not(wrong) == {}


def test_exported_names() -> None:
    assert set(modelsum.__all__) == {
        "ArgumentError",
        "Baseline",
        "BuildError",
        "ConfigError",
        "Difference",
        "ForwardError",
        "Input",
        "InputError",
        "Layer",
        "Model",
        "ModelError",
        "ModelsumError",
        "OutputError",
        "Summary",
        "TorchsummaryTotals",
        "Totals",
        "UnknownModelError",
        "UsageError",
        "__version__",
        "assert_cost",
        "check",
        "compare",
        "diff",
        "fit",
        "generate",
        "measure",
        "register_macs",
        "summarize",
        "sweep",
    }
    assert all(hasattr(modelsum, name) for name in modelsum.__all__)


def test_no_module_has_the_name_of_an_exported_value() -> None:
    """Importing a module puts it into the package, over a value of its name."""
    assert not {part_of(file) for file in FILES} & set(modelsum.__all__)


# ---- torch's private parts

ROOM = PACKAGE / "trace" / "torch_private.py"
#: Private by their spelling, and not torch's.
NOT_OF_TORCH = {
    "_fields": "of named tuples, which Python documents",
    "_from_config": "of the classes of transformers",
    "_pp_plan": "of the models of transformers",
    "_tp_plan": "of the models of transformers",
}


def is_private(name: object) -> bool:
    return isinstance(name, str) and name[:1] == "_" != name[1:2] and name.isidentifier() and name != "_"


def own_private_names(trees: list[ast.Module]) -> set[str]:
    """What the package's own classes call private: their methods, class attributes and `self._name = ...`."""
    own = set()
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                own |= {getattr(inner, "name", "")}
                targets = inner.targets if isinstance(inner, ast.Assign) else [getattr(inner, "target", None)]
                own |= {t.id for t in targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own |= {node.attr} if isinstance(node.value, ast.Name) and node.value.id == "self" else set()
    return set(filter(is_private, own))


def root_of(node: ast.expr) -> str:
    """The name that a chain of attributes begins with: "torch" of torch.ops.aten; "super" of a call of it."""
    while isinstance(node, ast.Attribute):
        node = node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
        return "super"
    return node.id if isinstance(node, ast.Name) else ""


def private_names_of_torch(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Private names in a file that imports torch, but for the package's own and those of other modules.

    Also what the file puts in the place of a name of torch's.
    """
    homes = {}  # where each name of the file comes from
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            homes |= {a.asname or a.name.split(".")[0]: a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            homes |= {a.asname or a.name: (node.module or "").split(".")[0] for a in node.names}
            if (node.module or "").split(".")[0] == "torch":
                names = [*(node.module or "").split("."), *(a.name for a in node.names)]
                yield from filter(is_private, names)
        elif isinstance(node, ast.ClassDef):
            homes[node.name] = "modelsum"
    if "torch" not in homes.values():
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and root_of(node.value) in homes
            and isinstance(node.value, ast.Attribute)
        ):
            home = homes[root_of(node.value)]  # _aten = torch.ops.aten
            homes |= {t.id: home for t in node.targets if isinstance(t, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, name = node.value, node.attr
            if isinstance(node.ctx, ast.Store) and homes.get(root_of(owner)) == "torch":
                yield f"{name} = ..."
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            if node.func.id not in ("getattr", "hasattr", "setattr", "delattr", "replaced"):
                continue
            owner, name = node.args[0], getattr(node.args[1], "value", None)
            if node.func.id in ("setattr", "delattr", "replaced") and homes.get(root_of(owner)) == "torch":
                yield f"{node.func.id}({name!r})"
        else:
            continue
        root = root_of(owner)
        is_own = name in own and (root in ("self", "cls", "super") or homes.get(root) == "modelsum")
        is_others = homes.get(root, "torch") not in ("torch", "modelsum")
        if is_private(name) and not is_own and not is_others and name not in NOT_OF_TORCH:
            yield name


def test_private_names_of_torch_are_reached_through_one_room() -> None:
    trees = {file: ast.parse(file.read_text()) for file in FILES}
    own = own_private_names(list(trees.values()))
    found = {
        str(file.relative_to(PACKAGE)): names
        for file, tree in trees.items()
        if file != ROOM and (names := sorted(set(private_names_of_torch(tree, own))))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import torch\ntorch._C.x()", "_C"),
        ("import torch\na = torch.ops.aten\na._softmax.default", "_softmax"),
        ("from torch.nn.modules.conv import _ConvNd", "_ConvNd"),
        ("from torch._ops import HigherOrderOperator", "_ops"),
        ("from torch import Tensor\ndef f(t: Tensor):\n    return t._version", "_version"),
        (
            "import torch\nclass A(torch.nn.Module):\n    def f(self):\n        self._modules.clear()",
            "_modules",
        ),
        ("from torch import nn\ndef f(m):\n    return getattr(m, '_buffers')", "_buffers"),
        ("import torch\ntorch.autocast.__init__ = print", "__init__ = ..."),
        ("from torch.nn import functional\nsetattr(functional, 'gelu', print)", "setattr('gelu')"),
    ],
)
def test_the_rule_of_the_room_can_fail(code: str, name: str) -> None:
    assert name in set(private_names_of_torch(ast.parse(code), own=set()))


def test_the_rule_of_the_room_lets_private_names_of_others_pass() -> None:
    code = "import os, torch\nclass A:\n    def f(self):\n        self._own = os._exit, getattr(torch, 'add')"
    tree = ast.parse(code)
    assert list(private_names_of_torch(tree, own_private_names([tree]))) == []


def test_names_that_are_no_torchs_are_still_there() -> None:
    text = "".join(file.read_text() for file in FILES)
    assert all(name in text for name in NOT_OF_TORCH)
