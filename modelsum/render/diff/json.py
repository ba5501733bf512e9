"""The whole diff as JSON, schema version 1: every total, and every module that is not the same."""

from __future__ import annotations

import json
from typing import Any

from modelsum.baselines.changes.changes import Change, Diff
from modelsum.baselines.changes.reasons import Reason, reasons
from modelsum.plain import plain
from modelsum.render import RenderOptions
from modelsum.summary import SCHEMA_VERSION


def render(diff: Diff, options: RenderOptions) -> dict[str, Any]:
    """The diff as JSON values; no option leaves anything out."""
    figures = list(diff.changes[0].figures) if diff.changes else []
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "diff",
        "old": {"name": diff.names[0], "case": plain(diff.old)},
        "new": {"name": diff.names[1], "case": plain(diff.new)},
        "case_differences": _pairs(diff.case_differences),
        "not_comparable": _pairs(diff.not_comparable),
        "totals": {
            total.name: {"old": total.old, "new": total.new, "difference": total.difference}
            for total in diff.totals
        },
        "uncounted_ops": _pairs(diff.uncounted_ops),
        "rows": [_row(change) for change in diff.changes if change.state != "same"],
        "causes": {name: [_reason(reason) for reason in reasons(diff, name)] for name in figures},
    }


def _row(change: Change) -> dict[str, Any]:
    return {
        "state": change.state,
        "path": change.new_path,
        "old_path": change.old_path,
        "class": change.class_name,
        "renamed": change.is_renamed,
        "attributes": _pairs(change.attributes),
        "output_shapes": _shapes(change.output_shapes),
        "figures": {
            name: {"old": old, "new": new, "difference": new - old}
            for name, (old, new) in change.figures.items()
        },
    }


def _shapes(shapes: tuple[str, str] | None) -> dict[str, Any] | None:
    if shapes is None:
        return None
    old, new = (json.loads(f"[{text}]") for text in shapes)
    return {"old": old, "new": new}


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "difference": reason.difference,
        "share": reason.share,
        "state": reason.changes[0].state,
        "class": reason.changes[0].class_name,
        "attributes": list(reason.attributes),
        "paths": [change.path for change in reason.changes],
    }


def _pairs(pairs: Any) -> dict[str, Any]:
    return {name: {"old": old, "new": new} for name, (old, new) in pairs.items()}
