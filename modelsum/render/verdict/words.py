"""What is said of a verdict, in plain words; `verdict_text`, `verdict_markdown` and the rest lay it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsum.units import count

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Cause, Finding, Outcome, Verdict


def amount(figure: int | None, is_bytes: bool) -> str:
    """A figure, exact: "4,089,184,256", bytes with their unit; a dash where it is not known."""
    if figure is None:
        return "-"
    return f"{count(figure)} B" if is_bytes else count(figure)


def change(old: int, new: int) -> str:
    """How much a figure changed: "+231,211,008, +5.99%"; no share of nothing."""
    difference = f"{new - old:+,}"
    return f"{difference}, {percent(old, new)}" if old else difference


def percent(old: int, new: int) -> str:
    """The change as a share of the old figure, signed: "+5.99%"."""
    share = 100 * (new - old) / old
    if share and abs(share) < 0.01:
        return f"{'-' if share < 0 else '+'}<0.01%"
    return f"{share:+.2f}%"


def finding(found: Finding) -> str:
    """One figure in one line, exact and relative: "3,857,973,248 => 4,089,184,256 [+231,211,008, +5.99%]"."""
    old, new = (amount(figure, found.is_bytes) for figure in (found.old, found.new))
    if found.new is None:
        limit = "" if found.most is None else f", and the limit is {amount(found.most, found.is_bytes)}"
        return f"not known{limit}" if found.old is None else f"{old} => not known"
    if found.state == "over limit" and found.most is not None:
        limit = amount(found.most, found.is_bytes)
        return f"{new} > limit {limit} [{change(found.most, found.new)}]"
    if found.old is None:
        return new
    return f"{old} => {new} [{change(found.old, found.new)}]"


def rule(found: Finding) -> str:
    """The rule that a figure broke, and what it would have let pass; empty where none was."""
    if found.state == "over limit" or not found.rule:
        return found.rule
    if found.most is None:
        return found.rule
    return f"{found.rule}: up to {amount(found.most, found.is_bytes)} passes"


def cause(layer: Cause) -> str:
    """What a layer has to do with it: "macs +77,070,336, stride 2x2 => 1x1"."""
    differences = ", ".join(f"{name} {n:+,}" for name, n in layer.differences.items())
    return ", ".join(filter(None, (differences, layer.what)))


def ways_out(verdict: Verdict) -> str:
    """What to do about a verdict: make it cheaper, or accept it on purpose; empty where it is fine."""
    if verdict.remedy:
        return verdict.remedy
    states = {f.state for f in verdict.findings if f.severity != "note"}
    ways = []
    if states & {"regressed", "changed"}:
        ways.append(f"accept it with `modelsum check --update {verdict.name}`")
    if "over limit" in states:
        place = verdict.findings[0].place
        where = next((f.place for f in verdict.findings if f.state == "over limit"), place)
        ways.append(f"raise the limit in {where.file}:{where.line}")
    if ways:
        return f"Fix the model, or {' and '.join(ways)}."
    if verdict.state == "improved":
        return f"Keep the gain: `modelsum check --update {verdict.name}`."
    return ""


def headline(verdict: Verdict) -> str:
    """A verdict in one line: "resnet50: regressed (macs +5.99%)", the worst figure for all."""
    worst = next(iter(verdict.findings), None)
    if worst is None or worst.state != verdict.state:
        return f"{verdict.name}: {verdict.state}"
    reference = worst.most if worst.state == "over limit" else worst.old
    share = f" {percent(reference, worst.new)}" if reference and worst.new is not None else ""
    return f"{verdict.name}: {verdict.state} ({worst.figure}{share})"


def totals(outcome: Outcome) -> str:
    """How many checks are in which state: "10 checks: 1 regressed, 9 ok"."""
    number = len(outcome.verdicts)
    said = ", ".join(f"{n} {state}" for state, n in outcome.counts.items())
    return f"{number} check{'' if number == 1 else 's'}: {said or 'nothing to check'}"
