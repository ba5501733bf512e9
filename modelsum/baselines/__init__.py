"""Stored figures and how a summary stands to them: plain values, without torch."""

from __future__ import annotations

from modelsum.baselines.diff import against_documented
from modelsum.baselines.store import StoredTable, documented_names, find

__all__ = ["StoredTable", "against_documented", "documented_names", "find"]
