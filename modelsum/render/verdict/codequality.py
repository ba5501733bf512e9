"""The outcome as a GitLab Code Quality report: an issue a check."""

from __future__ import annotations

import json
from typing import Any

from modelsum.baselines.gate.verdict import Outcome
from modelsum.render import RenderOptions
from modelsum.render.verdict.issues import Issue, issues

_SEVERITIES = {"error": "major", "warn": "minor", "note": "info"}


def render(outcome: Outcome, options: RenderOptions) -> str:
    """A list of issues, the worst first; empty where nothing is to be said."""
    return json.dumps(list(map(_issue, issues(outcome))), indent=2, ensure_ascii=False)


def _issue(issue: Issue) -> dict[str, Any]:
    text = "" if issue.text == issue.headline else f": {'; '.join(issue.text.splitlines())}"
    return {
        "description": issue.headline + text,
        "check_name": f"modelsum/{issue.state.replace(' ', '-')}",
        "fingerprint": issue.fingerprint,
        "severity": _SEVERITIES[issue.severity],
        "location": {"path": issue.place.file, "lines": {"begin": issue.place.line}},
    }
