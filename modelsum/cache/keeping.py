"""Answers from the store: the key of a question, and whether what is there still holds."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.cache.evidence import evidence, holds, watching
from modelsum.cache.store import Entry, Store
from modelsum.cache.versions import installed_mark, machine_mark, package_mark, torch_mark
from modelsum.request import Request
from modelsum.spec import ModelSpec
from modelsum.version import __version__

if TYPE_CHECKING:
    from modelsum.summary import Summary

FOLDER = "MODELSUM_CACHE_DIR"

# Variables of a terminal or session, on which no model depends.
_OF_THE_SESSION = frozenset(
    ("COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "TERM_PROGRAM", "NO_COLOR", "WINDOWID", "_")
)

# Variables by which torch, timm and transformers choose kernels and threads.
_OF_LIBRARIES = (
    *("TORCH", "PYTORCH", "ATEN", "OMP_", "MKL_", "KMP_", "CUDA", "CUDNN", "CUBLAS", "NVIDIA_"),
    *("TIMM_", "TRANSFORMERS_", "HF_", "USE_", "PYTHONHASHSEED"),
)


def folder() -> Path:
    """Where answers are kept: the platform's folder for caches, or $MODELSUM_CACHE_DIR."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("modelsum", appauthor=False))


def kept_or_new(
    request: Request, ready: Callable[[Request], None], run: Callable[[Request], Summary]
) -> Summary:
    """The kept answer to a request, or else that of `run`, which is then kept. Raises as `run` does.

    `ready` is called first where there is none: it imports torch, which makes most of the noise.
    """
    store, key = Store(folder()), _key(request)
    entry = store.get(key)
    if entry is not None and holds(entry.marks):
        sys.stderr.write(entry.said)
        return entry.summary
    ready(request)
    said, out = _Tee(sys.stderr), sys.stdout
    sys.stderr = said
    if out is said.stream:  # as for a command whose stdout is kept for its result
        sys.stdout = said
    try:
        with watching() as seen:
            summary = run(request)
    finally:
        sys.stdout, sys.stderr = out, said.stream
    marks = evidence(seen) if summary.device == "meta" else None
    if marks is not None:
        store.put(key, Entry(summary, marks, said.text()))
    return summary


def _key(request: Request) -> str:
    """A digest of the question, of where it was asked, and of the versions that answer it."""
    parts = [
        repr(request),
        os.getcwd(),
        sys.executable,
        sys.version,
        __version__,
        package_mark(),
        torch_mark(),
        installed_mark(),
        machine_mark(),
        repr(sys.path),
    ]
    # The user's code may look at any of them.
    own_code = request.inputs_from or (isinstance(request.model, ModelSpec) and request.model.kind != "name")
    parts.append(
        repr(
            sorted(
                (name, value)
                for name, value in os.environ.items()
                if (name not in _OF_THE_SESSION if own_code else name.startswith(_OF_LIBRARIES))
            )
        )
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


class _Tee:
    """A text stream that also remembers what is written to it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._written: list[str] = []

    def write(self, text: str) -> int:
        self._written.append(text)
        return int(self.stream.write(text))

    def text(self) -> str:
        return "".join(self._written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
