"""What is said of a diff, in plain words; `diff_text` and `diff_markdown` lay it out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelsum.baselines.changes.changes import Change, Diff, Total, setting
from modelsum.baselines.changes.folding import Line
from modelsum.baselines.changes.reasons import biggest
from modelsum.render.figure_words import amount, change, is_bytes, label, percent
from modelsum.render.summary.cells import shape
from modelsum.units import count

#: Totals that are shown whether they changed or not.
ALWAYS = ("params", "macs")
#: What differs at every layer if the rules of counting do.
NOT_COMPARABLE = "counted by other rules, so that differences may be of the rules"
NO_LAYER = "No layer changed."

_MARKS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">", "same": "="}
_NAMED = 3  # layers named as the biggest cause


def totals(diff: Diff) -> list[tuple[str, str, str, str, str]]:
    """Label, old, new, difference and share of the totals that changed, and of `ALWAYS`."""
    return [
        (
            label(total.name),
            amount(total.name, total.old),
            amount(total.name, total.new),
            change(total.name, total.difference),
            percent(total.share),
        )
        for total in diff.totals
        if total.old != total.new or total.name in ALWAYS
    ]


def unchanged(diff: Diff) -> str:
    """The totals that did not change."""
    names = [t for t in diff.totals if t.old == t.new and t.name not in ALWAYS and t.new]
    return ", ".join(_in_sentence(total) for total in names)


def _in_sentence(total: Total) -> str:
    name = label(total.name)
    return name[0].lower() + name[1:]


def case(diff: Diff) -> list[str]:
    """How the cases differ, and the rules of counting."""
    said = [f"{name}: {_said(old)} -> {_said(new)}" for name, (old, new) in diff.case_differences.items()]
    rules = [
        f"{name} {_said(old)} -> {_said(new)}: {NOT_COMPARABLE}"
        for name, (old, new) in diff.not_comparable.items()
    ]
    return said + rules


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)


def mark(line: Line) -> str:
    """One character for what happened: + - ~ > =."""
    return _MARKS[line.state]


def layer(line: Line) -> tuple[str, str]:
    """Path and class of a line: "layer3.[6-22]", "17 x Bottleneck"."""
    times = f"{count(line.times)} x " if line.times > 1 else ""
    kind = line.class_name or ("modules" if line.times > 1 else "")
    return line.path, f"{times}{kind}"


def details(line: Line) -> list[str]:
    """What changed besides params and MACs: its name, its settings, its output, its sizes."""
    said = []
    if line.old_path is not None:
        said.append(f"was {line.old_path}")
    if line.size > 1 and line.state in ("added", "removed", "changed"):
        said.append(f"{count(line.size)} modules" + (" each" if line.times > 1 else ""))
    alone = line.size == 1
    if alone:
        said += [_attribute(name, old, new) for name, (old, new) in line.change.attributes.items()]
    if alone and not line.change.attributes and line.times == 1 and line.change.output_shapes:
        old, new = line.change.output_shapes
        said.append(f"output {_shapes(old)} -> {_shapes(new)}")
    sizes = {n: d for n, d in line.differences.items() if is_bytes(n)}
    if not any(line.differences.get(name) for name in ALWAYS):
        said += [f"{label(name).lower()} {change(name, size)}" for name, size in sizes.items()]
    return said


def _attribute(name: str, old: Any, new: Any) -> str:
    return f"{name} {setting(old)} -> {setting(new)}"


def _shapes(texts: str) -> str:
    return shape(_tuples(json.loads(f"[{texts}]"))).removeprefix("(").removesuffix(")") or "none"


def _tuples(tree: Any) -> Any:
    """A shape tree as JSON has it, with tuples again for tensors."""
    if isinstance(tree, dict):
        return {name: _tuples(each) for name, each in tree.items()}
    if isinstance(tree, list):
        is_tensor = all(isinstance(size, int) for size in tree)
        return tuple(tree) if is_tensor and tree else [_tuples(each) for each in tree]
    return tree


def consequences(lines: Sequence[Line]) -> str:
    """The lines that only pass on other sizes, together; empty for none."""
    if not lines:
        return ""
    sums: Counter[str] = Counter()
    for line in lines:
        sums.update(line.differences)
    number = sum(line.times for line in lines)
    said = [f"{label(name).lower()} {change(name, size)}" for name, size in sums.items() if size]
    what = "module only passes on another size" if number == 1 else "modules only pass on other sizes"
    return f"{count(number)} more {what}" + (f": {', '.join(said)}" if said else "")


def uncounted(diff: Diff) -> str:
    """The ops without a rule that run another number of times; empty for none."""
    return ", ".join(f"{op} {count(a)} -> {count(b)}" for op, (a, b) in diff.uncounted_ops.items())


def cause(diff: Diff) -> str:
    """The last line: what the figure that changed most comes from; empty where no layer changed it."""
    reason = biggest(diff)
    if reason is None:
        return ""
    number, first = len(reason.changes), reason.changes[0]
    what = f"{count(number)} x {first.class_name}" if number > 1 else first.class_name
    if first.state in ("added", "removed"):
        what += f" {first.state}"
    elif reason.attributes:
        said = [name if pair is None else _attribute(name, *pair) for name, pair in reason.attributes.items()]
        what = f"{', '.join(said)} of {what}"
    else:
        what += " with another input"
    figure = reason.figure
    unit = "" if is_bytes(figure) else f" {label(figure) if figure == 'macs' else label(figure).lower()}"
    size = f"{change(figure, reason.difference)}{unit}"
    if is_bytes(figure):
        size = f"{label(figure).lower()} {size}"
    share = f", {reason.share:.0%} of the change" if reason.share is not None and reason.share <= 1 else ""
    return f"{what} ({_named(reason.changes)}): {size}{share}"


def _named(changes: Sequence[Change]) -> str:
    """Their paths, the first and the last of a list, or some of many."""
    paths = [change_.path or "the root" for change_ in changes]
    if len(paths) <= _NAMED:
        return ", ".join(paths)
    places = {path.rpartition(".")[0] for path in paths}
    if len(places) == 1 and changes[0].state in ("added", "removed"):
        return f"{paths[0]} to {paths[-1].rpartition('.')[2]}"
    return f"{', '.join(paths[: _NAMED - 1])} and {count(len(paths) - _NAMED + 1)} more"
