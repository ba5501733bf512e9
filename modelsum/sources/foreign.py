"""Files, folders and addresses that are given as a model and are none: what each is, and what reads it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from modelsum.errors import UnknownModelError, UsageError, did_you_mean
from modelsum.spec import MODEL_FORMS, MODEL_SUFFIXES


class _Kind(NamedTuple):
    """Something that cannot stand for a model as it is.

    Attributes:
        what: it is.
        reader: what reads it, in a sentence.
        instead: what to give in its place, in a sentence.
        refused: modelsum does not read it, however it is written.
    """

    what: str
    reader: str
    instead: str
    refused: bool = True


_ORIGINAL = "Name the PyTorch model that it was made from."
_LOADED = "Name the model that it is loaded into."
_OTHER = "modelsum takes models of PyTorch."


def _returned(what: str) -> str:
    return f"Name a function that returns {what}: FILE.py:FUNCTION."


#: By the end of a name, the longest that fits.
_BY_END = {
    ".ts .torchscript": _Kind(
        "no archive of TorchScript", "torch.jit.save writes one.", _returned("the model")
    ),
    ".ptl": _Kind("TorchScript for mobile devices", "torch.jit.load reads it.", _returned("what that gives")),
    ".ggml": _Kind("a file of weights for llama.cpp", "llama.cpp reads it.", _LOADED),
    ".ckpt": _Kind("a checkpoint of a training run", "Lightning or torch.load reads it.", _LOADED),
    ".pkl .pickle .joblib": _Kind("a pickle", "The program that wrote it reads it.", _returned("the model")),
    ".npy .npz": _Kind("a file of numpy arrays", "numpy.load reads it.", _LOADED),
    ".h5 .hdf5 .keras": _Kind("a model or weights of Keras", "Keras reads it.", _OTHER),
    ".msgpack": _Kind("a file of weights for Flax", "Flax reads it.", _OTHER),
    ".pb": _Kind("a graph of TensorFlow", "TensorFlow reads it.", _OTHER),
    ".tflite": _Kind("a model for LiteRT (TensorFlow Lite)", "LiteRT reads it.", _ORIGINAL),
    ".mlmodel .mlpackage": _Kind("a Core ML model", "coremltools reads it.", _ORIGINAL),
    ".engine .plan .trt": _Kind("an engine of TensorRT", "TensorRT reads it.", _ORIGINAL),
    ".nemo": _Kind("a model of NeMo", "NeMo reads it.", _returned("the restored model")),
    ".json .yaml .yml .toml .cfg .ini": _Kind("a configuration file", "", _returned("the model")),
    ".ipynb": _Kind("a notebook", "Jupyter reads it.", "Put the model in a file and write FILE.py:NAME."),
    ".png .jpg .jpeg .gif .bmp .webp .tif .tiff": _Kind("an image", "", MODEL_FORMS),
    ".zip .tar .gz .tgz .xz .7z": _Kind("an archive", "Unpack it.", MODEL_FORMS),
}

#: By a key of a JSON file.
_BY_KEY = {
    "peft_type": _Kind("the configuration of a PEFT adapter", "peft reads it.", _returned("the model")),
    "model_type": _Kind(
        "a configuration of transformers by another name", "", "Name it config.json, in a folder of its own."
    ),
    "_class_name": _Kind("a configuration of diffusers", "diffusers reads it.", _returned("the model")),
    "schema_version": _Kind(
        "a report of modelsum", "`modelsum diff` and `modelsum compare` read it.", "", refused=False
    ),
}

#: By a name in a folder.
_BY_CONTENT = {
    "model_index.json": _Kind(
        "a pipeline of diffusers", "diffusers reads it.", _returned("one of its modules")
    ),
    "adapter_config.json": _Kind("a PEFT adapter", "peft reads it.", _returned("the model")),
    "saved_model.pb": _Kind("a SavedModel of TensorFlow", "TensorFlow reads it.", _OTHER),
    "__init__.py": _Kind("a package", "", "Name what is in it: package.module:attribute.", refused=False),
}

_FOLDER = _Kind("a folder without a config.json", "", MODEL_FORMS)
_FILE = _Kind("a file of an unknown kind", "", MODEL_FORMS)

#: How a model on the Hub can be shown all the same.
THIS_VERY_MODEL = "For a model of the Hub itself write hf:ORG/NAME, or give a folder with its config.json."

_SEPARATORS = "/" + os.sep
_PATH = re.compile(r"[./~\\]|[A-Za-z]:[/\\]|.*\\|.*/.*/")
_ADDRESS = re.compile(r"[\w+.-]+://")
_HUB = re.compile(r"(?:https?://huggingface\.co/|hf://)?(?P<id>[\w.-]+/(?P<name>[\w.-]+))/?")


def at_a_path(text: str) -> UsageError | None:
    """What is to be said of a MODEL that is a path, there or not; None where it is none."""
    if is_address(text):
        return None
    path = os.path.expanduser(text)
    folder, name = os.path.split(path.rstrip(_SEPARATORS) or path)
    if os.path.exists(path):
        kind = _kind_of(Path(path))
        refused = ", which modelsum does not read" if kind.refused else ""
        return UsageError(f"{text!r} is {kind.what}{refused}", f"{kind.reader} {kind.instead}".strip())
    first = path.partition(os.sep)[0]
    if not (
        _PATH.match(text)
        or _by_end(name)
        or text.lower().endswith(MODEL_SUFFIXES)
        or (os.sep in path and os.path.isdir(first))
    ):
        return None
    if not os.path.isdir(folder or os.curdir):
        return UsageError(f"there is no {text!r}: there is no folder {folder!r}", MODEL_FORMS)
    near = did_you_mean(name, os.listdir(folder or os.curdir))
    return UsageError(f"there is no file or folder {text!r}", near or MODEL_FORMS)


def at_an_address(text: str, model_types: Collection[str]) -> UsageError | None:
    """What is to be said of a MODEL on the Hugging Face Hub, of a model type known here, or on the net."""
    hub = _HUB.fullmatch(text)
    if hub is not None and (known := model_type(hub["name"], model_types)):
        return UnknownModelError(
            f"{text!r} looks like a model of the Hugging Face Hub, and nothing is downloaded",
            f"Write hf:{hub['id']} for this very model, where its config.json is in the cache here or "
            f"--fetch may get it; transformers/{known} for that model type in its default configuration.",
        )
    if is_address(text):
        return UsageError(f"{text!r} is an address, and nothing is downloaded", MODEL_FORMS)
    return None


def is_address(text: str) -> bool:
    """Whether it is on the net: https://..., hf://..., s3://..."""
    return _ADDRESS.match(text) is not None


def model_type(name: str, model_types: Collection[str]) -> str | None:
    """The model type that a name on the Hub begins with, or has in it: "vit" of "vit-base-patch16-224"."""
    by_letters = {re.sub(r"[-_.]", "", each): each for each in model_types}
    words = re.split(r"[-_.]", name.lower())
    for start in range(len(words)):
        for end in range(len(words), start, -1):
            if (found := by_letters.get("".join(words[start:end]))) is not None:
                return found
    return None


def _kind_of(path: Path) -> _Kind:
    if path.is_dir():
        marked = (kind for name, kind in _BY_CONTENT.items() if (path / name).exists())
        return next(marked, None) or _by_end(path.name) or _FOLDER
    keys = _keys(path)
    marked = (kind for key, kind in _BY_KEY.items() if key in keys)
    return next(marked, None) or _by_end(path.name) or _FILE


def _by_end(name: str) -> _Kind | None:
    ends = {end: kind for ends, kind in _BY_END.items() for end in ends.split() if name.lower().endswith(end)}
    return ends[max(ends, key=len)] if ends else None


def _keys(path: Path) -> Collection[Any]:
    """The keys of a JSON file, none where it is no such file."""
    if path.suffix.lower() != ".json":
        return ()
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return ()
    return content if isinstance(content, dict) else ()
