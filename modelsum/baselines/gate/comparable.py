"""Whether the figures of a baseline are those of the same thing as what was counted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelsum.baselines.gate.stored import Stored
from modelsum.baselines.reports.report import SCHEMA_VERSION, Report
from modelsum.summary import Input

# The assumptions of the memory figures that a check asks for; the others follow from the model.
_ASKED_FOR = (
    *("target", "loss", "optimizer", "gradients", "amp", "accumulate", "checkpoint", "freeze", "clip", "ema"),
    *("allocator", "mesh", "shard", "reshard", "wrap", "param dtype", "reduce dtype", "offload"),
    "parallelize",
)


def incomparable(before: Stored, fresh: Report) -> str:
    """Why figures of the baseline are not those of the same thing as the fresh ones; empty where they are."""
    old = before.report
    if old is None:
        return f"its schema is version {before.schema}, this modelsum has {SCHEMA_VERSION}"
    said = []
    for name in sorted({*old.convention, *fresh.convention}):
        was, now = old.convention.get(name), fresh.convention.get(name)
        if was != now:
            said.append(f"the convention of {name} is {was} there and {now} now")
    a, b = old.case, fresh.case
    if a.inputs != b.inputs:
        there, here = (", ".join(map(_input, case.inputs)) for case in (a, b))
        said.append(f"the input is {there} there and {here} now")
    for name in ("mode", "dtype"):
        there, here = getattr(a, name), getattr(b, name)
        if there != here:
            said.append(f"the {name} is {there} there and {here} now")
    return "; ".join((*said, *_memory_differences(a.memory, b.memory)))


def _input(given: Input) -> str:
    name = f"{given.name}=" if given.name else ""
    return f"{name}{'x'.join(map(str, given.shape)) or 'scalar'}:{given.dtype}"


def _memory_differences(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> Iterator[str]:
    if old is None or new is None:
        if old != new:
            there, here = ("known" if memory is not None else "not known" for memory in (old, new))
            yield f"the memory is {there} there and {here} now"
        return
    for name in _ASKED_FOR:
        was, now = old.get(name, "not set"), new.get(name, "not set")
        if was != now:
            yield f"the {name} of the memory figures is {was!r} there and {now!r} now"
