"""Weights files and folders of shards -> what they hold. Nothing is loaded, and no code in a file is run.

`.safetensors` begins with a header that names every tensor (its format is two steps: 8 bytes of
little-endian length, then JSON; github.com/huggingface/safetensors, "Format"), so a file of any size
answers at once and without torch. `.pt`, `.pth` and `.bin` are pickles: torch reads them with
`weights_only=True` and maps the file into memory rather than copying it. `.gguf` is read by the gguf package.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import zipfile
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelsum.errors import UsageError
from modelsum.raised import brief
from modelsum.sources.foreign import is_address
from modelsum.sources.ondisk import reader_of
from modelsum.spec import WEIGHT_SUFFIXES, ModelSpec
from modelsum.weights import StoredTensor, Weights

_MOST_HEADER_BYTES = 100_000_000  # the format's own limit
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
# Checkpoints that hold more than the model keep its weights under one of these.
_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")


#: Ends of files whose tensors can be listed without a model to load them into.
_LISTED = (*WEIGHT_SUFFIXES, ".gguf")
_INDEX, _SHARDS = ".safetensors.index.json", "*.safetensors"


def stands_for(model: ModelSpec) -> bool:
    """Whether a name is that of files which hold tensors and no model: shards too, without a config.json."""
    path = Path(model.name)
    if path.is_dir():
        return reader_of(path) is None and any(path.glob(_SHARDS))
    name = model.name.lower()
    return name.endswith(_LISTED) and reader_of(path) in (None, "gguf") and model.attribute is None


def read(text: str) -> Weights:
    """What the file, or the shards of an index or a folder, hold.

    Raises UsageError where it is missing, broken or needs code to load.
    """
    path = Path(text)
    if is_address(text):
        raise UsageError(f"{text!r} is an address, and nothing is downloaded", "Name a file that is here.")
    if path.is_dir():
        return _shards(text, sorted(path.glob(_SHARDS)), ())
    if not path.is_file():
        raise UsageError(f"there is no weights file {text!r}", f"Name one that ends in {', '.join(_LISTED)}.")
    try:
        if text.lower().endswith(_INDEX):
            return _indexed(path, text)
        readers = {".safetensors": _read_safetensors, ".gguf": _read_gguf}
        return readers.get(path.suffix.lower(), _read_pickle)(path, text)
    except OSError as error:
        why = "it ends too early" if error.errno == errno.EINVAL else error.strerror  # where tensors lie
        raise UsageError(f"{text!r} cannot be read: {why}") from error


# ---- several files


def _indexed(path: Path, text: str) -> Weights:
    """The shards that an index names. Raises UsageError where one is not here: shapes stand in the shards."""
    try:
        index = json.loads(path.read_bytes())
        places: Mapping[str, str] = index["weight_map"]
        shards = {shard: path.parent / Path(shard).name for shard in sorted(set(places.values()))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{text!r} is no index of safetensors: {type(error).__name__}: {error}",
            "It has a weight_map, from the names of tensors to files.",
        ) from error
    missing = [shard for shard, file in shards.items() if not file.is_file()]
    if missing:
        total = index.get("metadata", {}).get("total_size")
        size = f"; all of them together have {int(total):,} bytes, it says" if total else ""
        raise UsageError(
            f"{text!r} names {len(shards)} files, and {len(missing)} are not here: {missing[0]}{size}",
            "Shapes stand in the files. A folder with config.json is shown as a model, and needs none.",
        )
    weights = _shards(text, list(shards.values()), ())
    absent = sorted(places.keys() - {tensor.name for tensor in weights.tensors})
    notices = (f"{len(absent)} tensors of the index are in none of its files: {absent[0]}",) if absent else ()
    return dataclasses.replace(weights, notices=(*weights.notices, *notices))


def _shards(text: str, files: Sequence[Path], notices: tuple[str, ...]) -> Weights:
    parts = [_read_safetensors(file, str(file)) for file in files]
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    said = tuple(f"{part.spec}: {notice}" for part in parts for notice in part.notices)
    metadata = {"files": str(len(files))} | {k: v for part in parts for k, v in part.metadata.items()}
    return Weights(text, tensors, metadata, (*notices, *said))


# ---- GGUF


def _read_gguf(path: Path, text: str) -> Weights:
    """Every tensor with the bytes that it takes as it is quantized; its shape in the order of torch."""
    from modelsum.sources.gguf import opened

    reader = opened(path, text)
    tensors = tuple(
        StoredTensor(
            tensor.name,
            tuple(int(size) for size in reversed(tensor.shape)),
            tensor.tensor_type.name.lower(),
            int(tensor.n_bytes),
        )
        for tensor in reader.tensors
    )
    said = ("general.architecture", "general.name", "general.size_label")
    fields = {key: reader.get_field(key) for key in said}
    return Weights(text, tensors, {key: str(each.contents()) for key, each in fields.items() if each})


# ---- safetensors


def _read_safetensors(path: Path, text: str) -> Weights:
    header = _header(path, text)
    metadata = header.pop("__metadata__", {})
    tensors: list[StoredTensor] = []
    end = 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            start, end = entry["data_offsets"]
            shape = tuple(int(size) for size in entry["shape"])
            dtype = _DTYPES.get(entry["dtype"], str(entry["dtype"]).lower())
            tensors.append(StoredTensor(name, shape, dtype, end - start))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{text!r} is not a safetensors file: its header is broken ({error})") from error
    notices: tuple[str, ...] = ()
    whole = 8 + _header_length(path, text) + end
    if path.stat().st_size < whole:
        notices = (f"the file is cut short: {path.stat().st_size} of {whole} bytes",)
    return Weights(text, tuple(tensors), dict(metadata), notices)


def _header_length(path: Path, text: str) -> int:
    with path.open("rb") as file:
        first = file.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= _MOST_HEADER_BYTES:
        raise UsageError(f"{text!r} is not a safetensors file: it does not begin with the length of a header")
    return length


def _header(path: Path, text: str) -> dict[str, Any]:
    length = _header_length(path, text)
    with path.open("rb") as file:
        file.seek(8)
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a safetensors file: its header is not JSON ({error})") from error
    if len(raw) < length or not isinstance(header, dict):
        raise UsageError(f"{text!r} is not a safetensors file: its header is cut short")
    return header


# ---- pickles


def _read_pickle(path: Path, text: str) -> Weights:
    import pickle

    import torch

    from modelsum.trace.census import identity, nbytes

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{text!r} cannot be read without running code in it: {brief(error).partition('. ')[0]}",
            "modelsum reads tensors and plain containers alone. Save a state_dict: "
            "torch.save(model.state_dict(), FILE).",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        # The list of what is in an archive is at its end.
        cut = _is_zip(path) and not zipfile.is_zipfile(path)
        why = "it ends too early" if cut else brief(error)
        raise UsageError(f"{text!r} is not a torch checkpoint ({why})") from error
    state, notices = _state_dict(loaded, text)
    names: dict[Hashable, str] = {}
    tensors = []
    for name, tensor in _flattened(state):
        key = identity(tensor)
        tied_to = names.get(key)
        names.setdefault(key, name)
        dtype = str(tensor.dtype).removeprefix("torch.")
        tensors.append(StoredTensor(name, tuple(tensor.shape), dtype, nbytes(tensor), tied_to))
    if not tensors:
        raise UsageError(f"{text!r} holds no tensors", "Name a file that torch.save wrote a state_dict to.")
    return Weights(text, tuple(tensors), {}, notices)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"  # torch.save since 1.6; older files cannot be mapped


def _state_dict(loaded: Any, text: str) -> tuple[Any, tuple[str, ...]]:
    if isinstance(loaded, Mapping):
        for key in _STATE_DICT_KEYS:
            inner = loaded.get(key)
            if isinstance(inner, Mapping) and any(True for _ in _flattened(inner)):
                others = [str(k) for k in loaded if k != key]
                if not others:
                    return inner, ()
                return inner, (f"the weights under {key!r}; beside it the file holds {', '.join(others)}",)
    return loaded, ()


def _flattened(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor in nested dicts and lists, by its dotted place."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix or "tensor", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flattened(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flattened(item, f"{prefix}.{index}" if prefix else str(index))
