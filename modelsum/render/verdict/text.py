"""The outcome as people read it, at most 80 columns wide: a line a check, and under it what is to be said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelsum.baselines.gate.verdict import Finding, Outcome, RuleChange, Verdict
from modelsum.render import RenderOptions
from modelsum.render.layout import WIDTH, painted, wrapped
from modelsum.render.verdict import table, words

_NO_BREAK = "\u00a0"
_COLORS = {"error": "red", "warn": "yellow"}


def render(outcome: Outcome, options: RenderOptions) -> str:
    """Every check in the order of the configuration, the rules that were changed, and the count."""
    width = max((len(v.name) for v in outcome.verdicts), default=0)
    said = [line for verdict in outcome.verdicts for line in lines(verdict, width, options.color)]
    loosened = painted("Loosened on this branch", _COLORS["warn"] if options.color else "")
    said += _rules(loosened, outcome.loosened)
    said += _rules("Changed on this branch", (rule for rule in outcome.rules if not rule.loosens))
    return "\n".join([*said, "", *wrapped(f"{words.totals(outcome)} (against {outcome.against})", WIDTH, 2)])


def lines(verdict: Verdict, width: int = 0, color: bool = False) -> Iterator[str]:
    """A verdict: its state on the first line, then what is to be said of it."""
    state = verdict.state + (" (warning)" if verdict.severity == "warn" else "")
    style = _COLORS.get(verdict.severity, "") if color else ""
    yield f"{verdict.name:<{width}}  {painted(state, style)}"
    yield from _wrapped(verdict.reason)
    yield from _figures(verdict.findings, verdict.state, "  ")
    if verdict.accepted:
        yield f"  {verdict.acceptance}:"
        yield from _figures(verdict.accepted, "ok", "    ")
    layers, more = words.layers(verdict)
    if layers:
        yield "  layers behind it:"
    for path, said in layers:
        whole = ", ".join(part.replace(" ", _NO_BREAK) for part in said)
        yield from (line.replace(_NO_BREAK, " ") for line in wrapped(f"{path}: {whole}", WIDTH, 6, first=4))
    if more:
        yield f"    and {more} more"
    yield from _wrapped(verdict.message)
    yield from _wrapped(words.ways_out(verdict))


def _rules(title: str, rules: Iterable[RuleChange]) -> list[str]:
    said = [line for rule in rules for line in _wrapped(str(rule), 4)]
    return ["", f"{title}:", *said] if said else []


def _figures(findings: tuple[Finding, ...], state: str, indent: str) -> Iterator[str]:
    def note(found: Finding, inner: str) -> list[str]:
        other = "" if found.state in (state, "ok", "over limit") else found.state
        said = ", ".join(filter(None, (other, words.rule(found))))
        return wrapped(f"({said})", WIDTH, len(inner) + 1, first=len(inner)) if said else []

    return table.lines(findings, indent, WIDTH, note)


def _wrapped(text: str, further: int = 2) -> list[str]:
    return [line for each in text.splitlines() for line in wrapped(each, WIDTH, further, first=2)]
