"""`.pt2`: a program of torch.export, as modules again, with its own example and its dynamic sizes."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import InputError, UsageError
from modelsum.raised import brief
from modelsum.sources.base import Loaded
from modelsum.sources.ondisk import refuse_arguments
from modelsum.spec import ModelSpec


def load(path: Path, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
    """The program with its modules, on the device. Raises UsageError."""
    from modelsum.trace.copying import copy_to
    from modelsum.trace.torch_private import replaced, without_pickles

    refuse_arguments(spec, arguments)
    try:
        # What is wrong with a file is said once, below.
        with without_pickles(), replaced(logging.getLogger("torch.export"), "disabled", True):
            program = torch.export.load(str(path))
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{spec.text} cannot be read without running code in it: {brief(error)}",
            "Load it yourself, in a function that returns its .module(): FILE.py:FUNCTION.",
        ) from error
    except Exception as error:  # of a broken file, of another version's, of ops that are not there
        raise UsageError(
            f"{spec.text} is no program of torch.export that torch {torch.__version__} reads: {brief(error)}",
            "Export it with this version, or name a function that returns its .module(): FILE.py:FUNCTION.",
        ) from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # by copy.deepcopy
        model = copy_to(torch.export.unflatten(program), device)
    own = program.example_inputs

    def example(
        batch: int, length: int | None, where: torch.device
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _example(spec, program, batch, length, where)

    ranges = {
        str(symbol): f"{found.lower} to {found.upper}" for symbol, found in program.range_constraints.items()
    }
    said = ", ".join(f"{symbol} {sizes}" for symbol, sizes in ranges.items())
    notices = (f"sizes that may change: {said}",) if said else ()
    return Loaded(model, "torch.export", example=example if own else None, notices=notices)


def _example(
    spec: ModelSpec, program: Any, batch: int, length: int | None, device: torch.device
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example that the program was exported with; its first sizes are the batch where they may change.

    Raises InputError where another batch or length is asked for than the program takes.
    """
    if length is not None:
        raise InputError("a sequence length is given, but the input is not a default sequence of tokens")
    from modelsum.trace.inputs import move, rebatched

    args, kwargs = program.example_inputs
    dynamic = [
        any(type(size) is not int for size in node.meta["val"].shape[:1])
        for node in program.graph.nodes
        if node.op == "placeholder"
        and node.name in program.graph_signature.user_inputs
        and isinstance(node.meta.get("val"), Tensor)
    ]
    if not any(dynamic) and batch != 1:
        raise InputError(
            f"{spec.text} was exported for inputs of exactly these sizes: there is no other batch",
            "Export it with dynamic_shapes for the first dimension.",
        )
    made = move((args, dict(kwargs)), device)
    args, kwargs = made if batch == 1 else rebatched(made, batch)
    return args, kwargs
