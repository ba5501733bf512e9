"""The outcome as SARIF 2.1.0, a result a check, as GitHub's code scanning and editors read it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from modelsum.baselines.gate.verdict import Outcome, Place
from modelsum.render import RenderOptions
from modelsum.render.verdict.issues import Issue, issues
from modelsum.version import __version__

_LEVELS = {"error": "error", "warn": "warning", "note": "note"}
_ROOT = "%SRCROOT%"  # what readers take the checkout's folder for by convention

# What a rule is, by the state of the check.
_RULES = {
    "regressed": "grew by more than its tolerance",
    "over limit": "is above its limit",
    "changed": "is pinned, and is another one",
    "not comparable": "cannot be compared with its baseline",
    "orphan": "A baseline is of no check",
    "new": "A check has no baseline",
    "failed": "A model could not be built or run",
    "loosened": "A rule of the gate lets more pass than before",
}


def render(outcome: Outcome, options: RenderOptions) -> str:
    """A log of one run; without results where nothing broke a rule."""
    found = issues(outcome)
    rules = {_rule_id(issue): issue for issue in found}
    places = list(rules)
    run = {
        "tool": {
            "driver": {
                "name": "modelsum",
                "version": __version__,
                "rules": [_rule(name, issue) for name, issue in rules.items()],
            }
        },
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder of the checkout."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(issue, places.index(_rule_id(issue))) for issue in found],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _rule_id(issue: Issue) -> str:
    """State and figure: "regressed/macs", "over-limit/params", "failed"."""
    return "/".join(filter(None, (issue.state.replace(" ", "-"), issue.figure)))


def _rule(name: str, issue: Issue) -> dict[str, Any]:
    said = " ".join(filter(None, (issue.figure, _RULES[issue.state])))
    return {"id": name, "shortDescription": {"text": f"{said}."}}


def _result(issue: Issue, rule: int) -> dict[str, Any]:
    said = (issue.headline,) if issue.text == issue.headline else (issue.headline, issue.text)
    result = {
        "ruleId": _rule_id(issue),
        "ruleIndex": rule,
        "level": _LEVELS[issue.severity],
        "message": _message("\n".join(said)),
        "locations": [_location(issue.place)],
        # The name that GitHub reads; of the check and not of a line's text, so that it moves with the line.
        "partialFingerprints": {"primaryLocationLineHash": issue.fingerprint},
    }
    if issue.related:
        result["relatedLocations"] = [
            {"id": number, **_location(place), "message": _message(what)}
            for number, (place, what) in enumerate(issue.related, 1)
        ]
    return result


def _message(text: str) -> dict[str, str]:
    return {"text": text.replace("{", "{{").replace("}", "}}")}  # else they would be places for arguments


def _location(place: Place) -> dict[str, Any]:
    artifact = {"uri": quote(place.file), "uriBaseId": _ROOT}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": place.line}}}
