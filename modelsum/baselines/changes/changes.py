"""What changed from one report to another: totals, and module by module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modelsum.baselines.changes.matching import match
from modelsum.baselines.changes.tree import Module, tree
from modelsum.baselines.reports.report import (
    GENERATION_TOTALS,
    MEMORY_TOTALS,
    ROW_FIGURES,
    TOTALS,
    Case,
    Report,
)
from modelsum.printing import Printed
from modelsum.repeats import Numbers


@dataclass(frozen=True, slots=True)
class Total:
    """A total of two reports; None where a report does not have it."""

    name: str
    old: int | None
    new: int | None

    @property
    def difference(self) -> int | None:
        """By how much it grew; None where one is not known."""
        return None if self.old is None or self.new is None else self.new - self.old

    @property
    def share(self) -> float | None:
        """The difference as a share of the old figure; None where there is none."""
        return self.difference / self.old if self.old and self.difference is not None else None


@dataclass(frozen=True, slots=True)
class Change:
    """A module of one report beside what it is in the other.

    Attributes:
        old_path, new_path: None where it is not there.
        class_name: the new class; the old one of a removed module.
        depth: names in its path, the new one where there is one.
        size: modules in it, itself included.
        state: "same", "renamed" (nothing but its own name), "changed", "added" or "removed".
        attributes: old and new value of each attribute that changed, its class as "class" and the number of
            its calls as "calls"; None where it does not have the attribute.
        output_shapes: old and new, as JSON text, where they changed.
        figures: old and new of its own, those of `ROW_FIGURES` that both reports know.
        is_renamed: its own name is another one, or it is in another module; whatever else changed.
    """

    old_path: str | None
    new_path: str | None
    class_name: str
    depth: int
    size: int
    state: str
    attributes: Mapping[str, tuple[Any, Any]]
    output_shapes: tuple[str, str] | None
    figures: Mapping[str, tuple[int, int]]
    is_renamed: bool = False

    @property
    def path(self) -> str:
        """Where it is, or was."""
        return self.new_path if self.new_path is not None else self.old_path or ""

    def difference(self, figure: str) -> int:
        """By how much its own figure grew."""
        old, new = self.figures[figure]
        return new - old

    @property
    def is_consequence(self) -> bool:
        """Whether it only passes on other sizes, and is the same module otherwise."""
        if self.state != "changed" or self.attributes or self.is_renamed:
            return False
        return not any(self.difference(name) for name in ("params", "trainable_params", "macs"))

    @property
    def differences(self) -> dict[str, int]:
        """The figures of its own that changed, and by how much."""
        return {name: new - old for name, (old, new) in self.figures.items() if new != old}


@dataclass(frozen=True, slots=True)
class Diff(Printed):
    """From an old report to a new one.

    Attributes:
        names: what the user calls the old and the new one.
        old, new: the cases.
        not_comparable: conventions that differ, old and new: differences are of the rules then.
        totals: every total that one of them has.
        changes: every module of both, each before those in it; removed ones where they were.
        uncounted_ops: ops without a rule that run another number of times, old and new.
    """

    names: tuple[str, str]
    old: Case
    new: Case
    not_comparable: Mapping[str, tuple[int | None, int | None]]
    totals: tuple[Total, ...]
    changes: tuple[Change, ...]
    uncounted_ops: Mapping[str, tuple[int, int]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs in totals, modules and uncounted ops."""
        return not (
            self.uncounted_ops
            or self.not_comparable
            or any(total.old != total.new for total in self.totals)
            or any(change.state != "same" for change in self.changes)
        )

    def total(self, name: str) -> Total:
        """The total of that name."""
        return next((total for total in self.totals if total.name == name), Total(name, None, None))

    @property
    def case_differences(self) -> dict[str, tuple[Any, Any]]:
        """The parts of the case that differ, old and new; arguments and assumptions one by one."""
        old, new = _flat(asdict(self.old)), _flat(asdict(self.new))
        return _differences(old, new)


def compare(old: Report, new: Report, names: tuple[str, str] = ("old", "new")) -> Diff:
    """What changed from `old` to `new`, which the user calls by those names."""
    numbers = Numbers()
    figures = [name for name in ROW_FIGURES if name in old.totals and name in new.totals]
    before, after = tree(old, figures, numbers), tree(new, figures, numbers)
    return Diff(
        names=names,
        old=old.case,
        new=new.case,
        not_comparable=_differences(old.convention, new.convention),
        totals=tuple(
            Total(name, old.totals.get(name), new.totals.get(name))
            for name in (*TOTALS, *MEMORY_TOTALS, *GENERATION_TOTALS)
            if name in old.totals or name in new.totals
        ),
        changes=tuple(_changes(before, after)),
        uncounted_ops={
            op: (old.uncounted_ops.get(op, 0), new.uncounted_ops.get(op, 0))
            for op in sorted({*old.uncounted_ops, *new.uncounted_ops})
            if old.uncounted_ops.get(op, 0) != new.uncounted_ops.get(op, 0)
        },
    )


def setting(value: Any) -> str:
    """The value of an attribute as people write it: sizes 2x2, none, true."""
    if isinstance(value, (list, tuple)) and value and all(type(each) is int for each in value):
        return "x".join(map(str, value))
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _changes(old: list[Module], new: list[Module]) -> list[Change]:
    """The modules of both in the order of the new model; removed ones before what followed them."""
    pairs = match(old, new)
    origin = {b: a for a, b in pairs.items()}
    removed: dict[int, list[int]] = {}  # after which old module they stood, by the old index of that one
    kept = 0
    for index in range(len(old)):
        if index in pairs:
            kept = index
        else:
            removed.setdefault(kept, []).append(index)
    changes: list[Change] = []
    for b, module in enumerate(new):
        a = origin.get(b)
        if a is None:
            changes.append(_one_sided(module, "added"))
            continue
        is_renamed = b > 0 and (pairs.get(old[a].parent or 0) != module.parent or old[a].name != module.name)
        changes.append(_change(old[a], module, is_renamed))
        changes += [_one_sided(old[gone], "removed") for gone in removed.get(a, ())]
    return changes


def _change(old: Module, new: Module, is_renamed: bool) -> Change:
    attributes = _differences(old.attributes, new.attributes)
    if old.class_name != new.class_name:
        attributes = {"class": (old.class_name, new.class_name), **attributes}
    if old.calls != new.calls:
        attributes["calls"] = (old.calls, new.calls)
    figures = {name: (old.figures[name], new.figures[name]) for name in new.figures}
    shapes = old.output_shapes, new.output_shapes
    is_changed = bool(attributes) or shapes[0] != shapes[1] or any(a != b for a, b in figures.values())
    return Change(
        old_path=old.path,
        new_path=new.path,
        class_name=new.class_name,
        depth=_depth(new),
        size=new.size,
        state="changed" if is_changed else "renamed" if is_renamed else "same",
        attributes=attributes,
        output_shapes=(_shapes(shapes[0]), _shapes(shapes[1])) if shapes[0] != shapes[1] else None,
        figures=figures,
        is_renamed=is_renamed,
    )


def _one_sided(module: Module, state: str) -> Change:
    is_new = state == "added"
    return Change(
        old_path=None if is_new else module.path,
        new_path=module.path if is_new else None,
        class_name=module.class_name,
        depth=_depth(module),
        size=module.size,
        state=state,
        attributes={},
        output_shapes=None,
        figures={name: (0, figure) if is_new else (figure, 0) for name, figure in module.figures.items()},
    )


def _depth(module: Module) -> int:
    return module.path.count(".") + 1 if module.path else 0


def _shapes(texts: list[str]) -> str:
    """The shapes of all calls, those that follow each other and are equal once."""
    return ", ".join(text for place, text in enumerate(texts) if place == 0 or texts[place - 1] != text)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*old, *(name for name in new if name not in old)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _flat(case: dict[str, Any]) -> dict[str, Any]:
    """A case with its arguments, inputs and assumptions one by one."""
    flat = {name: case[name] for name in ("model", "source", "batch", "mode", "dtype")}
    flat |= {f"argument {name}": json.dumps(value) for name, value in case["arguments"].items()}
    for place, given in enumerate(case["inputs"]):
        name = given["name"] or str(place) if len(case["inputs"]) > 1 else given["name"]
        flat[f"input {name}" if name else "input"] = f"{'x'.join(map(str, given['shape']))}:{given['dtype']}"
    return flat | {f"memory {name}": value for name, value in (case["memory"] or {}).items()}
