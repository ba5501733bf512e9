"""What was asked while an answer was worked out: of whom, and what was answered."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from typing import Any

from modelsum.cache.hearing import unheard
from modelsum.cache.owners import SYSTEM, asked_by_user, vouched_for
from modelsum.cache.questions import NEVER, Question, asks_for_names, mark


class Seen:
    """Notes what is heard; a `hearing.Listener`.

    A question is answered when it is asked: a model may write a file or leave the folder afterwards. What it
    asks about its own making says nothing of the world before, so that such an answer is doubted.

    Attributes:
        marks: what was asked of the user's files and folders, with the mark of the first answer.
        read: files of installed packages that were opened for reading.
        sought: modules that were looked for, by the user's folder.
        written_paths: what was made, changed or removed.
        doubts: why the answer should not be kept.
    """

    def __init__(self) -> None:
        self.marks: dict[Question, str] = {}
        self.read: set[str] = set()
        self.sought: dict[str, set[str]] = {}
        self.written_paths: set[str] = set()
        self.doubts: list[str] = []
        self._refilled: set[str] = set()  # folders of what was written
        self._is_seeded = False

    def asked(self, kind: str, path: Any, dir_fd: int | None = None) -> None:
        """Note a question with its answer, or why there is none that could be kept."""
        full = self._absolute(path, dir_fd)
        if full is None:
            return
        if kind == "contents":
            full = _source(full)
        if vouched_for(full):
            if kind == "contents":
                self.read.add(full)
        elif _is_of_system(full) and kind not in ("type", "own type"):
            if full != os.devnull and asked_by_user():
                self.doubted(full)
        elif (kind, full, "") not in self.marks:
            if full in self.written_paths or (full in self._refilled and asks_for_names(kind)):
                self.doubted(f"{full} is of the model's own making")
            self._note((kind, full, ""))

    def written(self, path: Any, dir_fd: int | None = None, *, only_anew: bool = False) -> None:
        """Note that the model makes, changes or removes something."""
        full = self._absolute(path, dir_fd)
        # Compiled files are the import system's, whose looks are not heard either.
        if full is None or vouched_for(full) or _is_of_system(full) or "__pycache__" in full:
            return
        if full not in self.written_paths:
            self._note(("own type", full, ""))  # on which depends whether writing fails
            if only_anew and not self.marks["own type", full, ""].startswith("error"):
                return  # it does
        self.written_paths.add(full)
        self._refilled.add(os.path.dirname(full))

    def looked_for(self, module: str, folders: Iterable[str]) -> None:
        """Note that a module is looked for in folders."""
        for folder in folders:
            if not vouched_for(folder) and (full := self._absolute(folder, None)) is not None:
                self.sought.setdefault(full, set()).add(module)

    def seeded(self, with_value: bool) -> None:
        """Note that Python's random numbers begin anew."""
        self._is_seeded = with_value

    def drawn(self) -> None:
        """Doubt a random number that no seed determines."""
        if not self._is_seeded:
            self.doubted("random")

    def doubted(self, reason: str) -> None:
        """Note a reason not to keep the answer."""
        self.doubts.append(reason)

    def _note(self, question: Question) -> None:
        if question not in self.marks:
            with unheard():
                self.marks[question] = mark(question)
            if self.marks[question] == NEVER:
                self.doubted(question[1])

    def _absolute(self, path: Any, dir_fd: int | None) -> str | None:
        """A path as it stands at this moment, its symbolic links left in it; None for what is no path."""
        try:
            if isinstance(path, int):
                return self._path_of(path)
            text = os.fsdecode(path)
            if os.path.isabs(text):
                return text
            base = os.getcwd() if dir_fd is None else self._path_of(dir_fd)
        except (TypeError, OSError):
            return None  # the function that was called fails as well
        if base is None or text in ("", "."):
            return base
        return os.path.join(base, text)

    def _path_of(self, descriptor: int) -> str | None:
        """The path of an open file or folder."""
        with unheard():
            try:
                path = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:
                path = ""  # there are systems that do not say
        if not os.path.isabs(path) and asked_by_user():
            self.doubted(f"file descriptor {descriptor}")
        return path if os.path.isabs(path) else None


def _is_of_system(path: str) -> bool:
    return os.path.join(path, "").startswith(SYSTEM)


def _source(path: str) -> str:
    """The source of a compiled file; the path itself of any other."""
    if path.endswith(".pyc"):
        try:
            return importlib.util.source_from_cache(path)
        except ValueError:
            return path
    return path
