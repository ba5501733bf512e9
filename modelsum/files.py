"""Files that are replaced only by whole ones, and the folder that relative ones are looked for in."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def replace(path: Path, content: str | bytes) -> None:
    """Write a file. It appears or is replaced at once, or stays as it was. Raises OSError.

    Text is written in UTF-8 with its line ends as they are. A file that is there keeps its permissions.
    Of two writers at the same time one wins, whole.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of the one that is there once all is written."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        if path.exists():
            shutil.copymode(path, name)
        else:
            os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:  # Ctrl-C too leaves no half-written file behind
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """A project's models are found from its folder, wherever the command was called."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
