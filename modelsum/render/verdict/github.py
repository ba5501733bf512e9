"""The outcome as workflow commands of GitHub Actions: annotations on the lines that define the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from modelsum.baselines.gate.verdict import Outcome, Place
from modelsum.render import RenderOptions
from modelsum.render.verdict import words

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


def render(outcome: Outcome, options: RenderOptions) -> str:
    """At most `MOST` annotations of a kind, the worst first; what has no room is counted in the last line."""
    shown: list[str] = []
    kinds, more = Counter[str](), 0
    for annotation in _annotations(outcome):
        kinds[annotation.command] += 1
        if kinds[annotation.command] <= MOST:
            shown.append(str(annotation))
        else:
            more += 1
    rest = f"; {more} more have no annotation" if more else ""
    return "\n".join([*shown, _data(f"modelsum: {words.totals(outcome)} (against {outcome.against}){rest}")])


def _annotations(outcome: Outcome) -> Iterator[_Annotation]:
    loosened = outcome.loosened
    if loosened:
        said = "\n".join(map(str, loosened))
        yield _Annotation("warning", loosened[0].place, "modelsum: this branch loosens its own gate", said)
    for verdict in outcome.worst_first:
        if (verdict.state, verdict.severity) != ("ok", "note"):
            message = "\n".join(words.in_full(verdict)) or verdict.state
            title = f"modelsum {words.headline(verdict)}"
            yield _Annotation(_COMMANDS[verdict.severity], verdict.about, title, message)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
