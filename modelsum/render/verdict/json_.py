"""The outcome as JSON, schema version 1 (`Outcome.to_dict`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelsum.baselines.gate.verdict import Outcome


def render(outcome: Outcome) -> str:
    """The whole outcome."""
    return json.dumps(outcome.to_dict(), indent=2, ensure_ascii=False)
