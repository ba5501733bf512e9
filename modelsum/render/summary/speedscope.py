"""The tree of modules weighed by MACs and by saved bytes, as speedscope.app opens it.

The format is that of https://www.speedscope.app/file-format-schema.json: profiles of samples, each a stack of
frames and its weight. A frame is a module, a sample what is a module's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from modelsum.errors import UsageError
from modelsum.render import RenderOptions
from modelsum.render.summary.cells import model_name
from modelsum.render.summary.rows import folded
from modelsum.summary import Summary
from modelsum.version import __version__


def render(summary: Summary, options: RenderOptions) -> str:
    """A profile for each figure that is known. Raises UsageError where none is, for want of an input."""
    if not summary.called:
        raise UsageError("a flame graph is of MACs and saved bytes, and no call was made", "Give an --input.")
    rows = folded(summary.layers, None, summary.memory.modules if summary.memory else None)
    frames: dict[tuple[str, str], int] = {}
    stacks: list[list[int]] = []
    for row in rows:
        frame = frames.setdefault((row.layer.path, row.layer.class_name), len(frames))
        stacks.append([*(stacks[row.parent] if row.parent is not None else ()), frame])
    profiles = [_profile("MACs", "none", stacks, [row.macs for row in rows])]
    if summary.memory and summary.memory.training:
        profiles.append(_profile("saved for backward", "bytes", stacks, [row.saved_bytes for row in rows]))
    value = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": model_name(summary.model),
        "exporter": f"modelsum {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": f"{path} ({kind})" if path else kind} for path, kind in frames]},
        "profiles": profiles,
    }
    return json.dumps(value, separators=(",", ":"))


def _profile(name: str, unit: str, stacks: Sequence[list[int]], own: Sequence[int]) -> dict[str, Any]:
    samples = [(stack, weight) for stack, weight in zip(stacks, own, strict=True) if weight]
    return {
        "type": "sampled",
        "name": name,
        "unit": unit,
        "startValue": 0,
        "endValue": sum(weight for _, weight in samples),
        "samples": [stack for stack, _ in samples],
        "weights": [weight for _, weight in samples],
    }
