"""Models as they lie on disk: config.json or its folder, a program of torch.export, ONNX, GGUF, TorchScript.

    ./llama-8b                    a folder with a config.json, or that file
    ./llama-8b:LlamaModel         with a head class
    net.pt2   net.onnx            a file of another tool; what reads each stands in `_READERS`

No weights are needed beside a configuration, nothing pickled is unpickled, and no code that lies beside a
model is run.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import UsageError
from modelsum.sources import installed
from modelsum.sources.base import Loaded
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    import torch

#: By the end of a file's name, the module that reads it: its `load(path, spec, arguments, device)`.
_READERS = {
    ".pt2": "exported",
    ".onnx": "onnx",
    ".gguf": "gguf",
    ".ts": "scripted",
    ".torchscript": "scripted",
    ".pt": "scripted",
    ".pth": "scripted",
}

CONFIGURATION = "config.json"


class OnDisk:
    """Files and folders."""

    name = "disk"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether there is a model at the path that the text is."""
        return reader_of(path_of(spec)) is not None

    def names(self) -> Collection[str]:
        """None that could be offered."""
        return ()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build what lies at the path.

        Raises:
            UsageError: a package that reads it is missing, or the file is none that it reads safely.
            ArgumentError: constructor arguments for a model that takes none.
        """
        path = path_of(spec)
        reader = reader_of(path)
        if not os.access(path, os.R_OK):  # every reader has words of its own for that
            raise UsageError(
                f"{spec.text} cannot be read: permission denied", "Is it a file of another user?"
            )
        if reader == CONFIGURATION:
            return _configured(path, spec, arguments, device)
        loaded: Loaded = import_module(f"modelsum.sources.{reader}").load(path, spec, arguments, device)
        return loaded


def _configured(path: Path, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
    from modelsum.sources import transformers

    installed.require("transformers")
    folder = path if path.is_dir() else path.parent
    stored = transformers.stored_in(folder, spec.text)
    return transformers.configured(spec, stored, arguments, device, transformers.source.name)


def path_of(spec: ModelSpec) -> Path:
    """The path that a MODEL would be."""
    text = spec.text.strip()
    return Path(os.path.expanduser(text.removesuffix(f":{spec.attribute}") if spec.attribute else text))


def reader_of(path: Path) -> str | None:
    """The module that reads what is there, `CONFIGURATION` for a config.json; None where none does."""
    if path.is_dir():
        return CONFIGURATION if (path / CONFIGURATION).is_file() else None
    if not path.is_file():
        return None
    if path.name == CONFIGURATION:
        return CONFIGURATION
    reader = _READERS.get(path.suffix.lower())
    return None if reader == "scripted" and not is_scripted(path) else reader


def is_scripted(path: Path) -> bool:
    """Whether a file is an archive of TorchScript: it has code, where one of weights has data alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def refuse_arguments(spec: ModelSpec, arguments: Mapping[str, Any]) -> None:
    """Raise UsageError where a model that is built already is given constructor arguments, or a head."""
    if arguments or spec.attribute or spec.task:
        given = f"--arg {next(iter(arguments))}=..." if arguments else spec.attribute or f"--task {spec.task}"
        raise UsageError(
            f"{spec.text} is built already: it takes no {given}",
            "A folder with config.json, hf:ORG/NAME and transformers/MODEL_TYPE do.",
        )


source = OnDisk()
