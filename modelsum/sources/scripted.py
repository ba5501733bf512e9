"""TorchScript, `.pt` or `.ts`: a compiled model, loaded by torch's own reader, which runs no Python code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from modelsum.errors import UsageError
from modelsum.raised import brief
from modelsum.sources.base import Loaded
from modelsum.sources.ondisk import refuse_arguments
from modelsum.spec import ModelSpec


def load(path: Path, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
    """The module on the CPU, whatever the device: TorchScript cannot be on meta. Raises UsageError."""
    from modelsum.trace.copying import copy_to
    from modelsum.trace.torch_private import unwarned

    refuse_arguments(spec, arguments)
    try:
        with unwarned():
            model = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"{spec.text} cannot be read as TorchScript: {brief(error)}",
            "Save it with this torch, or name a function that returns the model: FILE.py:FUNCTION.",
        ) from error
    return Loaded(copy_to(model, device), "torchscript")
