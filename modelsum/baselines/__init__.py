"""Stored figures and how a summary stands to them: plain values, without torch."""

from __future__ import annotations

from modelsum.baselines.documented import StoredTable, against_documented, documented_names, find

__all__ = ["StoredTable", "against_documented", "documented_names", "find"]
