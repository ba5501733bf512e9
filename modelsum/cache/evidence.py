"""What an answer depended on, so that it can be told later whether it still holds.

While an answer is worked out, every question to the file system is noted with what it was answered, and
afterwards every module that is loaded. What Python, torch, modelsum and the installed packages hold is told
by their versions, in the key of an answer; of installed files that were read, the size and the time of the
last change count as well. An answer that depended on anything else is one that nobody can vouch for.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from modelsum.cache.hearing import Hearing, unheard
from modelsum.cache.owners import INSTALLED, PACKAGE, PYTHON, TORCH, vouched_for
from modelsum.cache.questions import Question, mark
from modelsum.cache.seen import Seen

#: Installed packages with native code that opens no file by itself, or only what `_UNHEARD` names.
_NATIVE = frozenset(
    (
        *("torch", "torchvision", "torchaudio", "functorch", "triton", "cuda", "numpy", "scipy", "pandas"),
        *("sklearn", "matplotlib", "kiwisolver", "contourpy", "PIL", "yaml", "_yaml", "regex", "markupsafe"),
        *("safetensors", "tokenizers", "psutil", "charset_normalizer", "pydantic_core", "rpds", "msgpack"),
        *("aiohttp", "multidict", "frozenlist", "yarl", "propcache", "wrapt", "google"),
    )
)
#: Modules of Python that open files by themselves.
_NATIVE_OF_PYTHON = frozenset(("_dbm", "_gdbm"))
#: What, named in the user's own code, may read files, the machine, the date or random numbers unheard.
_UNHEARD = re.compile(
    rb"\b(?:safe_open|safetensors\.numpy|tokenizers|psutil|(?:import|from)\s+(?:posix|nt)\b|Random\(\)"
    rb"|(?:np|numpy)\.random\b(?!\.seed\b))|\.(?:now|utcnow|today)\(|\.seed\(\)"
)


@contextmanager
def watching() -> Iterator[Seen]:
    """Note what is asked inside. Only for a process that answers once: its audit hook stays."""
    seen = Seen()
    hearing = Hearing(seen)
    try:
        hearing.start()
        yield seen
    finally:
        hearing.stop()


def evidence(seen: Seen) -> Mapping[Question, str] | None:
    """The questions that the answer depended on, with their marks; None where there is more to it."""
    if (
        seen.doubts
        or any(_is_unknown_native(name, file) for name, file in _loaded().items())
        or any(_names_unheard(path) for kind, path, _ in seen.marks if kind == "contents")
    ):
        return None
    marks = known(seen)
    modules = {folder: names.split() for kind, folder, names in marks if kind == "modules"}
    if any(_stem(path) in modules.get(os.path.dirname(path), ()) for path in seen.written_paths):
        return None
    return marks


def known(seen: Seen) -> dict[Question, str]:
    """The questions that the answer is known to have depended on, with their marks.

    What is asked of the file system to that end is no question of the model's.
    """
    with unheard():
        return _known(seen)


def _known(seen: Seen) -> dict[Question, str]:
    marks = dict(seen.marks)
    on_path = {os.path.abspath(folder) for folder in sys.path}
    for folder, names in seen.sought.items():
        if folder in on_path:
            names |= {name for name in sys.modules if "." not in name}  # also what torch brought along
        question = ("modules", folder, " ".join(sorted(names)))
        marks[question] = mark(question)
    for path in sorted({*seen.read, *_loaded().values()}):
        question = ("contents", path, "")
        if question not in marks and _counts(path):
            marks[question] = mark(question)
    return marks


def holds(marks: Mapping[Question, str]) -> bool:
    """Whether every question is answered as it was."""
    return all(mark(question) == before for question, before in marks.items())


def _loaded() -> dict[str, str]:
    """The files of all modules, by name."""
    return {name: file for name, module in list(sys.modules.items()) if (file := _file(module))}


def _file(module: object) -> str | None:
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and os.path.isabs(path) else None


def _counts(path: str) -> bool:
    """Whether a file that was read is not vouched for by the versions in the key alone."""
    if path.startswith(INSTALLED):
        return not path.startswith(TORCH) and ".dist-info" + os.sep not in path
    return not vouched_for(path)


def _is_unknown_native(name: str, file: str) -> bool:
    """Whether a loaded module is native code that may open files by itself, with nobody hearing of it."""
    if not file.endswith(tuple(EXTENSION_SUFFIXES)):
        return False
    if file.startswith(INSTALLED):
        (rest,) = {file.removeprefix(folder) for folder in INSTALLED if file.startswith(folder)}
        package = rest.partition(os.sep)[0].partition(".")[0]
        return package not in _NATIVE and not package.endswith("__mypyc")  # Python, translated
    return name in _NATIVE_OF_PYTHON if file.startswith((PACKAGE, *PYTHON)) else True


def _names_unheard(path: str) -> bool:
    if path.endswith(".py"):
        with suppress(OSError):
            return _UNHEARD.search(Path(path).read_bytes()) is not None
    return False


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".")[0]
