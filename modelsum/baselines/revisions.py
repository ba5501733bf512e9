"""Files that git knows, and as they are at a revision, read with `git show`; nothing is checked out."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from modelsum.errors import UsageError


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of the repository that a folder is in.

    Attributes:
        folder: paths are relative to it.
        commit: the full hash.
    """

    folder: Path
    commit: str

    def read(self, path: str) -> str | None:
        """The text of a file, or None where the commit has no such file."""
        done = _git(self.folder, "show", f"{self.commit}:./{path}")
        return done.stdout if done.returncode == 0 else None

    def differs(self, path: str) -> bool:
        """Whether a file is another one now, whatever it holds."""
        return _git(self.folder, "diff", "--quiet", self.commit, "--", f"./{path}").returncode == 1

    def names(self, path: str) -> tuple[str, ...]:
        """The names of the files in a folder; none where the commit has no such folder."""
        done = _git(self.folder, "ls-tree", "--name-only", "-z", self.commit, f"./{path.rstrip('/')}/")
        return tuple(name.rpartition("/")[2] for name in done.stdout.split("\0") if name)


def files(folder: Path, pattern: str) -> tuple[str, ...]:
    """The files below a folder that git has, else those that it would add, by a pathspec.

    None outside a repository, or without git.
    """
    for kind in ("--cached", "--others"):
        try:
            done = _git(folder, "ls-files", "-z", kind, "--exclude-standard", "--", pattern)
        except UsageError:
            return ()
        if names := tuple(filter(None, done.stdout.split("\0"))):
            return names
    return ()


def refs(folder: Path) -> tuple[str, ...]:
    """The branches, those of remotes, and the tags, by their short names. None outside a repository."""
    try:
        done = _git(folder, "for-each-ref", "--format=%(refname:short)", *_NAMED)
    except UsageError:
        return ()
    return tuple(done.stdout.splitlines())


_NAMED = ("refs/heads", "refs/remotes", "refs/tags")


def find(folder: Path, ref: str) -> Revision | None:
    """The commit that `ref` names; None where there is no such ref, no repository, or no git."""
    try:
        commit = _commit(folder, ref)
    except UsageError:
        return None
    return None if commit is None else Revision(folder, commit)


def merge_base(folder: Path, ref: str) -> Revision:
    """The commit where the checked-out branch left `ref`.

    Raises UsageError with the remedy: outside a repository, for a ref that is not there, and where the
    history does not reach back to a common commit, as in a shallow clone.
    """
    inside = _git(folder, "rev-parse", "--is-shallow-repository")
    if inside.returncode != 0:
        raise UsageError(
            f"{str(folder)!r} is not in a git repository: {_last_line(inside.stderr)}",
            f"Without --against {ref} the baselines in the working tree are compared with.",
        )
    shallow = inside.stdout.strip() == "true"
    commit = _commit(folder, ref)
    if commit is None:
        branch = ref.removeprefix("origin/")
        raise UsageError(
            f"there is no git revision {ref!r} here",
            f"Fetch it, `git fetch origin {branch}:refs/remotes/origin/{branch}`, and give origin/{branch}."
            + (_DEEPEN if shallow else ""),
        )
    base = _git(folder, "merge-base", "HEAD", commit)
    if base.returncode != 0:
        raise UsageError(
            f"HEAD and {ref!r} have no common commit"
            + (": this is a shallow clone, without the history that would say" if shallow else ""),
            _DEEPEN.strip() if shallow else "Give the branch that this one started from.",
        )
    return Revision(folder, base.stdout.strip())


def _commit(folder: Path, ref: str) -> str | None:
    done = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return done.stdout.strip() if done.returncode == 0 else None


_DEEPEN = " Get the whole history: `git fetch --unshallow`, or fetch-depth: 0 of actions/checkout."


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if "GIT_WORK_TREE" not in environment:
        # Set in hooks of a second work tree. With it git takes any folder for the top of the repository.
        environment.pop("GIT_DIR", None)
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
            env=environment,
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed here", "Revisions are read with it.") from error


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
