"""Whose a file is: Python's, an installed package's, modelsum's, or the user's.

The first three have versions, which are in the key of every answer.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import FrameType


def _folders(paths: Iterable[str]) -> tuple[str, ...]:
    """The folders, as they are named and without symbolic links, ready for `startswith`."""
    return tuple({os.path.join(form, "") for path in paths for form in (path, os.path.realpath(path))})


def _of_python(*names: str) -> list[str]:
    paths = sysconfig.get_paths()
    return [paths[name] for name in names]


PACKAGE = str(Path(__file__).parents[1]) + os.sep
INSTALLED = _folders(
    (
        *_of_python("purelib", "platlib"),
        *(path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")),
    )
)
PYTHON = _folders(
    (
        *_of_python("stdlib", "platstdlib"),
        *(path for path in sys.path if os.path.basename(path) == "python{}{}.zip".format(*sys.version_info)),
    )
)
TORCH = tuple(os.path.join(folder, "torch", "") for folder in INSTALLED)
#: What tells of the machine or the process, and differs from one moment to the next.
SYSTEM = ("/proc/", "/sys/", "/dev/")

_HERE = os.path.join(PACKAGE, "cache", "")
_VOUCHED_FOR = (*INSTALLED, *PYTHON, PACKAGE)


def vouched_for(path: str) -> bool:
    """Whether the versions in the key of an answer tell what is at an absolute path."""
    return path.startswith(_VOUCHED_FOR) or os.path.join(path, "") in _VOUCHED_FOR


def asked_by_user(*, directly: bool = False) -> bool:
    """Whether code of the user's is the first outside the standard library to have called this folder's.

    Args:
        directly: the standard library's own calls do not count as the user's.

    Installed packages ask for much that no answer depends on: the mounted disks, a random number for a
    name, libc.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith((*INSTALLED, PACKAGE)):
            return False
        if not file.startswith((*PYTHON, "<frozen")):
            return True
        if directly:
            return False
        frame = frame.f_back
    return False
