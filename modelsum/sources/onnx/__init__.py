"""`.onnx`: the nodes of a graph as layers, in the shapes that ONNX infers for the input that is given.

What a node computes is nothing that torch would: a node that multiplies and accumulates is done by the op of
torch that does the same, so that the rules of all models count it, and of all others there are the results.
Weights are not read; those of files beside the graph need not be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelsum.errors import InputError, UsageError
from modelsum.raised import brief
from modelsum.sources import installed
from modelsum.sources.base import Loaded
from modelsum.sources.ondisk import refuse_arguments
from modelsum.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def load(path: Path, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
    """The graph's nodes on the meta device. Raises UsageError."""
    installed.require("onnx")
    refuse_arguments(spec, arguments)
    if device.type != "meta":
        raise UsageError(f"{spec.text} is a graph of shapes: it cannot run on {device}", "Use --device meta.")
    import onnx

    from modelsum.sources.onnx.graph import Graph

    try:
        proto = onnx.load(str(path), load_external_data=False)
        graph = Graph(proto)
    except Exception as error:  # of protobuf, of the inliner: whatever a broken file makes them raise
        raise UsageError(f"{spec.text} is no ONNX model that can be read: {brief(error)}") from error
    if not proto.graph.output:  # an empty file is a message like any other
        raise UsageError(f"{spec.text} is no ONNX model: it has no graph that gives anything")

    def example(
        batch: int, length: int | None, where: torch.device
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {
            name: graph.example(name, _sizes(spec, name, dims, batch, length))
            for name, dims in graph.inputs.items()
        }

    said = "an ONNX graph is for inference: there is no training step, and its weights are not trained"
    first = next((dims[0] for dims in graph.inputs.values() if dims), None)
    batches = range(first, first + 1) if isinstance(first, int) else None
    return Loaded(graph, "onnx", example=example, batches=batches, notices=(said,))


def _sizes(
    spec: ModelSpec, name: str, dims: list[int | str], batch: int, length: int | None
) -> tuple[int, ...]:
    """The sizes of an input: a first one that is free is the batch, others are tokens."""
    sizes = []
    for place, dim in enumerate(dims):
        if isinstance(dim, int):
            sizes.append(dim)
        elif place == 0:
            sizes.append(batch)
        elif length is not None:
            sizes.append(length)
        else:
            shown = "x".join(map(str, dims))
            raise InputError(
                f"{spec.text}: input {name!r} is {shown}, where {dim!r} is free",
                f"Give --seq-len N for it, or the input: --input {name}=SIZES.",
            )
    if dims and isinstance(dims[0], int) and batch not in (1, dims[0]):
        raise InputError(
            f"{spec.text}: the first size of input {name!r} is {dims[0]}: there is no other batch",
            "Export it with a dynamic axis.",
        )
    return tuple(sizes)
