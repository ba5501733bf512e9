"""What rows stood on that depended on the user's own code and files, in FILE.sources beside the file of rows.

A line a set of evidence (modelsum.cache.evidence), by the name that is the second part of those rows' keys.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from modelsum.cache.evidence import holds
from modelsum.sweeps.answering import Marks


class Sources:
    """Evidence of sources by its name, in a file beside that of the rows.

    Attributes:
        marks: what the file has.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.marks: dict[str, Marks] = {}
        self._hold: dict[str, bool] = {"": True}
        if path.exists():
            cut_off(path)
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    each = json.loads(line)
                    self.marks[each["name"]] = {(k, p, d): answer for k, p, d, answer in each["marks"]}

    @classmethod
    def beside(cls, rows: Path) -> Sources:
        """That of a file of rows."""
        return cls(rows.with_name(f"{rows.name}.sources"))

    def hold(self, name: str) -> bool:
        """Whether the sources of that name are as they were."""
        if name not in self._hold:
            self._hold[name] = name in self.marks and holds(self.marks[name])
        return self._hold[name]

    def add(self, name: str, marks: Marks) -> None:
        """Write down evidence that is new."""
        if name not in self.marks:
            self.marks[name] = marks
            plain = {"name": name, "marks": [[*question, answer] for question, answer in marks.items()]}
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(plain) + "\n")


def cut_off(path: Path) -> None:
    """Take away what stands behind the last end of a line: a row that was being written when all ended."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        file.truncate(end)
