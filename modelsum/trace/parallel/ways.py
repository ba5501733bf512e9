"""How the processes of a mesh share a model: torch's own wrappers, put around it on meta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from modelsum import objects
from modelsum.errors import BuildError, UsageError, did_you_mean
from modelsum.memory.fitting.blocks import checkpoint_patterns
from modelsum.memory.options import MemoryOptions
from modelsum.memory.ranks.mesh import CONTEXT, DATA, PIPELINE, REPLICATE, TENSOR, Mesh, parse_mesh
from modelsum.raised import told
from modelsum.trace.call import Call
from modelsum.trace.parallel import context, pipeline
from modelsum.trace.parallel.tensor_parallel import parallelized, styles_of
from modelsum.trace.step.stage import Shared
from modelsum.trace.torch_private import flattened, share_of_zero


def check(model: nn.Module, options: MemoryOptions, wanted: Mesh) -> None:
    """Refuse what does not fit the whole model, before anything is run. Raises UsageError."""
    if wanted[TENSOR] > 1:
        styles_of(model, wanted[TENSOR])
    if options.shards in ("fsdp", "zero2"):
        wrapped_modules(model, options.wrap)


def shared(
    call: Call,
    options: MemoryOptions,
    own: Callable[..., Any] | None = None,
    ends: tuple[Tensor, Tensor] | None = None,
) -> Shared:
    """The call of this rank's part of the model, in a world of the mesh's size.

    Args:
        call: on meta; its model is changed.
        options: the step, with a mesh.
        own: the user's function of `options.parallelize`.
        ends: where there are pipeline stages, what goes between them and what comes out.

    Raises:
        UsageError: a pattern matches no module, or the mesh does not divide the model.
        BuildError: the user's function fails.
    """
    from torch.distributed.device_mesh import init_device_mesh

    wanted = parse_mesh(str(options.mesh))
    on_host = options.offload == "params"
    mesh = init_device_mesh("meta", tuple(wanted.sizes.values()), mesh_dim_names=tuple(wanted.sizes))
    around: Callable[[], Any] = nullcontext
    if wanted[CONTEXT] > 1:
        call = context.cut(call, wanted[CONTEXT])
        around = context.going_round(mesh[CONTEXT])
    if own is not None:
        return Shared(replace(call, model=_own(call.model, mesh, own, options)), around=around)
    if ends is None:
        model, stepped, sync = _arranged(call.model, options, mesh, wanted)
        return Shared(replace(call, model=model), stepped, sync, on_host=on_host, around=around)
    stages, here = wanted[PIPELINE], mesh[PIPELINE]
    stage = here.get_local_rank()
    chain = pipeline.chain_of(call.model, stages)
    part, prefix, keyword = pipeline.cut(call.model, chain, stage, stages)
    path = f"{prefix}." if prefix else ""
    whole = None
    takes, gives = ends[0].detach().requires_grad_(), ends[stage == stages - 1].detach().requires_grad_()
    if stage == 0:
        one = pipeline.input_of(call)
        whole = torch.cat([one] * options.accumulate)
        takes = whole[: len(one)]
        keyword = next(iter(call.kwargs), None)
    # What torch's stage runs has to be what is sharded: it keeps gradients back until the last microbatch.
    wraps = options.wrap or chain.paths  # a single block of a stage is one of many all the same
    options = replace(options, wrap=tuple(f"part.{wrap.removeprefix(path)}" for wrap in wraps))
    piece, stepped, sync = _arranged(pipeline.Piece(part, keyword), options, mesh, wanted, is_whole=False)
    passes, received = pipeline.schedule(
        piece, stage, stages, here.get_group(), (takes, gives), whole, options.accumulate
    )
    return Shared(Call(piece, (takes,)), stepped, sync, path, passes, received, on_host)


def _own(model: nn.Module, mesh: Any, own: Callable[..., Any], options: MemoryOptions) -> nn.Module:
    """What the user's function makes of the model: it may return it, or change it."""
    try:
        made = own(model, mesh)
    except Exception as error:
        raise BuildError(
            f"{options.parallelize} failed: {told(error, whole=True)}",
            "It is called with the model on meta and a DeviceMesh of the dimensions of the mesh.",
        ) from error
    if made is not None and not isinstance(made, nn.Module):
        raise BuildError(f"{options.parallelize} returned {objects.kind_of(made)}, not the model")
    for module in (made or model).modules():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            _alone(module)
    return made or model


_Arranged = tuple[nn.Module, Sequence[nn.Parameter] | None, Callable[[], None] | None]


def _arranged(
    model: nn.Module, options: MemoryOptions, mesh: Any, wanted: Mesh, *, is_whole: bool = True
) -> _Arranged:
    """The model in torch's wrappers, what of it this rank steps, and what it does then."""
    if wanted[TENSOR] > 1:
        parallelized(model, mesh[TENSOR], is_whole=is_whole)
        if options.clip and len({type(p) for p in model.parameters()}) > 1:
            raise UsageError(
                "clip: torch takes no norm of gradients of which only some are shared among tp",
                "Leave clip out, or share all weights out by your own function: "
                "--parallelize file.py:function.",
            )
    if options.shards in ("fsdp", "zero2"):
        if wanted[DATA] * wanted[REPLICATE] * wanted[CONTEXT] > 1:
            _fully_shard(model, mesh, wanted, options, is_whole=is_whole)
        return model, None, None
    if wanted[DATA] == 1:
        return model, None, None
    group = mesh[DATA].get_group()
    model = nn.parallel.DistributedDataParallel(model, process_group=group)
    _alone(model)
    if options.shards == "ddp":
        return model, None, None
    return model, *share_of_zero([p for p in model.parameters() if p.requires_grad], group)


def _alone(model: nn.parallel.DistributedDataParallel) -> None:
    """Have DDP do with a group whose work has no result, and without its clocks, which meta has not."""

    def reduced(group: Any, bucket: Any) -> Any:
        torch.distributed.all_reduce(bucket.buffer(), group=group)
        future: Any = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    # DDP looks at the annotations, which are texts here.
    model.register_comm_hook(model.process_group, lambda group, bucket: reduced(group, bucket))
    model.logger = SimpleNamespace(set_runtime_stats_and_log=lambda: None)


def _fully_shard(
    model: nn.Module, mesh: Any, wanted: Mesh, options: MemoryOptions, *, is_whole: bool
) -> None:
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard

    dtypes = {
        name: getattr(torch, dtype)
        for name in ("param_dtype", "reduce_dtype")
        if (dtype := getattr(options, name)) is not None
    }
    how: dict[str, Any] = {}
    if options.offload == "params":
        # Pinned memory is the same memory; meta has none that could be.
        how["offload_policy"] = CPUOffloadPolicy(pin_memory=False)
    shards = tuple(name for name in (DATA, CONTEXT) if name in wanted.sizes)
    if not shards:
        raise UsageError("replicate is of what is sharded among dp", "Say dp=N,replicate=M, or shard ddp.")
    among = mesh[shards[0]]
    if len(shards) > 1:  # parts of sequences are part of the batch to who shares weights
        among = flattened(mesh[shards], "_".join(shards))
    replicas = (REPLICATE, *among.mesh_dim_names)
    how["mesh"] = mesh[replicas] if REPLICATE in wanted.sizes else among
    if dtypes:
        how["mp_policy"] = MixedPrecisionPolicy(**dtypes)
    reshard = False if options.shards == "zero2" else options.reshard
    for module in wrapped_modules(model, options.wrap, is_whole=is_whole):
        fully_shard(module, **how, reshard_after_forward=True if reshard is None else reshard)
    fully_shard(model, **how, reshard_after_forward=reshard)


def wrap_patterns(model: nn.Module) -> tuple[str, ...]:
    """Patterns of the repeated blocks of a model, those that hold the most parameters."""
    modules = {
        path: module
        for path, module in model.named_modules()
        if path and not isinstance(module, (nn.ModuleList, nn.ModuleDict))
    }
    classes = {path: type(module).__name__ for path, module in modules.items()}
    sizes = {path: sum(p.numel() for p in module.parameters()) for path, module in modules.items()}
    return next(iter(checkpoint_patterns(classes, sizes)[::-1]), ())


def wrapped_modules(model: nn.Module, patterns: Sequence[str], *, is_whole: bool = True) -> list[nn.Module]:
    """The modules that are sharded on their own, those inside others first; the model is not among them.

    Raises UsageError for a pattern that matches none of a model that is whole, no pipeline stage.
    """
    paths = {path: module for path, module in model.named_modules() if path}
    patterns = tuple(patterns) or wrap_patterns(model)
    for pattern in patterns:
        if is_whole and not any(fnmatchcase(path, pattern) for path in paths):
            hint = did_you_mean(pattern, paths) or "Paths are as `modelsum show` prints them: 'layers.*'."
            raise UsageError(f"wrap {pattern!r} matches no module", hint)
    # `layers.*` names the blocks, not everything in them.
    found = [
        path
        for path in paths
        if any(fnmatchcase(path, p) and path.count(".") == p.count(".") for p in patterns)
    ]
    return [paths[path] for path in sorted(found, key=lambda path: -path.count("."))]
