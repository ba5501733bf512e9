"""What a branch changed in the rules of its own gate, and which of it lets more pass than before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from modelsum.baselines.configuration.checks import FIELDS, SEVERITIES, Check
from modelsum.baselines.configuration.config import Config
from modelsum.baselines.figures import FIGURES, amount
from modelsum.baselines.gate.verdict import Place, RuleChange
from modelsum.baselines.quantity import Tolerance
from modelsum.memory.options import MemoryOptions


def changed(old: Config, new: Config, file: str) -> Iterator[RuleChange]:
    """Every rule that is another one now, in the order of the new checks; `file` is what theirs is called."""
    before = {check.name: check for check in old.checks}
    if before and old.reports != new.reports:
        yield RuleChange("", "the folder of baselines", _arrow(old.reports, new.reports), False, Place(file))
    for check in new.checks:
        if check.name in before:
            yield from _Pair(before.pop(check.name), check, file).changes()
        else:
            yield RuleChange(check.name, "the check", "is new", False, Place(file, check.line()))
    for name in before:
        yield RuleChange(name, "the check", "is gone", True, Place(file))


@dataclass(frozen=True, slots=True)
class _Pair:
    """A check before and now."""

    old: Check
    new: Check
    file: str

    def changes(self) -> Iterator[RuleChange]:
        old, new = self.old, self.new
        yield from self._entries("limits", "limit of", amount, _higher_limit)
        yield from self._entries("tolerance", "tolerance of", _tolerance, _wider)
        yield from self._entries("severity", "severity of", lambda _, severity: severity, _less_severe)
        if old.budget != new.budget:
            yield self._change("budget", _arrow(old.budget, new.budget), old.budget is not None, "budget")
        for figure in old.pin:
            if figure not in new.pin:
                yield self._change(figure, "is not pinned any more", True, "pin")
        for figure in new.pin:
            if figure not in old.pin:
                yield self._change(figure, "is pinned", False, "pin")
        # What it measures: where that is another thing, figures within their limits say nothing of the old.
        for key, field in FIELDS.items():
            was, now = getattr(old.request, field), getattr(new.request, field)
            if was != now:
                yield self._change(key, _arrow(_words(key, was), _words(key, now)), True, key)
        yield from self._step()

    def _entries(
        self,
        key: str,
        what: str,
        said: Callable[[str, Any], str],
        looser: Callable[[Any, Any], bool],
    ) -> Iterator[RuleChange]:
        """The changes of a table by figure; `looser` is given the old and the new entry, None for none."""
        old: Mapping[str, Any] = getattr(self.old, key)
        new: Mapping[str, Any] = getattr(self.new, key)
        for figure in {**old, **new}:
            was, now = old.get(figure), new.get(figure)
            if was != now:
                words = ("none" if entry is None else said(figure, entry) for entry in (was, now))
                yield self._change(f"{what} {figure}", _arrow(*words), looser(was, now), f"{key}.{figure}")

    def _step(self) -> Iterator[RuleChange]:
        """The changes of the training step that memory is predicted for."""
        old, new = self.old.request.memory, self.new.request.memory
        if old is None or new is None:
            if old != new:
                said = "is not predicted any more" if new is None else "is predicted"
                yield self._change("memory", said, new is None, "memory")
            return
        for key in (field.name for field in fields(MemoryOptions)):
            was, now = getattr(old, key), getattr(new, key)
            if was != now:
                yield self._change(key, _arrow(_words(key, was), _words(key, now)), True, key)

    def _change(self, rule: str, change: str, loosens: bool, key: str) -> RuleChange:
        return RuleChange(self.new.name, rule, change, loosens, Place(self.file, self.new.line(key)))


def _higher_limit(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def _wider(old: Tolerance | None, new: Tolerance | None) -> bool:
    """Whether there is a figure that may grow by more than before."""
    was, now = old or Tolerance(), new or Tolerance()
    return now.share > was.share or now.absolute > was.absolute


def _less_severe(old: str | None, new: str | None) -> bool:
    return SEVERITIES.index(new or "error") > SEVERITIES.index(old or "error")


def _tolerance(figure: str, tolerance: Tolerance) -> str:
    return tolerance.words(is_bytes=FIGURES[figure].is_bytes)


def _arrow(old: object, new: object) -> str:
    return f"{old} => {new}"


def _words(key: str, value: object) -> object:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value)) or None
    if value is None:
        return "none" if key in ("batch", "amp", "checkpoint", "freeze") else "default"
    return value
