"""What a branch changed in the rules of its own gate: checks, limits, tolerances, pins, severities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.figures import FIGURES


def changed(old: tuple[Check, ...], new: tuple[Check, ...]) -> tuple[str, ...]:
    """A sentence for every rule that is another one now, in the order of the new checks."""
    return tuple(_changed({check.name: check for check in old}, {check.name: check for check in new}))


def _changed(old: Mapping[str, Check], new: Mapping[str, Check]) -> Iterator[str]:
    for name, check in new.items():
        if name not in old:
            yield f"{name}: the check is new"
            continue
        before = old[name]
        yield from _entries(name, "limit of", before.limits, check.limits, _amount)
        yield from _entries(name, "tolerance of", before.tolerance, check.tolerance, lambda _, t: str(t))
        yield from _entries(name, "severity of", before.severity, check.severity, lambda _, s: str(s))
        for figure in before.pin:
            if figure not in check.pin:
                yield f"{name}: {figure} is not pinned any more"
        for figure in check.pin:
            if figure not in before.pin:
                yield f"{name}: {figure} is pinned"
        yield from (f"{name}: {key} {was} => {now}" for key, was, now in _case(before, check))
    for name in old:
        if name not in new:
            yield f"{name}: the check is gone"


def _entries(
    name: str,
    what: str,
    old: Mapping[str, object],
    new: Mapping[str, object],
    said: Callable[[str, object], str],
) -> Iterator[str]:
    for figure in {**old, **new}:
        was, now = (said(figure, table[figure]) if figure in table else "none" for table in (old, new))
        if was != now:
            yield f"{name}: {what} {figure} {was} => {now}"


def _amount(figure: str, limit: object) -> str:
    return f"{limit:,}" + (" B" if FIGURES[figure].is_bytes else "")


def _case(old: Check, new: Check) -> Iterator[tuple[str, object, object]]:
    for key in (
        "model",
        "args",
        "input",
        "inputs_from",
        "seq_len",
        "batch",
        "mode",
        "device",
        "dtype",
        "target",
    ):
        was, now = getattr(old, key), getattr(new, key)
        if was != now:
            yield key, _words(was), _words(now)
    if old.memory != new.memory:
        yield "the training step", old.memory or "none", new.memory or "none"


def _words(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "default"
    return "default" if value is None else value
