"""What is said of models side by side; `comparison_text` and `comparison_markdown` lay it out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelsum.baselines import comparison as sections
from modelsum.baselines.comparison import Comparison, Figure
from modelsum.baselines.reports.report import Case
from modelsum.render.figure_words import amount, label
from modelsum.render.summary.cells import shape
from modelsum.summary import Input
from modelsum.units import count

LARGEST, SMALLEST = "\u25b2", "\u25bc"
LEGEND = f"{LARGEST} largest, {SMALLEST} smallest"

_TITLES = {
    sections.TOTALS: "",
    sections.TORCHSUMMARY: "torchsummary convention, no prediction of memory",
    sections.GENERATION: "Generation",
    sections.PARAMS: "Params by kind of layer",
    sections.MACS: "MACs by kind of layer",
    sections.LAYERS: "Layers by kind",
}


class Cell(NamedTuple):
    """A figure of one model: its value, the ratio to the first model, and a mark if it stands out."""

    value: str
    ratio: str
    mark: str


def title(comparison: Comparison, section: str) -> str:
    """The heading of a section; empty for the first."""
    if section != sections.MEMORY:
        return _TITLES[section]
    memories = [case.memory for case in comparison.cases if case.memory and "target" in case.memory]
    shared = "" if "memory" in comparison.different_conditions else _memory(comparison.cases[0])
    return f"Memory {shared}".strip() if memories else ""


def _memory(case: Case) -> str:
    memory = case.memory or {}
    said = [f"for {memory.get('target', '')}", *(memory[k] for k in ("optimizer", "amp") if k in memory)]
    return ", ".join(said)


def figure_label(figure: Figure) -> str:
    """What a figure is called: a total's label, or the class of layers."""
    return figure.name if "kind" in figure.section else label(figure.name)


def cells(figure: Figure, digits: int | None = None) -> list[Cell]:
    """The figure of every model, in so many digits; a model without layers of a kind has a dash there."""
    is_kind = "kind" in figure.section
    return [
        Cell("-", "", "")
        if is_kind and not value
        else Cell(
            amount("" if is_kind else figure.name, value, digits),
            _ratio(ratio) if place else "",
            _mark(figure, place),
        )
        for place, (value, ratio) in enumerate(zip(figure.values, figure.ratios, strict=True))
    ]


def _ratio(ratio: float | None) -> str:
    """A multiple of the first: "x0.36", "x12.4", "x1,240"; "=" for the same."""
    if not ratio:
        return ""
    if ratio == 1:
        return "="
    if ratio < 0.005:
        return "x<0.01"
    digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
    return f"x{ratio:,.{digits}f}"


def _mark(figure: Figure, place: int) -> str:
    if place in figure.largest:
        return LARGEST
    return SMALLEST if place in figure.smallest else ""


def conditions(comparison: Comparison) -> Iterator[str]:
    """What the figures are of: the input and so on, one for all or the one of each model."""
    different = comparison.different_conditions
    said = {
        "inputs": "Input",
        "batch": "Batch",
        "mode": "Mode",
        "dtype": "Dtype",
        "memory": "Memory",
    }
    for name, what in said.items():
        if name in different:
            each = (
                f"{model}: {_condition(case, name)}"
                for model, case in zip(comparison.names, comparison.cases, strict=True)
            )
            yield f"{what} differs: {'; '.join(each)}"
        elif name != "memory":
            yield f"{what}: {_condition(comparison.cases[0], name)}"


def _condition(case: Case, name: str) -> str:
    if name == "inputs":
        return ", ".join(map(_input, case.inputs))
    if name == "memory":
        return _memory(case) if case.memory else "not known"
    if name == "batch":
        return "in the shapes as given" if case.batch is None else count(case.batch)
    return str(getattr(case, name))


def _input(given: Input) -> str:
    name = f"{given.name} " if given.name else ""
    return f"{name}{shape(given.shape)} {given.dtype}"


def uncounted(comparison: Comparison) -> list[str]:
    """For each model that has some, its ops without a rule."""
    return [
        f"{name}: {', '.join(f'{op} {count(times)} x' for op, times in ops.items())}"
        for name, ops in zip(comparison.names, comparison.uncounted_ops, strict=True)
        if ops
    ]
