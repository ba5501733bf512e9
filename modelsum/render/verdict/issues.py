"""What a list of issues says of an outcome: one for every check that there is something to say of.

However many figures a change moves, it is one change in one place, and one issue with all of them in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from modelsum.baselines.gate.verdict import Outcome, Place, RuleChange, Verdict
from modelsum.render.verdict import words


class Issue(NamedTuple):
    """Something to look at.

    Attributes:
        state: of the check: "regressed", "over limit", ...; "loosened" for a rule.
        figure: the worst one, or empty.
        severity: "error", "warn" or "note".
        place: the line that it is about.
        headline: it in short.
        text: all of it, a line each.
        related: other lines that have to do with it, and what they are.
        fingerprint: the same from run to run, whatever the figures are and wherever the line has moved to.
    """

    state: str
    figure: str
    severity: str
    place: Place
    headline: str
    text: str
    related: tuple[tuple[Place, str], ...]
    fingerprint: str


def issues(outcome: Outcome) -> list[Issue]:
    """The issues of an outcome, the worst first; none where nothing broke a rule."""
    found = [_of_check(verdict) for verdict in outcome.worst_first if _is_one(verdict)]
    return found + [_of_rule(rule) for rule in outcome.loosened]


def _is_one(verdict: Verdict) -> bool:
    return verdict.severity != "note" or verdict.state in ("new", "orphan")


def _of_check(verdict: Verdict) -> Issue:
    worst = next((f for f in verdict.findings if f.state == verdict.state), None)
    return Issue(
        verdict.state,
        worst.figure if worst else "",
        verdict.severity,
        verdict.about,
        words.headline(verdict),
        "\n".join(words.in_full(verdict)),
        tuple(_related(verdict)),
        _fingerprint(verdict.state, verdict.name),
    )


def _related(verdict: Verdict) -> Iterator[tuple[Place, str]]:
    said = {verdict.about}
    for found in verdict.findings:
        if found.severity != "note" and found.place.file and found.place not in said:
            said.add(found.place)
            what = "limit" if found.state == "over limit" else "baseline"
            yield found.place, f"{found.figure}: its {what}"


def _of_rule(rule: RuleChange) -> Issue:
    text = f"This branch loosens its own gate: {rule}"
    identity = _fingerprint("loosened", rule.check, rule.rule)
    return Issue("loosened", "", "warn", rule.place, text, text, (), identity)


def _fingerprint(*identity: str) -> str:
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()
