"""Why a figure changed: the changes that it comes from, those of one sort together, the largest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from modelsum.baselines.changes.changes import Change, Diff

#: In which order figures are looked at where several changed by the same share.
_FIGURES = ("macs", "params", "saved_for_backward_bytes", "forward_backward_bytes", "trainable_params")


@dataclass(frozen=True, slots=True)
class Reason:
    """Changes of one sort: blocks that came or went, or modules of which the same attributes changed.

    Attributes:
        figure: of `modelsum.baselines.reports.report.ROW_FIGURES`.
        difference: by how much it grew through these changes.
        share: of everything that the figure grew by; None where that is 0, as when changes cancel out.
        changes: in the order of the model; for a block that came or went the change of its outermost module.
    """

    figure: str
    difference: int
    share: float | None
    changes: tuple[Change, ...]

    @property
    def attributes(self) -> dict[str, tuple[object, object] | None]:
        """What changed in their configuration; None for a value that is not the same for all of them."""
        first = self.changes[0].attributes
        return {
            name: pair if all(c.attributes[name] == pair for c in self.changes) else None
            for name, pair in first.items()
        }


def reasons(diff: Diff, figure: str) -> list[Reason]:
    """The reasons why a figure changed, the largest first; reasons that cancel out are among them."""
    found: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    amounts: dict[tuple[object, ...], int] = defaultdict(int)
    block: Change | None = None  # the added or removed one that the following changes are in
    for change in diff.changes:
        if change.state in ("added", "removed"):
            if block is None or block.state != change.state or not _is_in(change, block):
                block = change
            key: tuple[object, ...] = (block.state, block.class_name, block.path.rpartition(".")[0])
            if change is block:
                found[key].append(block)
            amounts[key] += change.difference(figure)
        elif difference := change.difference(figure):
            key = (change.class_name, *change.attributes)
            amounts[key] += difference
            found[key].append(change)
    total = diff.total(figure).difference
    made = (
        Reason(figure, amounts[key], amounts[key] / total if total else None, tuple(changes))
        for key, changes in found.items()
        if amounts[key]
    )
    return sorted(made, key=lambda reason: -abs(reason.difference))


def biggest(diff: Diff) -> Reason | None:
    """The largest reason of the figure that changed most, as a share of what it was."""
    named = [reasons(diff, name) for name in _changed(diff)]
    return next((found[0] for found in named if found), None)


def _changed(diff: Diff) -> Iterable[str]:
    """The figures of rows, that which changed most first."""
    known = [name for name in _FIGURES if all(name in change.figures for change in diff.changes[:1])]
    return sorted(known, key=lambda name: -abs(diff.total(name).share or 0))


def _is_in(change: Change, block: Change) -> bool:
    return change.path == block.path or change.path.startswith(f"{block.path}.")
