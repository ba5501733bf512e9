"""The key of a question: what is asked, where, and the versions that answer it."""

from __future__ import annotations

import hashlib
import os
import sys

from modelsum.cache.versions import installed_mark, machine_mark, package_mark, torch_mark
from modelsum.memory.options import OPTIMIZERS
from modelsum.request import Request
from modelsum.spec import ModelSpec, ObjectSpec
from modelsum.version import __version__

# Variables of a terminal or session, on which no model depends.
_OF_THE_SESSION = frozenset(
    ("COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "TERM_PROGRAM", "NO_COLOR", "WINDOWID", "_")
)

# Variables by which torch, timm and transformers choose kernels and threads.
_OF_LIBRARIES = (
    *("TORCH", "PYTORCH", "ATEN", "OMP_", "MKL_", "KMP_", "CUDA", "CUDNN", "CUBLAS", "NVIDIA_"),
    *("TIMM_", "TRANSFORMERS_", "HF_", "USE_", "PYTHONHASHSEED"),
)


def key_of(request: Request) -> str:
    """A digest of all that is known of a question before its model is built."""
    parts = (
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
        repr(_variables(request)),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _variables(request: Request) -> list[tuple[str, str]]:
    """The environment that counts: code of the user's may look at any variable."""
    own_code = (
        request.inputs_from
        or (isinstance(request.model, ModelSpec) and request.model.kind != "name")
        or (request.memory is not None and request.memory.optimizer not in OPTIMIZERS)
        or any(isinstance(value, ObjectSpec) for value in request.arguments.values())
    )
    return sorted(
        (name, value)
        for name, value in os.environ.items()
        if (name not in _OF_THE_SESSION if own_code else name.startswith(_OF_LIBRARIES))
    )
