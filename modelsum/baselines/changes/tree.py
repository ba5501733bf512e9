"""The modules of a report as a tree, so that a block can be recognised wherever it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelsum.baselines.reports.report import Report, ReportRow
from modelsum.repeats import Numbers


@dataclass(slots=True)
class Module:
    """One module of a report, all its calls together.

    Attributes:
        path: its name from the root.
        class_name: its class; "" for a module that a report has only parts of.
        calls: how often it was called.
        figures: its own, all calls together, by name.
        output_shapes: of each call, as JSON text.
        attributes: how it is configured.
        parent: index of the module that it is in; None for the root.
        children: indices of the modules in it, in the order in which they were first called.
        size: modules in it, itself included.
        content: a number that modules share if they are equal in everything but their own name.
        structure: a number that modules share if they have the same classes in the same places.
    """

    path: str
    class_name: str = ""
    calls: int = 0
    figures: dict[str, int] = field(default_factory=dict)
    output_shapes: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    parent: int | None = None
    children: list[int] = field(default_factory=list)
    size: int = 1
    content: int = -1
    structure: int = -1

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    @property
    def is_repeat(self) -> bool:
        """Whether it is one of a numbered list of modules."""
        return self.name.isdigit()


def tree(report: Report, figures: Sequence[str], numbers: Numbers) -> list[Module]:
    """The modules of a report, each before those in it; the root is the first.

    Args:
        figures: those of a row that count, some of `ROW_FIGURES`.
        numbers: the same for trees whose modules are to be compared.
    """
    nothing = dict.fromkeys(figures, 0)
    by_path: dict[str, Module] = {"": Module("", figures=dict(nothing))}
    inside: dict[str, list[Module]] = {"": []}
    for row in report.rows:
        for path in _with_ancestors(row.path):
            if path not in by_path:
                by_path[path] = Module(path, figures=dict(nothing))
                inside[path] = []
                inside[path.rpartition(".")[0]].append(by_path[path])
        _add(by_path[row.path], row)
    modules: list[Module] = []
    pending: list[tuple[int | None, Module]] = [(None, by_path[""])]
    while pending:
        parent, module = pending.pop()
        module.parent = parent
        if parent is not None:
            modules[parent].children.append(len(modules))
        pending.extend((len(modules), child) for child in reversed(inside[module.path]))
        modules.append(module)
    for module in reversed(modules):
        _number(module, [modules[child] for child in module.children], numbers)
    return modules


def subtree(modules: list[Module], index: int) -> range:
    """The indices of a module and of those in it."""
    return range(index, index + modules[index].size)


def _with_ancestors(path: str) -> Iterator[str]:
    dot = path.find(".")
    while dot >= 0:
        yield path[:dot]
        dot = path.find(".", dot + 1)
    yield path


def _add(module: Module, row: ReportRow) -> None:
    module.class_name = row.class_name
    module.attributes = dict(row.attributes)
    for name in module.figures:
        module.figures[name] += getattr(row, name) or 0
    if row.call:
        module.calls += 1
        module.output_shapes.append(json.dumps(row.output_shapes))


def _number(module: Module, children: list[Module], numbers: Numbers) -> None:
    own = (
        module.class_name,
        module.calls,
        json.dumps(module.attributes, sort_keys=True),
        tuple(module.figures.values()),
        tuple(module.output_shapes),
    )
    module.size = 1 + sum(child.size for child in children)
    module.content = numbers.of((own, tuple((child.name, child.content) for child in children)))
    module.structure = numbers.of((module.class_name, tuple(child.structure for child in children)))
