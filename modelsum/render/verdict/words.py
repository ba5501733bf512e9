"""What is said of a verdict, in plain words; the formats lay it out."""

from __future__ import annotations

from collections.abc import Iterator

from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.verdict import Cause, Finding, Outcome, Verdict
from modelsum.units import binary_bytes, count, exact_bytes, short_count

#: Layers named under a verdict; how many more there are is said.
LAYERS = 10


def amount(figure: int | None, is_bytes: bool) -> str:
    """A figure, exact: "4,089,184,256", "82,737,664 B (78.90 MiB)"; a dash where it is not known."""
    if figure is None:
        return "-"
    return exact_bytes(figure) if is_bytes else count(figure)


def short_amount(figure: int | None, is_bytes: bool) -> str:
    """A figure in a few digits: "4.089 G", "78.90 MiB"; a dash where it is not known."""
    if figure is None:
        return "-"
    return binary_bytes(figure) if is_bytes else short_count(figure)


def signed(difference: int, is_bytes: bool) -> str:
    """A difference with its sign: "+231,211,008", "+4,931,584 B (+4.70 MiB)"."""
    sign = "+" if difference >= 0 else ""
    return f"{sign}{amount(difference, is_bytes)}".replace("(", f"({sign}")


def change(old: int, new: int, is_bytes: bool) -> str:
    """How much a figure changed: "+231,211,008, +5.99%"; no share of nothing."""
    return ", ".join(filter(None, (signed(new - old, is_bytes), percent(old, new))))


def percent(old: int, new: int) -> str:
    """The change as a share of the old figure, signed: "+5.99%"; empty where there was none."""
    if not old:
        return ""
    share = 100 * (new - old) / old
    if share and abs(share) < 0.01:
        return f"{'-' if share < 0 else '+'}<0.01%"
    return f"{share:+,.2f}%"


def finding(found: Finding) -> str:
    """One figure in one line, exact and relative: "3,857,973,248 => 4,089,184,256 [+231,211,008, +5.99%]"."""
    old, new = (amount(figure, found.is_bytes) for figure in (found.old, found.new))
    if found.new is None:
        limit = "" if found.most is None else f", and the limit is {amount(found.most, found.is_bytes)}"
        return f"not known{limit}" if found.old is None else f"{old} => not known"
    if found.state == "over limit" and found.most is not None:
        limit = amount(found.most, found.is_bytes)
        return f"{new} > limit {limit} [{change(found.most, found.new, found.is_bytes)}]"
    if found.old is None:
        return new
    return f"{old} => {new} [{change(found.old, found.new, found.is_bytes)}]"


def rule(found: Finding) -> str:
    """The rule that a figure broke, and what it would have let pass; empty where none was."""
    if found.state == "over limit" or not found.rule or found.most is None:
        return found.rule
    return f"{found.rule}: up to {amount(found.most, found.is_bytes)} passes"


def cause(layer: Cause) -> tuple[str, ...]:
    """What a layer has to do with it: "stride 2x2 => 1x1", "macs +77,070,336"."""
    differences = (f"{name} {signed(n, FIGURES[name].is_bytes)}" for name, n in layer.differences.items())
    return (layer.what, *differences) if layer.what else tuple(differences)


def layers(verdict: Verdict, most: int = LAYERS) -> tuple[list[tuple[str, tuple[str, ...]]], int]:
    """The layers behind a verdict, each with what it has to do with it, and how many more there are."""
    shown = [(layer.path or "(root)", cause(layer)) for layer in verdict.causes[:most]]
    return shown, max(len(verdict.causes) - most, 0)


def in_full(verdict: Verdict) -> Iterator[str]:
    """All that is to be said of a verdict below its headline, a line each, for where nothing is aligned."""
    if verdict.reason:
        yield verdict.reason
    for found in verdict.findings:
        other = "" if found.state in (verdict.state, "ok", "over limit") else f"{found.state}: "
        note = f" ({said})" if (said := rule(found)) else ""
        yield f"{found.figure} {other}{finding(found)}{note}"
    for found in verdict.accepted:
        yield f"{verdict.acceptance}: {found.figure} {finding(found)}"
    shown, more = layers(verdict)
    for path, changes in shown:
        yield f"layer {path}: {', '.join(changes)}"
    if more:
        yield f"and {more} more layers"
    stored = next((f.place for f in verdict.findings if f.state in ("regressed", "changed")), None)
    if stored is not None and stored.file:
        yield f"The baseline is {stored.file}:{stored.line}."
    yield from filter(None, (verdict.message, ways_out(verdict)))


def ways_out(verdict: Verdict) -> str:
    """What to do about a verdict: make it cheaper, or accept it on purpose; empty where it is fine."""
    if verdict.remedy:
        return verdict.remedy
    states = {f.state for f in verdict.findings if f.severity != "note"}
    ways = []
    if states & {"regressed", "changed"}:
        ways.append(f"accept it with `modelsum check --update {verdict.name}`")
    limit = next((f.place for f in verdict.findings if f.state == "over limit"), None)
    if limit is not None:
        ways.append(f"raise the limit in {limit.file}:{limit.line}")
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
