"""The outcome as people read it: a line a check, and under it what is to be said of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelsum.render.verdict import words

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Finding, Outcome, Verdict

#: Layers named under a verdict; how many more there are is said.
LAYERS = 10

_WIDTH = 80
_COLORS = {"error": "31", "warn": "33"}


def render(outcome: Outcome, color: bool = False) -> str:
    """Every check in the order of the configuration, and the count."""
    width = max((len(v.name) for v in outcome.verdicts), default=0)
    said = [line for verdict in outcome.verdicts for line in lines(verdict, width, color)]
    if outcome.rules:
        said += ["", "Changed on this branch:", *(f"  {rule}" for rule in outcome.rules)]
    return "\n".join([*said, "", f"{words.totals(outcome)} (against {outcome.against})"])


def lines(verdict: Verdict, width: int = 0, color: bool = False) -> list[str]:
    """A verdict: its state on the first line, then what is to be said of it."""
    return list(_lines(verdict, width, color))


def _lines(verdict: Verdict, width: int, color: bool) -> Iterator[str]:
    state = verdict.state + (" (warning)" if verdict.severity == "warn" else "")
    if color and (code := _COLORS.get(verdict.severity)):
        state = f"\033[{code}m{state}\033[0m"
    yield f"{verdict.name:<{width}}  {state}"
    yield from _wrapped(verdict.reason)
    yield from _findings(verdict.findings, verdict.state)
    if verdict.accepted:
        yield f"  {verdict.acceptance}:"
        yield from (f"  {line}" for line in _findings(verdict.accepted, "ok"))
    if verdict.causes:
        yield "  layers behind it:"
        yield from (
            f"    {layer.path or '(root)'}: {words.cause(layer)}" for layer in verdict.causes[:LAYERS]
        )
        if more := len(verdict.causes) - LAYERS:
            yield from [f"    and {more} more"] if more > 0 else []
    yield from _wrapped(verdict.message)
    yield from _wrapped(words.ways_out(verdict))


def _findings(findings: tuple[Finding, ...], state: str) -> Iterator[str]:
    width = max((len(f.figure) for f in findings), default=0)
    for found in findings:
        other = "" if found.state in (state, "ok", "over limit") else f"{found.state}: "
        yield f"  {found.figure:<{width}}  {other}{words.finding(found)}"
        if rule := words.rule(found):
            yield f"  {'':<{width}}  ({rule})"


def _wrapped(text: str) -> list[str]:
    wrapped = []
    for line in text.splitlines():
        wrapped += textwrap.wrap(
            line,
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return wrapped
