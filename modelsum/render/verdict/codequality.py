"""The outcome as a GitLab Code Quality report: an issue for every figure that broke a rule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelsum.render.verdict import words

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Outcome, Place, Verdict

_SEVERITIES = {"error": "major", "warn": "minor", "note": "info"}


def render(outcome: Outcome) -> str:
    """A list of issues, the worst first; empty where nothing is to be said."""
    issues = [issue for verdict in outcome.worst_first for issue in _issues(verdict)]
    return json.dumps(issues, indent=2, ensure_ascii=False)


def _issues(verdict: Verdict) -> Iterator[dict[str, Any]]:
    for found in verdict.findings:
        if found.severity != "note":
            said = f"{verdict.name}: {found.figure} {found.state}: {words.finding(found)}"
            yield _issue(found.state, found.severity, said, found.place, verdict.name, found.figure)
    if verdict.reason:
        said = f"{verdict.name}: {verdict.state}: {verdict.reason}"
        yield _issue(verdict.state, verdict.severity, said, verdict.place, verdict.name, "")


def _issue(state: str, severity: str, said: str, place: Place, *identity: str) -> dict[str, Any]:
    # The same from run to run, whatever the figures are, so that GitLab tells a new issue from an old one.
    fingerprint = hashlib.sha256("\0".join((state, *identity)).encode()).hexdigest()
    return {
        "description": said.replace("\n", " "),
        "check_name": f"modelsum/{state.replace(' ', '-')}",
        "fingerprint": fingerprint,
        "severity": _SEVERITIES[severity],
        "location": {"path": place.file, "lines": {"begin": place.line}},
    }
