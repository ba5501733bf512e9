"""The outcome as GitHub-flavoured Markdown, for a step summary or a pull request's comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from modelsum.baselines.gate.verdict import Finding, Outcome, Verdict
from modelsum.render import RenderOptions
from modelsum.render.layout import bar
from modelsum.render.verdict import words

#: The first line, invisible when rendered: by it a job finds the comment of its last run, to replace it.
MARKER = "<!-- modelsum check -->"

#: Layers named under a verdict; how many more there are is said.
LAYERS = 20

#: Characters of a figure's bar.
BAR = 20
_EMPTY = "\u2591"

_MARKS = {"error": "❌", "warn": "⚠️", "note": "✅"}
_CODE = re.compile(r"(`[^`\n]+`)")
_SPECIAL = re.compile(r"([\\`*_\[\]~])")


def render(outcome: Outcome, options: RenderOptions) -> str:
    """A table of all checks, then a section for each that there is more to say of, the worst first."""
    failing = sum(verdict.fails for verdict in outcome.verdicts)
    verb = f"{failing} of {len(outcome.verdicts)} failed" if failing else "passed"
    blocks = [MARKER, f"### modelsum check: {verb}"]
    if outcome.loosened:
        blocks += [f"#### {_MARKS['warn']} Loosened on this branch", _list(outcome.loosened)]
    if outcome.verdicts:
        head = ["| | Check | Verdict | Figure | Before | Now | Change |", "|---|---|---|---|---:|---:|---:|"]
        blocks.append("\n".join([*head, *(row for v in outcome.worst_first for row in _rows(v))]))
    for verdict in outcome.worst_first:
        if lines := "\n".join(_section(verdict)).strip("\n"):
            blocks.append(f"#### {_plain(verdict.name)}: {verdict.state}\n\n{lines}")
    if limits := [row for verdict in outcome.verdicts for row in _limits(verdict)]:
        blocks += [
            "#### Figures beside their limits",
            "\n".join(["| Check | Figure | Now | Limit | |", "|---|---|---:|---:|:---|", *limits]),
        ]
    if others := [rule for rule in outcome.rules if not rule.loosens]:
        blocks += ["#### Changed on this branch", _list(others)]
    blocks.append(f"{words.totals(outcome)} (against {_plain(outcome.against)})")
    return "\n\n".join(blocks)


def _rows(verdict: Verdict) -> Iterator[str]:
    first = [_MARKS[verdict.severity], f"`{verdict.name}`", verdict.state]
    for found in verdict.findings or verdict.accepted:
        yield _row([*first, _plain(found.figure), *_figures(found)])
        first = ["", "", ""]
    if not (verdict.findings or verdict.accepted):
        yield _row([*first, "", "", "", ""])


def _figures(found: Finding) -> list[str]:
    limited = found.state == "over limit"
    old = found.most if limited else found.old
    before = words.amount(old, found.is_bytes)
    return [
        f"limit {before}" if limited else before,
        words.amount(found.new, found.is_bytes),
        "" if old is None or found.new is None else words.change(old, found.new, found.is_bytes),
    ]


def _limits(verdict: Verdict) -> Iterator[str]:
    for each in verdict.limits:
        now, limit = (words.short_amount(n, each.is_bytes) for n in (each.now, each.limit))
        share = each.share
        said = "" if share is None else f"`{bar(share, BAR).replace(' ', _EMPTY)}` {100 * share:,.1f} %"
        mark = f" {_MARKS['error']}" if share is not None and share > 1 else ""
        yield _row([f"`{verdict.name}`", _plain(each.figure), now, limit, f"{said}{mark}"])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _list(lines: Iterable[object]) -> str:
    return "\n".join(f"- {_plain(str(line))}" for line in lines)


def _section(verdict: Verdict) -> Iterator[str]:
    if verdict.reason:
        yield _fenced(verdict.reason) if verdict.state == "failed" else f"{_plain(verdict.reason)}\n"
    for found in verdict.findings:
        if rule := words.rule(found):
            yield f"- {_plain(f'{found.figure}: {rule}')}"
    if verdict.accepted:
        yield f"The figures are {_plain(verdict.acceptance)}.\n"
    layers, more = words.layers(verdict, LAYERS)
    if layers:
        yield "\n| Layer | Change |\n|---|---|"
    for path, changes in layers:
        yield _row([f"`{path}`", _plain(", ".join(changes))])
    if more:
        yield f"\nand {more} more"
    if verdict.message:
        yield f"\n{verdict.message}"  # the project's own words, which may have a link
    if ways := words.ways_out(verdict):
        yield f"\n{_plain(ways)}"


def _plain(text: str) -> str:
    """The text, with what Markdown would take for a tag, emphasis or a link marked as plain; code stays."""
    parts = _CODE.split(text)
    parts[::2] = map(_escaped, parts[::2])
    return "".join(parts).replace("\n", "<br>")


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


def _fenced(text: str) -> str:
    """A model's own words, as they are; whom or what they mention is not mentioned."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n"
