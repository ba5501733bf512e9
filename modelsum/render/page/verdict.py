"""The outcome of the gate as a page: every check with its verdict, and its figures beside their limits."""

from __future__ import annotations

from typing import Any

from modelsum.baselines.gate.verdict import Finding, Outcome, Standing, Verdict
from modelsum.render import RenderOptions
from modelsum.render.document import Block, Listed
from modelsum.render.page import Page, Section
from modelsum.render.verdict import words


def page(outcome: Outcome, options: RenderOptions) -> Page:
    """The page of an outcome."""
    failing = sum(verdict.fails for verdict in outcome.verdicts)
    sections = []
    if outcome.rules:
        rules: list[Block] = []
        for title, loosens in (("Loosened on this branch", True), ("Changed on this branch", False)):
            found = tuple(f"{title}: {rule}" for rule in outcome.rules if rule.loosens == loosens)
            rules += [Listed(found)] if found else []
        sections.append(Section("words", "rules", "Rules", words=rules, words_title="Rules", is_open=True))
    checks = [_verdict(verdict) for verdict in outcome.worst_first]
    sections.append(Section("verdicts", "checks", "Checks", {"checks": checks, "outcome": outcome}))
    return Page(
        title=f"modelsum check: {'failed' if failing else 'passed'}",
        about=[f"{words.totals(outcome)} (against {outcome.against})"],
        answer=[("Checks", str(len(outcome.verdicts)), f"{failing} failed")]
        + [(state, str(number), "") for state, number in outcome.counts.items()],
        sections=sections,
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    layers, more = words.layers(verdict, 40)
    return {
        "name": verdict.name,
        "state": verdict.state,
        "severity": verdict.severity,
        "reason": verdict.reason,
        "findings": [_finding(found) for found in verdict.findings],
        "accepted": [_finding(found) for found in verdict.accepted],
        "acceptance": verdict.acceptance,
        "limits": [_standing(each) for each in verdict.limits],
        "layers": [(path, ", ".join(said)) for path, said in layers],
        "more": more,
        "message": verdict.message,
        "remedy": words.ways_out(verdict),
        "place": f"{verdict.about.file}:{verdict.about.line}" if verdict.about.file else "",
    }


def _finding(found: Finding) -> tuple[str, str, str, str]:
    return found.figure, found.state, words.finding(found), words.rule(found)


def _standing(each: Standing) -> dict[str, Any]:
    """A bar of 100 for the limit, or as long as the figure where that is more."""
    share = each.share
    whole = max(share or 0.0, 1.0) * 1.04
    return {
        "figure": each.figure,
        "now": words.amount(each.now, each.is_bytes),
        "limit": words.amount(each.limit, each.is_bytes),
        "percent": "not known" if share is None else f"{100 * share:,.1f} %",
        "is_over": share is None or share > 1,
        "length": round(100 * (share or 0.0) / whole, 2),
        "at": round(100 / whole, 2),
    }
