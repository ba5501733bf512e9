"""`assert_cost`: a model's cost as an assertion, for a project's own tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from modelsum import api
from modelsum.baselines.figures import FIGURES, of_summary
from modelsum.baselines.quantity import Bound, parse_bound
from modelsum.errors import UsageError, did_you_mean
from modelsum.memory.options import MemoryOptions
from modelsum.summary import Layer, Summary
from modelsum.units import count

if TYPE_CHECKING:
    from torch import nn

#: Layers named in a failure.
LAYERS = 5


def assert_cost(model: nn.Module | str, *inputs: Any, **expected: Any) -> Summary:
    """Assert what a model costs.

        >>> assert_cost("resnet50", input_size=(3, 224, 224), params="<= 26 M", macs="== 4089184256")
        <Summary of resnet50: 25,557,032 params, 4,089,184,256 MACs>

    Args:
        model: a module, or any MODEL string of the command line.
        *inputs: the positional arguments of its forward, as for `summarize`.
        **expected: a bound for a figure: a number or text like "<= 26 M", "== 4089184256", "< 9 GiB"; an
            amount alone is an upper bound. Figures are those of a check's limits: params, macs,
            training_peak, ... The other keywords are those of `summarize`. Memory is predicted where a bound
            needs it.

    Returns:
        The summary, for further assertions.

    Raises:
        AssertionError: with every broken bound, exact and relative, and the layers that cost the most.
        UsageError, ModelError: as `summarize`; also where nothing is asserted.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    asserted = {name: expected.pop(name) for name in tuple(expected) if name in FIGURES}
    _check_options(expected, asserted)
    bounds = {name: parse_bound(value, is_bytes=FIGURES[name].is_bytes) for name, value in asserted.items()}
    expected.setdefault("memory", any(FIGURES[name].of_memory for name in bounds))
    summary = api.summarize(model, *inputs, **expected)
    if broken := broken_bounds(summary, bounds):
        raise AssertionError("\n".join((f"{summary!r} costs too much or too little", *broken)))
    return summary


def broken_bounds(summary: Summary, bounds: Mapping[str, Bound]) -> list[str]:
    """What is to be said of the bounds that do not hold, in lines; none where all do."""
    figures = of_summary(summary)
    lines = []
    for name, bound in bounds.items():
        found = figures[name]
        unit = " B" if FIGURES[name].is_bytes else ""
        if found is None:
            lines.append(f"  {name} is not known{_why_unknown(summary)}, and has to be {bound}{unit}")
        elif not bound.holds(found):
            difference = f"{found - bound.amount:+,}"
            share = f", {100 * (found - bound.amount) / bound.amount:+.2f}%" if bound.amount else ""
            lines.append(f"  {name} {count(found)}{unit} is not {bound}{unit} ({difference}{share})")
            lines += [*_parts(summary, name), *_largest(summary, name)]
    return lines


def _check_options(given: Mapping[str, Any], asserted: Mapping[str, Any]) -> None:
    parameters = inspect.signature(api.summarize).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    options |= {field.name for field in fields(MemoryOptions)} | {"foreach", "fused"}
    for name in given:
        if name not in options:
            hint = did_you_mean(name, [*FIGURES, *options]) or f"Figures are {', '.join(FIGURES)}."
            raise UsageError(f"{name!r} is neither a figure nor an option", hint)
    if not asserted:
        raise UsageError("nothing is asserted", 'Give a bound: params="<= 26 M".')


def _why_unknown(summary: Summary) -> str:
    return f" ({summary.notices[-1]})" if summary.notices else ""


def _largest(summary: Summary, figure: str) -> list[str]:
    """The layers with the most of a figure, largest first; none where it is not known by layer."""
    share = _BY_LAYER.get(figure)
    if share is None:
        return []
    ranked = sorted(((share(summary, layer), layer) for layer in summary.layers), key=lambda pair: -pair[0])
    unit = " B saved for backward" if share is _saved else ""
    return [
        f"    {layer.path or '(root)'} ({layer.class_name}): {count(n)}{unit}"
        for n, layer in ranked[:LAYERS]
        if n
    ]


def _parts(summary: Summary, figure: str) -> list[str]:
    """What a peak of memory is made of, largest first; none for other figures."""
    memory = summary.memory
    peaks = {
        "inference_peak": memory and memory.inference,
        "training_peak": memory and memory.training,
        "first_step_peak": memory and memory.first_step,
    }
    if not (peak := peaks.get(figure)):
        return []
    parts = sorted(peak.parts.items(), key=lambda part: -part[1])
    made_of = ", ".join(f"{name.replace('_', ' ')} {count(n)}" for name, n in parts if n)
    at = f" at {peak.module}" if peak.module else ""
    return [f"    in the {peak.phase}{at}: {made_of}"]


def _params(_: Summary, layer: Layer) -> int:
    return layer.counted_params


def _macs(_: Summary, layer: Layer) -> int:
    return layer.own_macs


def _saved(summary: Summary, layer: Layer) -> int:
    module = summary.memory.modules.get(layer.path) if summary.memory and layer.call <= 1 else None
    return module.own_saved_bytes if module else 0


_BY_LAYER: dict[str, Callable[[Summary, Layer], int]] = {
    "params": _params,
    "trainable_params": lambda _, layer: layer.own_trainable_params,
    "param_bytes": _params,
    "macs": _macs,
    "flops": _macs,
    "saved_for_backward": _saved,
    "training_peak": _saved,
    "first_step_peak": _saved,
    "reserved": _saved,
}
