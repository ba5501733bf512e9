"""`.gguf`: the model of transformers that the metadata of a file for llama.cpp describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import UsageError, did_you_mean
from modelsum.raised import brief
from modelsum.sources import installed
from modelsum.sources.base import Loaded
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def opened(path: Path, text: str) -> Any:
    """The gguf package's reader of a file, which maps it into memory. Raises UsageError."""
    installed.require("gguf")
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except Exception as error:  # of a broken file: whatever it runs into
        raise UsageError(f"{text!r} is no GGUF file that can be read: {brief(error)}") from error


def load(path: Path, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
    """The architecture as transformers has it, in the sizes that the file names. Raises UsageError."""
    stored = configuration(path, spec.text)
    from modelsum.sources import transformers

    loaded = transformers.configured(spec, stored, arguments, device, "gguf")
    said = "the architecture is that of transformers; `modelsum show FILE` lists the quantized tensors"
    return dataclasses.replace(loaded, notices=(*loaded.notices, said))


def configuration(path: Path, text: str) -> dict[str, Any]:
    """The entries of the configuration that transformers makes of the metadata. Raises UsageError."""
    reader = opened(path, text)
    installed.require("transformers")
    from transformers import modeling_gguf_pytorch_utils as of_transformers

    try:
        stored: dict[str, Any] = of_transformers.load_gguf_checkpoint(str(path))["config"]
    except Exception as error:  # of an architecture that transformers has no mapping for, and others
        field = reader.get_field("general.architecture")
        architecture = str(field.contents()) if field else "none"
        known = of_transformers.GGUF_SUPPORTED_ARCHITECTURES
        raise UsageError(
            f"{text}: transformers makes no model of the GGUF architecture {architecture!r}: {brief(error)}",
            did_you_mean(architecture, known) or f"It does of {', '.join(sorted(known))}.",
        ) from error
    return stored
