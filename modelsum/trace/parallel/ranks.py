"""The memory of a step that several processes share: of every distinct rank, in a world of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from modelsum.errors import UsageError
from modelsum.memory.options import MemoryOptions
from modelsum.memory.ranks.mesh import CONTEXT, DATA, PIPELINE, REPLICATE, TENSOR, parse_mesh
from modelsum.memory_values import Memory, Rank
from modelsum.trace.call import Call
from modelsum.trace.parallel import context, pipeline
from modelsum.trace.parallel.alike import groups, groups_by
from modelsum.trace.parallel.blocks import Stretch, equal_blocks
from modelsum.trace.parallel.tensor_parallel import plan_of
from modelsum.trace.parallel.ways import check, shared
from modelsum.trace.parallel.world import world
from modelsum.trace.step.training import predict_rank
from modelsum.trace.torch_private import local_of

_PAIRS = (
    "the model has no plan for tensor parallelism: pairs of linear layers are shared, all else is whole on "
    "every rank"
)
_CONTEXT = (
    "the peaks are at least these: torch's context parallel attention has no kernel for the CPU, and was "
    "compared with no real run"
)


def predict_ranks(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
    train: bool = True,
    own: Callable[..., Any] | None = None,
) -> Memory:
    """The memory of the rank that takes the most, and of every other distinct rank.

    Args:
        call: of the whole model, on meta; left as it is.
        options: the step, with a mesh.
        own: the user's function that `options.parallelize` names.

    Raises as `modelsum.trace.step.training.predict_memory` does.
    """
    mesh = parse_mesh(str(options.mesh))
    if mesh[CONTEXT] > 1 and target == "cpu":
        raise UsageError(
            "cp: torch's context parallel attention has no kernel for the CPU", "Take target cuda."
        )
    if own is None:
        check(call.model, options, mesh)
    ends = None
    if mesh[PIPELINE] > 1 and own is None:
        pipeline.input_of(call)
        chain = pipeline.chain_of(call.model, mesh[PIPELINE])
        ends = pipeline.boundary(call, chain, mesh[PIPELINE])
        if options.param_dtype is not None and mesh[DATA] * mesh[REPLICATE] > 1:
            ends = (
                ends[0].to(getattr(torch, options.param_dtype)),
                ends[1].to(getattr(torch, options.param_dtype)),
            )

    alike = None if own is not None else equal_blocks(call, options)

    def blocks_of(place: Mapping[str, int]) -> Stretch | None:
        """The equal blocks of a rank's stage; they are all that stages share, or there are no stages."""
        if alike is None:
            return None
        stages, stage = mesh[PIPELINE], place.get(PIPELINE, 0)
        parent, names = alike
        if stages == 1:
            return Stretch(call.model, parent, names, 0, 1, names)
        shared_out = chain.paths
        if shared_out != tuple(f"{parent}.{name}" if parent else name for name in names):
            return None
        here = tuple(name.rpartition(".")[2] for name in chain.of_stage(stage, stages))
        return Stretch(call.model, parent, names, stage, stages, here)

    def work(ranks: Sequence[int]) -> Rank:
        with world(ranks[0], mesh.ranks) as stream:
            rank = predict_rank(
                call,
                options=options,
                target=target,
                train=train,
                share=lambda whole: shared(whole, options, own, ends),
                stream=stream,
                blocks=blocks_of(mesh.place_of(ranks[0])),
            )
        if mesh[TENSOR] > 1 and own is None and not plan_of(call.model):
            rank = dataclasses.replace(rank, notices=(*rank.notices, _PAIRS))
        if mesh[CONTEXT] > 1:
            context.check_attention(rank.assumptions["attention"])
            rank = _at_least(rank, "attention in parts", _CONTEXT)
        return dataclasses.replace(rank, ranks=tuple(ranks), place=mesh.place_of(ranks[0]))

    def sizes(rank: int) -> object:
        """Of the part that the user's function gives a rank."""
        with world(rank, mesh.ranks):
            part = shared(call.on(torch.device("meta")), options, own).call.model
            return tuple((name, tuple(local_of(p).shape)) for name, p in part.named_parameters())

    found_alike = groups_by(sizes, mesh) if own is not None else groups(call.model, options, mesh)
    found = [work(ranks) for ranks in found_alike]
    found.sort(key=lambda rank: -(rank.reserved_bytes or rank.peak.bytes))
    worst = {field.name: getattr(found[0], field.name) for field in dataclasses.fields(Memory)}
    return Memory(**worst | {"ranks": tuple(found)})


def _at_least(rank: Rank, what: str, notice: str) -> Rank:
    return dataclasses.replace(rank, unmeasured={**rank.unmeasured, what: 1}, notices=(*rank.notices, notice))
