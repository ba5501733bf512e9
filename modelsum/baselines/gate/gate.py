"""A check, its baseline and what the model costs now -> a Verdict. Nothing is read or run here.

A figure fails that grew by more than its tolerance, that is above its limit, or that is pinned and changed.
A check that could not be compared fails too: a gate that never compared must not be green.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from modelsum.baselines.configuration.checks import Check
from modelsum.baselines.figures import FIGURES
from modelsum.baselines.gate.causes import causes, largest
from modelsum.baselines.gate.comparable import incomparable
from modelsum.baselines.gate.stored import Stored
from modelsum.baselines.gate.verdict import SEVERITIES, STATES, Finding, Place, Standing, Verdict
from modelsum.baselines.quantity import Tolerance
from modelsum.baselines.reports.report import Report
from modelsum.errors import ModelsumError

#: Twice the MACs: what there is to say of it, they say. A limit may name it all the same.
DERIVED = ("flops",)
#: Figures that usually move together with another one, and are then not said twice.
FOLLOWS = {"trainable_params": "params", "param_bytes": "params", "first_step_peak": "training_peak"}


def judge(
    check: Check,
    stored: Stored | None,
    fresh: Report | ModelsumError,
    *,
    config_file: str,
    source: Place | None = None,
    strict: bool = False,
    base: Stored | None = None,
) -> Verdict:
    """What is to be said of a check.

    Args:
        stored: its baseline; None where there is none.
        fresh: what the model costs now, or why it could not be built or run.
        config_file: what the configuration is called, for the places of limits.
        source: where the model is defined; by default where the check names it.
        strict: a check without a baseline fails.
        base: the baseline at the revision that the branch started from, where that is asked for. What the
            branch changed in the baseline is accepted and said; a baseline that it removed still counts.
    """
    place = Place(config_file, check.line())
    source = source or Place(config_file, check.line("model"))
    verdict = Verdict(check.name, "ok", place=place, source=source)
    if isinstance(fresh, ModelsumError):
        return dataclasses.replace(
            verdict,
            state="failed",
            severity="error",
            reason=fresh.message,
            remedy=fresh.hint or "",
            exit_code=fresh.exit_code,
        )
    limits = tuple(
        Standing(name, FIGURES[name].is_bytes, figure(fresh, name), limit)
        for name, limit in check.limits.items()
    )
    verdict = dataclasses.replace(verdict, limits=limits)
    findings = list(_over_limits(check, limits, config_file))
    before = stored or base
    if before is None or (difference := incomparable(before, fresh)):
        verdict = _with(verdict, check, findings)
        verdict = dataclasses.replace(verdict, causes=largest(fresh, [f.figure for f in findings]))
        if before is None:
            return _new(verdict, strict)
        return _not_comparable(verdict, before, difference)
    assert before.report is not None  # incomparable has said so of another schema
    findings += [
        found
        if stored
        else dataclasses.replace(found, place=place)  # the base's file is not here to point at
        for found in _compared(check, before, before.report, fresh)
    ]
    verdict = _with(verdict, check, findings)
    moved = [f.figure for f in verdict.findings if f.old != f.new and f.state != "over limit"]
    over = [f.figure for f in verdict.findings if f.state == "over limit"]
    return dataclasses.replace(
        verdict,
        causes=causes(before.report, fresh, moved) or largest(fresh, over),
        **accepted(base, stored, "accepted on this branch"),
    )


def updated(verdict: Verdict, old: Stored | None, new: Stored, spoiled: str = "") -> Verdict:
    """The verdict on a check whose baseline was just stored, with what that changed.

    Args:
        spoiled: what was wrong with the old one, where it could not be read.
    """
    if old is None:
        anew = f"; the old one could not be read, {spoiled}" if spoiled else ""
        return dataclasses.replace(verdict, reason=verdict.reason or f"stored in {new.file}{anew}")
    changes = accepted(old, new, f"stored in {new.file}")
    if changes:
        return dataclasses.replace(verdict, **changes)
    return dataclasses.replace(verdict, reason=verdict.reason or f"stored in {new.file}, no figure changed")


def orphan(stored_name: str, file: str, *, strict: bool) -> Verdict:
    """What is to be said of a baseline without a check."""
    return Verdict(
        stored_name,
        "orphan",
        "error" if strict else "note",
        reason=f"{file} is the baseline of no check: was the check renamed or removed?",
        remedy="Rename the file with the check, or remove it: `modelsum check --prune`.",
        place=Place(file),
    )


def pruned(stored_name: str, file: str) -> Verdict:
    """What is to be said of a baseline without a check that was just removed."""
    return dataclasses.replace(
        orphan(stored_name, file, strict=False), reason=f"{file} is removed", remedy=""
    )


def accepted(old: Stored | None, new: Stored | None, by: str) -> dict[str, Any]:
    """What was changed in a baseline on purpose, figure by figure: those fields of a Verdict."""
    if old is None or new is None or old.report is None or new.report is None:
        return {}
    moved = tuple(
        _finding(name, "ok", "note", was, now, new.place(name))
        for name, was, now in _pairs(old.report, new.report)
        if was is not None and now is not None and was != now and not _follows(name, old.report, new.report)
    )
    return {"accepted": moved, "acceptance": by} if moved else {}


def figures(report: Report) -> dict[str, int | None]:
    """Every figure of a report, by its name in a configuration; None for what it does not know."""
    return {name: figure(report, name) for name in FIGURES}


def figure(report: Report, name: str) -> int | None:
    """A figure of a report by its name in a configuration."""
    return sum(report.uncounted_ops.values()) if name == "uncounted_ops" else report.figure(name)


# ---- findings


def _over_limits(check: Check, limits: Iterable[Standing], config_file: str) -> Iterator[Finding]:
    for name, _, now, limit in map(dataclasses.astuple, limits):
        if now is None or now > limit:
            place = Place(config_file, check.line(f"limits.{name}"))
            yield _finding(name, "over limit", _severity(check, name), None, now, place, most=limit)


def _compared(check: Check, before: Stored, old: Report, fresh: Report) -> Iterator[Finding]:
    for name, was, now in _pairs(old, fresh):
        place, severity = before.place(name), _severity(check, name)
        if now is None:
            yield _finding(
                name, "not comparable", severity, was, None, place, rule="it is not known any more"
            )
        elif was is None:
            yield _finding(name, "new", "note", None, now, place, rule="the baseline does not have it")
        elif name == "uncounted_ops":
            yield from _uncounted(old, fresh, severity, place)
        elif now != was and (_has_rule(check, name) or not _follows(name, old, fresh)):
            yield _moved(check, name, was, now, place)


def _moved(check: Check, name: str, was: int, now: int, place: Place) -> Finding:
    tolerance = check.tolerance.get(name, Tolerance())
    most = was + tolerance.allowance(was)
    pinned = name in check.pin
    rules = []
    if name in check.tolerance:
        rules.append(f"tolerance {tolerance.words(is_bytes=FIGURES[name].is_bytes)}")
    if pinned:
        rules.append("pinned")
    rule = " and ".join(rules)
    if pinned and abs(now - was) > most - was:
        return _finding(name, "changed", _severity(check, name), was, now, place, most=most, rule=rule)
    if now > most:
        return _finding(name, "regressed", _severity(check, name), was, now, place, most=most, rule=rule)
    return _finding(name, "improved" if now < was else "ok", "note", was, now, place, rule=rule)


def _has_rule(check: Check, name: str) -> bool:
    return name in check.tolerance or name in check.pin or name in check.severity


def _follows(name: str, old: Report, fresh: Report) -> bool:
    """Whether a figure moved just as the one that it follows."""
    if name not in FOLLOWS:
        return False
    was, now = figure(old, name), figure(fresh, name)
    before, after = figure(old, FOLLOWS[name]), figure(fresh, FOLLOWS[name])
    if was is None or now is None or before is None or after is None or before == after:
        return False
    return was * after == now * before or now - was == after - before


def _uncounted(old: Report, fresh: Report, severity: str, place: Place) -> Iterator[Finding]:
    """More ops without a rule than before, even of one kind alone: the other figures may be too low."""
    more = {op: n for op, n in fresh.uncounted_ops.items() if n > old.uncounted_ops.get(op, 0)}
    was, now = (sum(report.uncounted_ops.values()) for report in (old, fresh))
    if more:
        ops = ", ".join(f"{op} {old.uncounted_ops.get(op, 0)} => {n}" for op, n in sorted(more.items()))
        rule = f"they do arithmetic that MACs do not have: {ops}"
        yield _finding("uncounted_ops", "regressed", severity, was, now, place, rule=rule)
    elif now < was:
        yield _finding("uncounted_ops", "improved", "note", was, now, place)


def _finding(
    name: str, state: str, severity: str, old: int | None, new: int | None, place: Place, **others: Any
) -> Finding:
    return Finding(name, FIGURES[name].is_bytes, state, severity, old, new, place=place, **others)


def _severity(check: Check, figure: str) -> str:
    return check.severity.get(figure, "error")


def _pairs(old: Report, new: Report) -> Iterator[tuple[str, int | None, int | None]]:
    before, after = figures(old), figures(new)
    for name in FIGURES:
        if name not in DERIVED and (before[name], after[name]) != (None, None):
            yield name, before[name], after[name]


# ---- states


def _with(verdict: Verdict, check: Check, findings: list[Finding]) -> Verdict:
    """The verdict with findings, the worst first, and the state and severity of the worst."""
    ordered = sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), STATES.index(f.state)))
    red = bool(ordered) and ordered[0].severity != "note"
    if red:
        state, severity = ordered[0].state, ordered[0].severity
    else:
        state, severity = "improved" if any(f.state == "improved" for f in ordered) else "ok", "note"
    return dataclasses.replace(
        verdict,
        state=state,
        severity=severity,
        findings=tuple(ordered),
        message=check.message or "" if red else "",
    )


def _new(verdict: Verdict, strict: bool) -> Verdict:
    said = dataclasses.replace(
        verdict,
        reason="there is no baseline to compare with",
        remedy=f"Store what it costs now: `modelsum check --update {verdict.name}`, and commit the file.",
    )
    if verdict.severity == "error":
        return said  # over a limit, which is worse
    return dataclasses.replace(said, state="new", severity="error" if strict else "note")


def _not_comparable(verdict: Verdict, before: Stored, difference: str) -> Verdict:
    worst = verdict if verdict.severity == "error" else dataclasses.replace(verdict, state="not comparable")
    return dataclasses.replace(
        worst,
        severity="error",
        reason=f"{before.file} cannot be compared with: {difference}",
        remedy=f"If that is meant, store it anew: `modelsum check --update {verdict.name}`.",
    )
