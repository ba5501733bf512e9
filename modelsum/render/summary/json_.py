"""The whole summary as JSON, schema version 1 (`Summary.to_dict`). No option leaves anything out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelsum.summary import Summary

if TYPE_CHECKING:
    from modelsum.render import RenderOptions


def render(summary: Summary, options: RenderOptions) -> str:
    """The summary as indented JSON; counts and bytes are integers."""
    return json.dumps(summary.to_dict(), indent=2)
