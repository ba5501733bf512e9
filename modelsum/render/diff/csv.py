"""The diff for spreadsheets and scripts: a CSV row for each total and each thing that changed in a module.

    total      a total; every one of both reports, also those that did not change
    layer      a figure of a module's own (by the JSON's name), or an attribute as "attribute stride"
    uncounted  an op without a rule, with how often it ran

A module that only got another name has one row, with the figure "path".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelsum.baselines.changes.changes import Change, Diff
from modelsum.render import RenderOptions
from modelsum.render.layout import Cells

COLUMNS = ("kind", "state", "path", "old_path", "class", "figure", "old", "new", "difference")


def render(diff: Diff, options: RenderOptions) -> Iterator[Cells]:
    """The diff as CSV with a header row; no option leaves anything out."""
    yield COLUMNS
    for total in diff.totals:
        state = "same" if total.old == total.new else "changed"
        yield {"kind": "total", "state": state, **_figure(total.name, total.old, total.new)}
    for change in diff.changes:
        if change.state != "same":
            yield from _layer(change)
    for op, (old, new) in diff.uncounted_ops.items():
        yield {"kind": "uncounted", "state": "changed", **_figure(op, old, new)}


def _layer(change: Change) -> Iterator[dict[str, Any]]:
    own = {
        "kind": "layer",
        "state": change.state,
        "path": change.path,
        "old_path": change.old_path,
        "class": change.class_name,
    }
    if change.is_renamed:
        yield own | {"figure": "path", "old": change.old_path, "new": change.new_path}
    for name, (old, new) in change.attributes.items():
        yield own | {"figure": f"attribute {name}", "old": json.dumps(old), "new": json.dumps(new)}
    if change.output_shapes:
        old, new = change.output_shapes
        yield own | {"figure": "output_shapes", "old": old, "new": new}
    one_sided = change.state in ("added", "removed")
    for name, (old, new) in change.figures.items():
        if one_sided or old != new:
            yield own | _figure(name, old, new)


def _figure(name: str, old: int | None, new: int | None) -> dict[str, Any]:
    difference = None if old is None or new is None else new - old
    return {"figure": name, "old": old, "new": new, "difference": difference}
