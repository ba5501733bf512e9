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

#: Where a range without an end ends.
_ENDLESS = 1 << 32


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
        return _example(spec, program, batches, batch, length, where)

    batches = _batches(program)
    ranges = {
        str(symbol): f"{found.lower} to {found.upper}" for symbol, found in program.range_constraints.items()
    }
    said = ", ".join(f"{symbol} {sizes}" for symbol, sizes in ranges.items())
    notices = (f"sizes that may change: {said}",) if said else ()
    return Loaded(model, "torch.export", example=example if own else None, batches=batches, notices=notices)


def _batches(program: Any) -> range | None:
    """The batches that a program takes: first sizes of its first input that has any; None without one."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.name in program.graph_signature.user_inputs and isinstance(value, Tensor) and value.dim():
            size = value.shape[0]
            return range(size, size + 1) if isinstance(size, int) else _sizes(size.node.expr, program)
    return None


def _sizes(size: Any, program: Any) -> range | None:
    """What a size can be: a symbol or a line in one (2*s), as torch.export makes them; None for another."""
    symbol, *others = size.free_symbols
    found = program.range_constraints.get(symbol)
    if others or found is None:
        return None
    least = max(int(found.lower), 1)
    first, second = (int(size.subs(symbol, value)) for value in (least, least + 1))
    if size.subs(symbol, least + 2) != 2 * second - first:
        return None
    most = int(found.upper) if found.upper.is_Integer else _ENDLESS
    return range(first, int(size.subs(symbol, most)) + 1, second - first)


def _example(
    spec: ModelSpec,
    program: Any,
    batches: range | None,
    batch: int,
    length: int | None,
    device: torch.device,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example that the program was exported with, of another batch where that may change.

    A batch of 1, which is what nobody asked for, is the example's own where the program takes none of 1.

    Raises InputError where another batch or length is asked for than the program takes.
    """
    if length is not None:
        raise InputError("a sequence length is given, but the input is not a default sequence of tokens")
    from modelsum.trace.inputs import move, rebatched

    args, kwargs = program.example_inputs
    made = move((args, dict(kwargs)), device)
    if batch in batches if batches is not None else batch != 1:
        args, kwargs = rebatched(made, batch)
    elif batches is None or batch == 1:
        args, kwargs = made
    elif len(batches) == 1:
        raise InputError(
            f"{spec.text} was exported for a batch of {batches[0]}: there is no other",
            "Export it with dynamic_shapes for the first dimension.",
        )
    else:
        between = " to " if batches.step == 1 else f", {batches[1]} ... "
        raise InputError(
            f"{spec.text} takes batches of {batches[0]}{between}{batches[-1]}, not of {batch}",
            "Export it with a wider range in dynamic_shapes.",
        )
    return args, kwargs
