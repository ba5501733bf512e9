"""A diff as a page: the layers that changed, and both models as icicles of one scale and the same colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelsum.baselines.changes.changes import Change, Diff
from modelsum.baselines.changes.folding import Line, lines
from modelsum.render import RenderOptions
from modelsum.render.diff import words
from modelsum.render.diff.document import totals
from modelsum.render.figure_words import amount, change, label, percent
from modelsum.render.page import Page, Section
from modelsum.render.page.columns import tree
from modelsum.repeats import Place, equal_blocks, placed

# Figures that icicles are sized by, as a page calls them, and as a diff does.
_FIGURES = {
    "macs": ("MACs", "macs"),
    "params": ("Parameters", "params"),
    "saved": ("Saved for backward", "saved_for_backward_bytes"),
}


def page(diff: Diff, options: RenderOptions) -> Page:
    """The page of a diff."""
    cause = words.cause(diff)
    return Page(
        title=f"{diff.names[0]} \N{RIGHTWARDS ARROW} {diff.names[1]}",
        about=words.case(diff),
        answer=list(_answer(diff)),
        sections=list(_sections(diff)),
        notices=[f"Biggest cause: {cause}"] if cause else [],
    )


def _answer(diff: Diff) -> Iterator[tuple[str, str, str]]:
    names = ("params", "macs", "saved_for_backward_bytes", "inference_peak_bytes", "training_peak_bytes")
    for total in diff.totals:
        if total.name in names and total.new is not None:
            share = percent(total.share)
            moved = f"{change(total.name, total.difference)} {share}".strip()
            old, new = (amount(total.name, each, 4) for each in (total.old, total.new))
            yield label(total.name), moved if total.difference else "unchanged", f"{old} to {new}"


def _sections(diff: Diff) -> Iterator[Section]:
    known = {name: own for name, (_, own) in _FIGURES.items() if own in diff.changes[0].figures}
    old, new = (_Side(diff, known, side) for side in (0, 1))
    figures = [name for name in known if old.total(name) or new.total(name)]
    changed = [line for line in lines(diff) if line.state != "same" and not line.is_consequence]
    most = max((abs(line.differences.get("macs", 0)) for line in changed), default=0)
    data = {
        "lines": [_line(line, most) for line in changed],
        "none": words.NO_LAYER,
        "consequences": words.consequences([line for line in lines(diff) if line.is_consequence]),
        "figures": [(name, _FIGURES[name][0]) for name in figures],
        "names": diff.names,
        "models": [old.columns(new), new.columns(old)],
    }
    yield Section("changes", "changes", "Layers that changed", data)
    yield Section(
        "words", "totals", "Totals", words=list(totals(diff)), words_title="Every total", is_open=True
    )


def _line(line: Line, most: int) -> dict[str, Any]:
    path, kind = words.layer(line)
    macs = line.differences.get("macs", 0)
    return {
        "state": line.state,
        "path": path,
        "kind": kind,
        "paths": [line.change.old_path, line.change.new_path],
        "params": change("params", line.differences.get("params", 0)),
        "macs": change("macs", macs),
        "bar": [round(50 + min(50.0 * macs / most, 0.0), 2), round(50.0 * abs(macs) / most, 2)]
        if most
        else [50, 0],
        "grew": macs > 0,
        "what": ", ".join(words.details(line)),
    }


class _Side:
    """One of the two models: its modules, each after the one that it is in."""

    def __init__(self, diff: Diff, figures: dict[str, str], side: int) -> None:
        self._figures, self._side = figures, side
        self._title = diff.names[side]
        by_path = {path: c for c in diff.changes if (path := _path(c, side)) is not None}
        inside: dict[str, list[str]] = {}
        for path in by_path:
            if path:
                inside.setdefault(_above(path, by_path), []).append(path)
        self.changes: list[Change] = []
        self._parents: list[int | None] = []
        self.numbers: dict[int, int] = {}  # by the identity of a change, its place
        pending: list[tuple[str, int | None]] = [("", None)]
        while pending:
            path, parent = pending.pop()
            number = len(self.changes)
            self.numbers[id(by_path[path])] = number
            self.changes.append(by_path[path])
            self._parents.append(parent)
            pending += ((each, number) for each in reversed(inside.get(path, [])))
        self.sums = {name: self._summed(own) for name, own in figures.items()}

    def total(self, name: str) -> int:
        return self.sums[name][0]

    def _summed(self, own: str) -> list[int]:
        """Of every module what is its own and of those in it."""
        sums = [change.figures[own][self._side] for change in self.changes]
        for number in range(len(sums) - 1, 0, -1):
            parent = self._parents[number]
            assert parent is not None
            sums[parent] += sums[number]
        return sums

    def columns(self, other: _Side) -> dict[str, Any]:
        """As `modelsum.render.page.columns` has a summary; `change` is by how much all in a module grew."""
        modules = [
            (_path(change, self._side) or "", self._class(change), parent)
            for change, parent in zip(self.changes, self._parents, strict=True)
        ]
        sign = 1 if self._side else -1
        grown = {
            name: [
                sign * (sums[number] - other.sums[name][other.numbers[id(change)]])
                if id(change) in other.numbers
                else sign * sums[number]
                for number, change in enumerate(self.changes)
            ]
            for name, sums in self.sums.items()
        }
        own = {
            name: [change.figures[figure][self._side] for change in self.changes]
            for name, figure in self._figures.items()
        }
        places = []
        for number, (path, class_name, parent) in enumerate(modules):
            name, is_inside = placed(path, None if parent is None else modules[parent][0])
            figures = tuple((own[each][number], grown[each][number]) for each in own)
            alike = (class_name, self.changes[number].state, figures)
            places.append(Place(parent, name, is_inside, alike))
        return {
            "title": self._title,
            **tree(modules, equal_blocks(places)),
            "shape": [0] * len(modules),
            "shapes": [""],
            "figures": list(own),
            "own": own,
            "change": grown,
            "marks": {str(n): c.state for n, c in enumerate(self.changes) if c.state != "same"},
        }

    def _class(self, change: Change) -> str:
        old, new = change.attributes.get("class", (change.class_name, change.class_name))
        return str(new if self._side else old)


def _path(change: Change, side: int) -> str | None:
    return change.new_path if side else change.old_path


def _above(path: str, known: dict[str, Any] | Sequence[str]) -> str:
    """The nearest module that a path is in."""
    above = path.rpartition(".")[0]
    while above and above not in known:
        above = above.rpartition(".")[0]
    return above
