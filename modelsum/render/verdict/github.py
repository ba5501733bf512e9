"""The outcome as workflow commands of GitHub Actions: annotations on the lines that the figures stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelsum.render.verdict import words
from modelsum.render.verdict.text import lines as text_lines

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Outcome, Place, Verdict

#: GitHub shows ten annotations of a kind for a step, and drops the rest.
MOST = 10

_COMMANDS = {"error": "error", "warn": "warning", "note": "notice"}


class _Annotation(NamedTuple):
    command: str
    place: Place
    title: str
    message: str

    def __str__(self) -> str:
        properties = f"file={_property(self.place.file)},line={self.place.line},title={_property(self.title)}"
        return f"::{self.command} {properties}::{_data(self.message)}"


def render(outcome: Outcome) -> str:
    """At most `MOST` annotations, the worst first; what has no room is counted in the last line."""
    annotations = [a for v in outcome.worst_first if (a := _annotation(v))]
    shown = [str(annotation) for annotation in annotations[:MOST]]
    more = len(annotations) - len(shown)
    rest = f"; {more} more have no annotation" if more else ""
    return "\n".join([*shown, _data(f"modelsum: {words.totals(outcome)} (against {outcome.against}){rest}")])


def _annotation(verdict: Verdict) -> _Annotation | None:
    if verdict.state == "ok" and verdict.severity == "note":
        return None
    worst = next(iter(verdict.findings), None)
    place = worst.place if worst is not None and worst.place.file else verdict.place
    message = "\n".join(text_lines(verdict)[1:]) or verdict.state
    return _Annotation(_COMMANDS[verdict.severity], place, f"modelsum {words.headline(verdict)}", message)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
