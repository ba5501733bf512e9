"""Real training steps of several processes (gloo, CPU), and the memory of each by the allocator's records.

The profiler has a record of every allocation; their running total is the live memory. What gloo allocates
and NCCL does not is kept out: it gathers into a flat copy of the whole result, and copies what it reduces.
(In the step of these tests' model of 4 blocks of 11.254 MiB that copy stands at the gathering of a block in
the backward pass, where the step is 5.5 MiB below its peak: a constant 5.754 MiB more than without it.)
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.profiler import ProfilerActivity, profile, record_function

PHASES = ("forward", "backward", "optimizer step")


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.head, self.repeats = dim // heads, heads // kv_heads
        self.q = nn.Linear(dim, heads * self.head, bias=False)
        self.k = nn.Linear(dim, kv_heads * self.head, bias=False)
        self.v = nn.Linear(dim, kv_heads * self.head, bias=False)
        self.o = nn.Linear(heads * self.head, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            layer(x).view(batch, length, -1, self.head).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        k, v = k.repeat_interleave(self.repeats, 1), v.repeat_interleave(self.repeats, 1)
        mask = torch.full((length, length), float("-inf"), device=x.device, dtype=x.dtype).triu(1)
        scores = torch.softmax(q @ k.transpose(-2, -1) * self.head**-0.5 + mask, dim=-1)
        return self.o((scores @ v).transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(dim, heads, kv_heads), FeedForward(dim, hidden)
        self.attention_norm, self.feed_forward_norm = RMSNorm(dim), RMSNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))


class LanguageModel(nn.Module):
    """A small decoder, with a plan for tensor parallelism as transformers has it."""

    _tp_plan: Mapping[str, str] = {
        "blocks.*.attention.[qkv]": "colwise",
        "blocks.*.attention.o": "rowwise",
        "blocks.*.feed_forward.gate": "colwise",
        "blocks.*.feed_forward.up": "colwise",
        "blocks.*.feed_forward.down": "rowwise",
        "output": "colwise_rep",
    }

    def __init__(
        self, dim: int = 256, blocks: int = 4, heads: int = 8, kv_heads: int = 4, hidden: int = 704,
        vocabulary: int = 1024,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, dim)
        self.blocks = nn.Sequential(*(Block(dim, heads, kv_heads, hidden) for _ in range(blocks)))
        self.norm = RMSNorm(dim)
        self.output = nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.norm(self.blocks(self.tokens(tokens))))


def in_a_row(model: LanguageModel) -> nn.Sequential:
    """The same as a sequence, which pipeline stages can share."""
    return nn.Sequential(model.tokens, *model.blocks, model.norm, model.output)


@dataclass(frozen=True)
class Run:
    """A training step of several processes.

    Attributes:
        way: of `WAYS`.
        model: arguments of `LanguageModel`.
    """

    way: str
    mesh: Mapping[str, int]
    model: Mapping[str, int]
    batch: int = 2
    length: int = 128
    checkpoint: bool = False
    param_dtype: str | None = None
    reshard: bool | None = None
    clip: bool = True
    foreach: bool = True
    microbatches: int = 1

    @property
    def ranks(self) -> int:
        count = 1
        for size in self.mesh.values():
            count *= size
        return count


class _WithoutCopies:
    """An all-gather or a reduce-scatter without memory of its own, as NCCL's are.

    gloo's threads hold on to what they have sent, and the profiler does not see them let go of it: so they
    get buffers that are there from the first step on.
    """

    _buffers: ClassVar[dict[Any, Tensor]] = {}

    def staged(self, like: Tensor) -> Tensor:
        key = like.shape, like.dtype
        if key not in self._buffers:
            self._buffers[key] = torch.empty_like(like)
        return self._buffers[key]

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class _AllGather(_WithoutCopies):
    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False
    ) -> None:
        staged = self.staged(output_tensor)
        parts = [*staged.view(dist.get_world_size(group), -1)]
        parts[dist.get_rank(group)].copy_(input_tensor)
        for rank, part in enumerate(parts):
            dist.broadcast(part, dist.get_global_rank(group, rank), group=group)
        output_tensor.copy_(staged)


class _ReduceScatter(_WithoutCopies):
    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> None:
        staged = self.staged(input_tensor)
        dist.all_reduce(staged.copy_(input_tensor), group=group)
        output_tensor.copy_(staged.view(dist.get_world_size(group), -1)[dist.get_rank(group)])


def _gathered(tensor: Tensor, size: int, name: Any) -> Tensor:
    out = tensor.new_empty((tensor.shape[0] * size, *tensor.shape[1:]))
    _AllGather()(out.view(-1), tensor.reshape(-1), dist.distributed_c10d._resolve_process_group(name))
    return out


def _reduced(tensor: Tensor, op: str, name: Any) -> Tensor:
    out = tensor.clone(memory_format=torch.contiguous_format)
    staged = _WithoutCopies().staged(out)
    dist.all_reduce(staged.copy_(out), group=dist.distributed_c10d._resolve_process_group(name))
    return out.copy_(staged)


def _scattered(tensor: Tensor, op: str, size: int, name: Any) -> Tensor:
    out = tensor.new_empty((tensor.shape[0] // size, *tensor.shape[1:]))
    group = dist.distributed_c10d._resolve_process_group(name)
    _ReduceScatter()(out.view(-1), tensor.reshape(-1), group, None)
    return out


def without_copies() -> Any:
    """The collectives of DTensor as those of FSDP above, as long as the result is kept."""
    library = torch.library.Library("_c10d_functional", "IMPL")
    library.impl("all_gather_into_tensor", _gathered, "CPU")
    library.impl("all_reduce", _reduced, "CPU")
    library.impl("reduce_scatter_tensor", _scattered, "CPU")
    return library


def arranged(model: nn.Module, run: Run) -> tuple[nn.Module, Callable[..., torch.optim.Optimizer]]:
    """The model under torch's own wrappers, and what makes its optimizer."""
    mesh = init_device_mesh("cpu", tuple(run.mesh.values()), mesh_dim_names=tuple(run.mesh))
    make: Callable[..., torch.optim.Optimizer] = lambda p: torch.optim.AdamW(p, foreach=run.foreach)  # noqa: E731
    if run.mesh.get("tp", 1) > 1:
        from torch.distributed.tensor import Replicate
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        plan: dict[str, Any] = {"output": ColwiseParallel(output_layouts=Replicate())}
        for name, _ in model.named_modules():
            if name.rpartition(".")[2] in ("q", "k", "v", "gate", "up"):
                plan[name] = ColwiseParallel()
            elif name.rpartition(".")[2] in ("o", "down"):
                plan[name] = RowwiseParallel()
        parallelize_module(model, mesh["tp"], plan)
    if run.checkpoint:
        from torch.utils.checkpoint import checkpoint

        for block in model.blocks:
            block.forward = _recomputed(checkpoint, block.forward)
    if run.way == "fsdp" and "dp" in run.mesh:
        among = mesh["replicate", "dp"] if "replicate" in run.mesh else mesh["dp"]
        fully_sharded(model, model.blocks, among, run)
    elif run.way in ("ddp", "zero1"):
        group = mesh["dp"].get_group()
        model = nn.parallel.DistributedDataParallel(model, process_group=group)
        if run.way == "zero1":
            from torch.distributed.optim import ZeroRedundancyOptimizer

            make = lambda p: ZeroRedundancyOptimizer(  # noqa: E731
                p, torch.optim.AdamW, process_group=group, foreach=run.foreach
            )
    return model, make


def fully_sharded(model: nn.Module, blocks: Any, mesh: Any, run: Run) -> None:
    """Every block, and then the rest; with the collectives of above."""
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    how: dict[str, Any] = {"mesh": mesh}
    if run.param_dtype:
        how["mp_policy"] = MixedPrecisionPolicy(
            param_dtype=getattr(torch, run.param_dtype), reduce_dtype=torch.float32
        )
    reshard = run.reshard
    for block in blocks:
        fully_shard(block, **how, reshard_after_forward=True if reshard is None else reshard)
    fully_shard(model, **how, reshard_after_forward=reshard)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_custom_all_gather(_AllGather())
            module.set_custom_reduce_scatter(_ReduceScatter())


def _recomputed(checkpoint: Any, forward: Any) -> Any:
    return lambda *args: checkpoint(forward, *args, use_reentrant=False)


def piped(model: LanguageModel, run: Run) -> tuple[nn.Module, Any]:
    """The part of this stage, and torch's schedule of it; forward and backward say when they begin."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    class Marked(PipelineStage):
        def forward_one_chunk(self, *args: Any, **kwargs: Any) -> Any:
            with record_function("mark forward"):
                pass
            return super().forward_one_chunk(*args, **kwargs)

        def backward_one_chunk(self, *args: Any, **kwargs: Any) -> Any:
            with record_function("mark backward"):
                pass
            return super().backward_one_chunk(*args, **kwargs)

    mesh = init_device_mesh("cpu", tuple(run.mesh.values()), mesh_dim_names=tuple(run.mesh))
    stages, stage = run.mesh["pp"], mesh["pp"].get_local_rank()
    parts = [*in_a_row(model)]
    each = len(model.blocks) // stages
    ends = [0, *(1 + each * n for n in range(1, stages)), len(parts)]
    part = nn.Sequential(*parts[ends[stage] : ends[stage + 1]])
    hidden = torch.empty(run.batch, run.length, model.norm.weight.numel(), requires_grad=True)
    ids = torch.zeros(run.batch, run.length, dtype=torch.int64)
    with torch.no_grad():
        out = part(hidden if stage else ids)
    if run.param_dtype:  # what comes out of a stage, and goes into the next
        hidden, out = (t.detach().to(getattr(torch, run.param_dtype)).requires_grad_() for t in (hidden, out))
    if "dp" in run.mesh:
        fully_sharded(part, [child for child in part if isinstance(child, Block)], mesh["dp"], run)
    piece = Marked(
        part, stage, stages, torch.device("cpu"),
        input_args=(hidden if stage else ids,), output_args=(out.requires_grad_(),),
        group=mesh["pp"].get_group(),
    )  # fmt: skip

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.flatten(0, 1), labels.flatten())

    return part, Schedule1F1B(piece, run.microbatches, loss_fn=loss)


_IMPORTED = (
    *("torch.distributed.fsdp", "torch.distributed.tensor.parallel", "torch.distributed.pipelining"),
    *("torch.distributed.optim", "torch.profiler", "torch.optim.adamw", "torch.multiprocessing"),
)


def peaks(run: Run) -> list[dict[str, int]]:
    """Most live bytes of each phase of a step in steady state, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("forkserver")  # which imports torch once for all of them
    context.set_forkserver_preload([*_IMPORTED])
    answers = context.SimpleQueue()
    processes = [
        context.Process(target=_rank, args=(rank, run, port, answers), daemon=True)
        for rank in range(run.ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = dict(answers.get() for _ in processes)
    return [found[rank] for rank in range(run.ranks)]


def _rank(rank: int, run: Run, port: int, answers: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=run.ranks)
    torch.manual_seed(0)
    library = without_copies()
    schedule: Any = None
    if "pp" in run.mesh:
        model, schedule = piped(LanguageModel(**run.model), run)
        make: Any = lambda p: torch.optim.AdamW(p, foreach=run.foreach)  # noqa: E731
    else:
        model, make = arranged(LanguageModel(**run.model), run)
    optimizer = make(list(model.parameters()))
    vocabulary = run.model.get("vocabulary", 1024)
    tokens, labels = (
        torch.randint(0, vocabulary, (run.batch * run.microbatches, run.length)) for _ in range(2)
    )

    stages = run.mesh.get("pp", 1)  # the outermost dimension
    first, last = (rank * stages // run.ranks == end for end in (0, stages - 1))

    def step(mark: Callable[[str], Any] = lambda name: None) -> None:
        optimizer.zero_grad()
        mark("forward")
        if schedule is not None:
            schedule.step(*((tokens,) if first else ()), **({"target": labels} if last else {}))
        else:
            loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
            mark("backward")
            loss.backward()
            del loss
        mark("optimizer step")
        if run.clip:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mark("end")

    for _ in range(3):
        step()
    gc.collect()
    optimizer.zero_grad()  # what is released is only recorded where it was allocated meanwhile
    local = optimizer.optim if run.way == "zero1" else optimizer
    states = [t for state in local.state.values() for t in state.values() if isinstance(t, Tensor)]
    there = [*model.parameters(), *model.buffers(), *states]
    if schedule is not None:  # what is received is put into buffers that stay
        piece = schedule._stage
        infos = [*piece.args_recv_info.values(), *piece.grad_recv_info.values()]
        there += [
            each.buffer for group in infos for each in group if getattr(each, "buffer", None) is not None
        ]
    if first:
        there.append(tokens)
    if last:
        there.append(labels)
    storages = {
        s.data_ptr(): s.nbytes() for t in there for s in [getattr(t, "_local_tensor", t).untyped_storage()]
    }
    standing = sum(storages.values())
    if run.way in ("ddp", "zero1"):
        standing += sum(bucket.buffer().nbytes for bucket in model.reducer._get_zeros_like_grad_buckets())
    dist.barrier()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:

        def mark(name: str) -> None:
            with record_function(f"mark {name}"):
                pass

        step()
        step(mark)
    events = list(profiler.profiler.kineto_results.events())  # type: ignore[union-attr]
    marks = sorted((e.start_ns(), e.name()[5:]) for e in events if e.name().startswith("mark "))
    memory = sorted(
        (
            (e.start_ns(), e.nbytes())
            for e in events
            if e.name() == "[memory]" and "CPU" in str(e.device_type())
        ),
        key=lambda record: record[0],
    )
    answers.put((rank, _by_phase(standing, memory, marks)))
    dist.barrier()
    del library
    dist.destroy_process_group()


def _by_phase(
    live: int, memory: Sequence[tuple[int, int]], marks: Sequence[tuple[int, str]]
) -> dict[str, int]:
    found: dict[str, int] = {}
    phase, following = "", 0
    for when, nbytes in memory:
        while following < len(marks) and when >= marks[following][0]:
            phase = marks[following][1]
            found[phase] = max(found.get(phase, 0), live)
            following += 1
        live += nbytes
        found[phase] = max(found.get(phase, 0), live)
    return {phase: found.get(phase, 0) for phase in PHASES}
