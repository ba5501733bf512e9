"""Models side by side: every figure of each, and its ratio to the first one's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from modelsum.baselines.reports.report import GENERATION_TOTALS, MEMORY_TOTALS, Case, Report
from modelsum.plain import plain, plain_fields
from modelsum.printing import Printed
from modelsum.summary import SCHEMA_VERSION

#: Sections and what they are of, in the order in which they are shown.
TOTALS, TORCHSUMMARY, MEMORY, GENERATION = "totals", "torchsummary", "memory", "generation"
PARAMS, MACS, LAYERS = "params by kind", "MACs by kind", "layers by kind"
SECTIONS = (TOTALS, TORCHSUMMARY, MEMORY, GENERATION, PARAMS, MACS, LAYERS)

# Containers say how a model is written down, not what it is made of.
_CONTAINERS = frozenset(("Sequential", "ModuleList", "ModuleDict"))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of several models.

    Attributes:
        section: of `SECTIONS`.
        name: a total's name, or the class of layers.
        values: one a model; None where it is not known.
    """

    DERIVED: ClassVar = ("ratios",)

    section: str
    name: str
    values: tuple[int | None, ...]

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Each value as a multiple of the first; None where one is not known or the first is 0."""
        first = self.values[0]
        return tuple(None if value is None or not first else value / first for value in self.values)

    @property
    def largest(self) -> frozenset[int]:
        """The places of the largest value; none where all are the same."""
        return self._places(max)

    @property
    def smallest(self) -> frozenset[int]:
        """The places of the smallest value; none where all are the same."""
        return self._places(min)

    def _places(self, choose: Callable[[list[int]], int]) -> frozenset[int]:
        known = [value for value in self.values if value is not None]
        if len(set(known)) < 2:
            return frozenset()
        chosen = choose(known)
        return frozenset(place for place, value in enumerate(self.values) if value == chosen)


@dataclass(frozen=True, slots=True)
class Comparison(Printed):
    """Several models.

    Attributes:
        names: what the user calls them.
        cases: what was counted of each.
        figures: section by section; those that are 0 or not known for all are left out.
        uncounted_ops: of each model, its ops without a rule and how often they ran.
    """

    names: tuple[str, ...]
    cases: tuple[Case, ...]
    figures: tuple[Figure, ...]
    uncounted_ops: tuple[Mapping[str, int], ...]

    def section(self, name: str) -> list[Figure]:
        """The figures of a section."""
        return [figure for figure in self.figures if figure.section == name]

    @property
    def different_conditions(self) -> tuple[str, ...]:
        """Of "inputs", "batch", "mode", "dtype" and "memory" those that are not the same for all models."""
        return tuple(
            name
            for name in ("inputs", "batch", "mode", "dtype", "memory")
            if any(_condition(case, name) != _condition(self.cases[0], name) for case in self.cases)
        )

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values, schema version 1; figures and ratios in the order of the models."""
        models = zip(self.names, self.cases, self.uncounted_ops, strict=True)
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "comparison",
            "models": [
                {"name": n, "case": plain(case), "uncounted_ops": plain(ops)} for n, case, ops in models
            ],
            "different_conditions": list(self.different_conditions),
            "figures": [
                plain_fields(figure)
                | {"largest": self._named(figure.largest), "smallest": self._named(figure.smallest)}
                for figure in self.figures
            ],
        }

    def _named(self, places: Iterable[int]) -> list[str]:
        return [self.names[place] for place in sorted(places)]


def compare_models(names: Sequence[str], reports: Sequence[Report]) -> Comparison:
    """The models of these reports side by side, the first one as the reference."""
    return Comparison(
        names=tuple(names),
        cases=tuple(report.case for report in reports),
        figures=tuple(figure for figure in _figures(reports) if any(figure.values)),
        uncounted_ops=tuple(report.uncounted_ops for report in reports),
    )


def _figures(reports: Sequence[Report]) -> Iterator[Figure]:
    totals = [report.totals for report in reports]

    def total(section: str, name: str) -> Figure:
        return Figure(section, name, tuple(each.get(name) for each in totals))

    yield from (total(TOTALS, name) for name in ("params", "trainable_params"))
    frozen = tuple(each["params"] - each["trainable_params"] for each in totals)
    yield Figure(TOTALS, "frozen_params", frozen)
    yield from (total(TOTALS, n) for n in ("packed_params", "param_bytes", "buffers", "buffer_bytes", "macs"))
    yield Figure(TOTALS, "flops", tuple(2 * each["macs"] for each in totals))
    yield from (total(TOTALS, name) for name in ("input_bytes", "module_calls"))
    yield from _torchsummary(totals)
    yield from (total(MEMORY, name) for name in MEMORY_TOTALS)
    yield from (total(GENERATION, name) for name in GENERATION_TOTALS)
    yield from _by_kind(PARAMS, [_sums(report, "params") for report in reports])
    yield from _by_kind(MACS, [_sums(report, "macs") for report in reports])
    yield from _by_kind(LAYERS, [_layers(report) for report in reports])


def _torchsummary(totals: Sequence[Mapping[str, int]]) -> Iterator[Figure]:
    """That table's sizes: every parameter and every element of an input has 4 bytes."""
    params = tuple(4 * each["params"] for each in totals)
    outputs = tuple(each["forward_backward_bytes"] for each in totals)
    all_ = tuple(each["torchsummary_total_bytes"] for each in totals)
    inputs = tuple(whole - p - o for whole, p, o in zip(all_, params, outputs, strict=True))
    yield Figure(TORCHSUMMARY, "torchsummary_rows", tuple(each["torchsummary_rows"] for each in totals))
    yield Figure(TORCHSUMMARY, "torchsummary_input_bytes", inputs)
    yield Figure(TORCHSUMMARY, "forward_backward_bytes", outputs)
    yield Figure(TORCHSUMMARY, "torchsummary_params_bytes", params)
    yield Figure(TORCHSUMMARY, "torchsummary_total_bytes", all_)


def _sums(report: Report, figure: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in report.rows:
        sums[row.class_name] += getattr(row, figure)
    return sums


def _layers(report: Report) -> Counter[str]:
    """How many modules of each class there are, the root and containers left out."""
    classes = {row.path: row.class_name for row in report.rows if row.path}
    return Counter(name for name in classes.values() if name not in _CONTAINERS)


def _by_kind(section: str, models: Sequence[Mapping[str, int]]) -> Iterator[Figure]:
    """A figure a class, that with the most of all models together first."""
    together: Counter[str] = Counter()
    for model in models:
        together.update(model)
    for name, _ in sorted(together.items(), key=lambda item: (-item[1], item[0])):
        yield Figure(section, name, tuple(model.get(name, 0) for model in models))


_ASKED_FOR = ("target", "optimizer", "loss", "amp", "text")


def _condition(case: Case, name: str) -> object:
    """A part of a case; of the memory only what was asked for, not what followed from the model."""
    if name == "inputs":
        return tuple((given.shape, given.dtype) for given in case.inputs)
    if name == "memory":
        return {name: value for name, value in (case.memory or {}).items() if name in _ASKED_FOR}
    return getattr(case, name)
