"""The outcome as GitHub-flavoured Markdown, for a step summary or a pull request's comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelsum.render.verdict import words

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Finding, Outcome, Verdict

#: The first line, invisible when rendered: by it a job finds the comment of its last run, to replace it.
MARKER = "<!-- modelsum check -->"

#: Layers named under a verdict; how many more there are is said.
LAYERS = 20

_MARKS = {"error": "❌", "warn": "⚠️", "note": "✅"}


def render(outcome: Outcome) -> str:
    """A table of all checks, then a section for each that there is more to say of, the worst first."""
    failing = sum(verdict.fails for verdict in outcome.verdicts)
    verb = f"{failing} of {len(outcome.verdicts)} failed" if failing else "passed"
    blocks = [MARKER, f"### modelsum check: {verb}"]
    if outcome.verdicts:
        head = ["| | Check | Verdict | Figure | Before | Now | Change |", "|---|---|---|---|---:|---:|---:|"]
        blocks.append("\n".join([*head, *(row for v in outcome.worst_first for row in _rows(v))]))
    for verdict in outcome.worst_first:
        if lines := "\n".join(_section(verdict)).strip("\n"):
            blocks.append(f"#### {_plain(verdict.name)}: {verdict.state}\n\n{lines}")
    if outcome.rules:
        blocks.append("#### Changed on this branch\n\n" + "\n".join(f"- {_plain(r)}" for r in outcome.rules))
    blocks.append(f"{words.totals(outcome)} (against {_plain(outcome.against)})")
    return "\n\n".join(blocks)


def _rows(verdict: Verdict) -> Iterator[str]:
    first = [_MARKS[verdict.severity], f"`{verdict.name}`", verdict.state]
    for found in verdict.findings or verdict.accepted:
        yield _row([*first, found.figure, *_figures(found)])
        first = ["", "", ""]
    if not (verdict.findings or verdict.accepted):
        yield _row([*first, "", "", "", ""])


def _figures(found: Finding) -> list[str]:
    old = found.most if found.state == "over limit" else found.old
    change = "" if old is None or found.new is None else words.change(old, found.new)
    before = words.amount(old, found.is_bytes)
    return [
        f"limit {before}" if found.state == "over limit" else before,
        words.amount(found.new, found.is_bytes),
        change,
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _section(verdict: Verdict) -> Iterator[str]:
    if verdict.reason:
        yield f"{_plain(verdict.reason)}\n"
    for found in verdict.findings:
        if rule := words.rule(found):
            yield f"- {found.figure}: {_plain(rule)}"
    if verdict.accepted:
        yield f"The figures are {_plain(verdict.acceptance)}.\n"
    if verdict.causes:
        yield "\n| Layer | Change |\n|---|---|"
        for layer in verdict.causes[:LAYERS]:
            yield _row([f"`{layer.path or '(root)'}`", _plain(words.cause(layer))])
        if (more := len(verdict.causes) - LAYERS) > 0:
            yield f"\nand {more} more"
    for said in (verdict.message, words.ways_out(verdict)):
        if said:
            yield f"\n{_plain(said)}"


def _plain(text: str) -> str:
    """The text with what Markdown would take for a tag or for emphasis marked as plain; code stays code."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("\n", "<br>")
