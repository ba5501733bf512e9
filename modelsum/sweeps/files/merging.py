"""The files of several machines' shares made one, each point once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelsum.errors import UsageError
from modelsum.sweeps.files import forms
from modelsum.sweeps.files.output import write
from modelsum.sweeps.files.sources import Sources
from modelsum.sweeps.rows import OK, Row


def merge(shares: Sequence[Path], output: Path) -> int:
    """Write the rows of all files to one, and what they stood on beside it. Returns how many those are.

    Of rows of the same question one with figures counts. Raises UsageError where two have others.
    """
    forms.form_of(output)
    merged: dict[str, Row] = {}
    sources = Sources.beside(output)
    for share in shares:
        for row in forms.read(share):
            before = merged.get(row.question)
            if before is None or before.status != OK:
                merged[row.question] = row
            elif row.status == OK and row.figures != before.figures:
                raise UsageError(
                    f"{share} and a file before it have other figures of the same point, {dict(row.point)}",
                    "They were made with other sources: do one of them again.",
                )
        for name, marks in Sources.beside(share).marks.items():
            sources.add(name, marks)
    write(output, list(merged.values()))
    return len(merged)
