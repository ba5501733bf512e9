"""What answers a question: the versions of modelsum, torch and the installed packages, and the machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from contextlib import suppress
from pathlib import Path

from modelsum.cache.owners import INSTALLED, PACKAGE


def package_mark() -> str:
    """What tells this modelsum from a changed one: the size and time of each of its files."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(PACKAGE):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            status = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def package_contents() -> str:
    """What tells this modelsum from another one, on any machine: a digest of its code."""
    digest = hashlib.sha256()
    for path in sorted(Path(PACKAGE).rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def torch_mark() -> str:
    """What tells this torch from another: the contents of its version file. torch is not imported for it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    return Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")


def installed_mark() -> str:
    """What tells these installed packages from others: their names and versions."""
    names = []
    for folder in sorted(INSTALLED):
        with suppress(OSError):
            names += [
                name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".pth"))
            ]
    return hashlib.sha256(" ".join(sorted(names)).encode()).hexdigest()


def machine_mark() -> str:
    """What tells this machine from another that shares the folder of answers.

    Its name, its processors, those that the process may use, and its graphics cards: on them depend threads,
    and what a model builds where it finds CUDA.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME")
    cards: list[str] = []
    with suppress(OSError):
        cards = sorted(file for file in os.listdir("/dev") if file.startswith(("nvidia", "kfd")))
    return repr((name, os.cpu_count(), usable, cards))
