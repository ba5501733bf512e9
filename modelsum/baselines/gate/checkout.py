"""The files of a checkout: what they are called in what is said of them, and which are the project's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelsum.baselines.revisions import files

# Where CI systems check out: the repository, or a folder that it has a folder of its own in.
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where a project's folder is.

    Attributes:
        folder: the project's, with its configuration.
        top: the folder of everything that is edited together: the repository's.
        root: names are relative to it.
    """

    folder: Path
    top: Path
    root: Path

    @classmethod
    def of(cls, folder: Path, environment: Mapping[str, str] = os.environ) -> Checkout:
        """A project's checkout. Under CI names are relative to it, as the CI system's are; else to here."""
        roots = (Path(environment[name]).resolve() for name in _ROOTS if environment.get(name))
        named = next((root for root in roots if folder.is_relative_to(root)), None)
        repository = next((f for f in (folder, *folder.parents) if (f / ".git").exists()), None)
        top = repository or named or folder
        if named is None:
            return cls(folder, top, Path.cwd())
        return cls(folder, top, top if top.is_relative_to(named) else named)

    def name(self, file: str | Path) -> str:
        """What a file is called, given from the project's folder or whole; with / on every system."""
        path = self.folder / file
        try:
            return Path(os.path.relpath(path, self.root)).as_posix()
        except ValueError:  # on another drive
            return path.as_posix()

    def own(self, file: Path) -> Path | None:
        """The file of the checkout that Python would run as `file`, an installed copy; None for others'."""
        file = file.resolve()
        installed = [place for place, part in enumerate(file.parts) if part in _INSTALLED]
        if not installed:
            return file if file.is_relative_to(self.top) else None
        tail = "/".join(file.parts[installed[-1] + 1 :])
        names = files(self.top, f":(glob)**/{tail}")
        found = [self.top / name for name in sorted(names, key=lambda name: name.count("/"))]
        same = [path for path in found if _bytes(path) == _bytes(file)]
        return next(iter((*same, *found)), None)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
