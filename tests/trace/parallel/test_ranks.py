"""What every rank of a mesh takes: laws that hold for all ways, and real processes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import real_ranks
import torch
from real_ranks import PHASES, LanguageModel, Run, in_a_row
from torch import Tensor, nn
from torch_here import skip_unless_meshes_are_followed

from modelsum import summarize
from modelsum.errors import BuildError, UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.parallel.ranks import predict_ranks
from modelsum.trace.step.training import predict_memory

SMALL = {"dim": 64, "blocks": 2, "heads": 4, "kv_heads": 2, "hidden": 96, "vocabulary": 128}


@pytest.fixture(autouse=True)
def meshes() -> None:
    skip_unless_meshes_are_followed()


def call(model: nn.Module | None = None, batch: int = 2, length: int = 32) -> Call:
    with torch.device("meta"):
        tokens = torch.empty(batch, length, dtype=torch.int64)
        return Call(model if model is not None else LanguageModel(**SMALL), (tokens,))


def row() -> nn.Module:
    with torch.device("meta"):
        return in_a_row(LanguageModel(**SMALL))


def ranks(mesh: str, model: nn.Module | None = None, own: Any = None, **options: Any) -> Memory:
    if model is None and own is None:
        return of_the_small_one(mesh, **options)
    return found(mesh, model, own, **options)


@cache
def of_the_small_one(mesh: str, **options: Any) -> Memory:
    """Several laws are of the same step."""
    return found(mesh, **options)


def found(mesh: str, model: nn.Module | None = None, own: Any = None, **options: Any) -> Memory:
    step = MemoryOptions(**{"loss": "cross-entropy", "mesh": mesh} | options)
    return predict_ranks(call(model), options=step, target="cpu", own=own)


def alone(**options: Any) -> Memory:
    return predict_memory(call(), options=MemoryOptions(**{"loss": "cross-entropy"} | options), target="cpu")


def whole() -> int:
    return sum(p.nbytes for p in LanguageModel(**SMALL).parameters())


# ---- laws


@pytest.mark.parametrize("mesh", ["dp=2", "dp=4"])
def test_the_shards_of_all_ranks_add_up_to_the_whole(mesh: str) -> None:
    memory = ranks(mesh, optimizer="momentum")
    for part in ("weights", "gradients", "optimizer_state"):
        assert sum(len(each.ranks) * each.shards[part] for each in memory.ranks) == whole()


def test_a_mesh_of_one_is_no_mesh_to_the_byte() -> None:
    words = {"input_size": (32,), "optimizer": "adamw", "loss": "sum"}
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    one, none = (summarize(model, **words, **more).memory for more in ({"mesh": "dp=1"}, {}))
    assert one == none


def test_ddp_is_one_process_and_its_buckets() -> None:
    shared, one = ranks("dp=4", shard="ddp"), alone()
    assert shared.training_peak_bytes == one.training_peak_bytes + whole()
    assert shared.peak.parts["communication"] == whole()
    (entry,) = shared.ranks
    assert entry.ranks == (0, 1, 2, 3)
    assert entry.communication["all_reduce"].sent_bytes == 2 * whole() * 3 // 4


def test_zero1_holds_the_state_of_its_share_alone() -> None:
    memory = ranks("dp=2", shard="zero1", optimizer="momentum")
    assert sum(each.shards["optimizer_state"] for each in memory.ranks) == whole()
    assert all(each.shards["weights"] == whole() for each in memory.ranks)


def test_more_ranks_never_need_more() -> None:
    peaks = [ranks(f"dp={count}").training_peak_bytes for count in (2, 4, 8)]
    assert peaks == sorted(peaks, reverse=True)


def test_fully_sharded_weights_are_gathered_twice_and_gradients_reduced_once() -> None:
    (entry,) = ranks("dp=2").ranks
    blocks = sum(p.nbytes for p in LanguageModel(**SMALL).blocks.parameters())
    root = whole() - blocks  # gathered once: not given back before it is derived
    assert entry.communication["all_gather"].sent_bytes == (2 * blocks + root) // 2
    assert entry.communication["reduce_scatter"].sent_bytes == whole() // 2
    assert entry.peak.parts["gathered_weights"] > 0


def test_weights_that_stay_gathered_take_more_and_are_sent_less() -> None:
    given_back, kept = ranks("dp=2"), ranks("dp=2", shard="zero2")
    assert kept.training_peak_bytes > given_back.training_peak_bytes
    assert kept.ranks[0].communication["all_gather"].sent_bytes == whole() // 2


def test_ranks_that_hold_less_are_told_apart() -> None:
    memory = ranks("dp=3")
    assert sorted(rank for each in memory.ranks for rank in each.ranks) == [0, 1, 2]
    assert memory.peak == memory.ranks[0].peak
    assert memory.ranks[0].shards["optimizer_state"] > memory.ranks[-1].shards["optimizer_state"]


def test_tensor_parallel_ranks_hold_a_part_of_what_the_plan_names() -> None:
    (entry,) = ranks("tp=2").ranks
    model = LanguageModel(**SMALL)
    whole_on_each = sum(p.nbytes for name, p in model.named_parameters() if "norm" in name)
    whole_on_each += model.tokens.weight.nbytes
    assert entry.shards["weights"] == whole_on_each + (whole() - whole_on_each) // 2


class Feed(nn.Module):
    """A pair of linear layers with a name of its own, one without, and a layer of neither."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.act, self.mlp.fc2 = nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)
        self.row, self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.row(self.mlp.fc2(self.mlp.act(self.mlp.fc1(x)))))


def test_without_a_plan_pairs_of_linear_layers_are_shared() -> None:
    with torch.device("meta"):
        here = Call(Feed(), (torch.empty(4, 8),))
    memory = predict_ranks(here, options=MemoryOptions(mesh="tp=2"), target="cpu")
    halves = 8 * 32 + 32 + 32 * 8 + 8 * 16 + 16 + 16 * 8
    assert memory.ranks[0].shards["weights"] == 4 * (halves // 2 + 8 + 8 + 8 * 2 + 2)
    assert (
        memory.ranks[0].communication["all_reduce"].calls == 3
    )  # two outputs, and a derivative between them
    assert "pairs of linear layers are shared" in memory.notices[0]


def test_stages_share_the_blocks_and_send_what_is_between_them() -> None:
    memory = ranks("pp=2", row(), accumulate=4)
    first, last = sorted(memory.ranks, key=lambda each: each.place["pp"])
    assert first.shards["weights"] + last.shards["weights"] == whole()
    between = 4 * 2 * 32 * 64 * 4  # microbatches, batch, length, dim, bytes
    assert first.communication["send"].sent_bytes == last.communication["receive"].received_bytes == between


# ---- parts of sequences


class Attending(nn.Module):
    """Attention as torch's one op."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.qkv = nn.Embedding(128, 64), nn.Linear(64, 192)

    def forward(self, ids: Tensor) -> Tensor:
        q, k, v = self.qkv(self.tokens(ids)).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def parts(mesh: str, **more: Any) -> Memory:
    with torch.device("meta"):
        here = call(Attending().bfloat16())
    return predict_ranks(here, options=MemoryOptions(mesh=mesh), **{"target": "cuda"} | more)


def test_attention_in_parts_gathers_keys_and_values_and_is_a_lower_bound() -> None:
    memory = parts("cp=2")
    first, last = sorted(memory.ranks, key=lambda each: each.place["cp"])
    assert memory.bound == "lower"
    # Keys and values of half a sequence, bfloat16, are gathered in the forward and in the backward pass.
    sent = 2 * 2 * 2 * 16 * 64 * 2 // 2
    weights = sum(p.numel() for p in Attending().parameters()) * 2
    for rank in (first, last):
        assert rank.communication["all_gather"].sent_bytes == 2 * sent + weights // 2
        assert rank.communication["all_to_all"].sent_bytes > 0
    assert memory.saved_for_backward_bytes < parts("dp=2").saved_for_backward_bytes  # type: ignore[operator]
    assert nn.functional.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"
    assert not hasattr(nn.functional, "attend")


def test_what_cannot_go_round_is_refused() -> None:
    with pytest.raises(UsageError, match="which the model does not call"):
        predict_ranks(call(), options=MemoryOptions(mesh="cp=2"), target="cuda")
    with pytest.raises(UsageError, match="has no kernel for the CPU"):
        parts("cp=2", target="cpu")
    with pytest.raises(UsageError, match="cp=3 does not divide a sequence of 32 into 2 x 3 parts"):
        parts("cp=3")


# ---- what the host holds


def test_offloaded_weights_come_to_the_device_as_they_are_gathered() -> None:
    here, away = (ranks("dp=2", optimizer="momentum", **more) for more in ({}, {"offload": "params"}))
    (entry,) = away.ranks
    assert entry.shards == here.ranks[0].shards  # wherever they are
    assert here.host_bytes is None
    assert (here.bound, away.bound) == ("exact", "lower")  # compared with no real run
    assert away.host_bytes == sum(entry.shards.values())
    assert not any(away.peak.parts[part] for part in ("weights", "gradients", "optimizer_state"))
    assert away.peak.parts["gathered_weights"] == here.peak.parts["gathered_weights"]
    assert away.ranks[0].communication == here.ranks[0].communication


def test_an_offloaded_optimizer_has_copies_of_weights_and_gradients() -> None:
    here, away = (alone(optimizer="momentum", **more) for more in ({}, {"offload": "optimizer"}))
    assert away.host_bytes == 3 * whole()
    assert (here.bound, away.bound) == ("exact", "lower")
    assert away.training_peak_bytes == here.training_peak_bytes - whole()


# ---- what is refused


@pytest.mark.parametrize(
    ("mesh", "options", "said"),
    [
        ("dp=2", {"wrap": ("blokcs.*",)}, "wrap 'blokcs.*' matches no module"),
        ("tp=2", {"clip": True}, "clip: torch takes no norm of gradients of which only some are shared"),
        ("tp=3", {}, "tp=3 does not divide the 64 features of blocks.0.attention.q"),
        ("pp=2", {}, "pp=2: nothing says in what order LanguageModel runs its parts"),
    ],
)
def test_a_mesh_that_does_not_fit_the_model_is_refused(mesh: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        ranks(mesh, **options)


def test_more_stages_than_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="pp=4: Sequential has 2 blocks to share"):
        ranks("pp=4", row())


def test_a_function_that_fails_is_told_with_its_line() -> None:
    def broken(model: nn.Module, mesh: Any) -> nn.Module:
        raise ValueError("no such thing")

    with pytest.raises(BuildError, match=r"own.py:f failed: .*test_ranks.py:\d+: ValueError: no such thing"):
        ranks("dp=2", own=broken, parallelize="own.py:f")


def test_a_file_whose_function_fails_is_an_error_and_no_notice(tmp_path: Path) -> None:
    file = tmp_path / "share.py"
    file.write_text("def broken(model, mesh):\n    return model.nothing\n")
    with pytest.raises(BuildError, match=r"share.py:2: AttributeError"):
        summarize(nn.Linear(4, 4), input_size=(4,), mesh="dp=2", parallelize=f"{file}:broken")


def test_a_function_that_returns_no_model_is_refused() -> None:
    with pytest.raises(BuildError, match=r"own\.py:f returned"):
        ranks("dp=2", own=lambda model, mesh: 3, parallelize="own.py:f")


# ---- the user's function


def parallelize(model: LanguageModel, mesh: Any) -> nn.Module:
    """As a trainer does it: selective checkpointing, then every block, then the rest."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        keep = op is torch.ops.aten.mm.default
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for name, block in model.blocks.named_children():
        wrapped = checkpoint_wrapper(
            block, context_fn=lambda: create_selective_checkpoint_contexts(policy), preserve_rng_state=False
        )
        model.blocks.register_module(name, wrapped)
        fully_shard(wrapped, mesh=mesh["dp"], mp_policy=precision)
    return fully_shard(model, mesh=mesh["dp"], mp_policy=precision)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_users_function_runs_as_it_is() -> None:
    memory = ranks("dp=2", own=parallelize, parallelize="own.py:parallelize")
    assert memory.training is not None
    assert memory.ranks[0].shards["weights"] == whole() // 2
    assert memory.training_peak_bytes < ranks("dp=2").training_peak_bytes


def test_ranks_are_told_apart_by_what_the_users_function_gives_them() -> None:
    """A vocabulary of 127 among two: the last rank has 63 rows of it."""

    def own(model: nn.Module, mesh: Any) -> None:
        from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

        parallelize_module(model, mesh["tp"], {"output": ColwiseParallel()})

    def distinct(mesh: str) -> set[tuple[int, ...]]:
        with torch.device("meta"):
            here = call(LanguageModel(**SMALL | {"vocabulary": 127}))
        step = MemoryOptions(mesh=mesh, parallelize="own.py:f")
        memory = predict_ranks(here, options=step, target="cpu", own=own)
        return {each.ranks for each in memory.ranks}

    assert distinct("tp=2") == {(0,), (1,)}
    assert distinct("dp=8,tp=2") == {tuple(range(0, 16, 2)), tuple(range(1, 16, 2))}


# ---- torch is as it was


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_torch_is_changed_afterwards(fails: bool) -> None:
    before = torch.UntypedStorage.resize_

    def own(model: nn.Module, mesh: Any) -> nn.Module:
        if fails:
            raise KeyboardInterrupt
        return model

    if fails:
        with pytest.raises(KeyboardInterrupt):
            ranks("dp=1", own=own, parallelize="own.py:f")
    else:
        ranks("dp=1", own=own, parallelize="own.py:f")
    assert not hasattr(torch, "meta")
    assert torch.UntypedStorage.resize_ is before
    assert not torch.distributed.is_initialized()
    assert "meta" not in torch.distributed.Backend.backend_capability["fake"]


# ---- real processes


RUNS = [
    Run("fsdp", {"dp": 2}, SMALL),
    *(
        pytest.param(run, marks=pytest.mark.slow)
        for run in (
            Run("fsdp", {"dp": 4}, SMALL),
            Run("fsdp", {"dp": 2}, SMALL, checkpoint=True),
            Run("fsdp", {"dp": 2}, SMALL, checkpoint=True, param_dtype="bfloat16"),
            Run("fsdp", {"dp": 2}, SMALL, reshard=False),
            Run("fsdp", {"replicate": 2, "dp": 2}, SMALL),
            Run("ddp", {"dp": 2}, SMALL),
            Run("zero1", {"dp": 2}, SMALL),
            Run("fsdp", {"tp": 2}, SMALL, clip=False, foreach=False),
            Run("fsdp", {"dp": 2, "tp": 2}, SMALL, clip=False, foreach=False),
            Run("pp", {"pp": 2}, SMALL, clip=False, microbatches=4),
            Run("pp", {"pp": 2, "dp": 2}, SMALL, clip=False, microbatches=4),
        )
    ),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.way} {run.mesh}")
def test_every_phase_is_that_of_real_processes(run: Run) -> None:
    real = real_ranks.peaks(run)
    with torch.device("meta"):
        model: nn.Module = LanguageModel(**run.model)
    options = MemoryOptions(
        loss="cross-entropy",
        implementation="foreach" if run.foreach else "for-loop",
        mesh=",".join(f"{name}={size}" for name, size in run.mesh.items()),
        shard=None if run.way == "pp" else run.way,
        clip=run.clip,
        reshard=run.reshard,
        checkpoint=("blocks.*",) if run.checkpoint else (),
        accumulate=run.microbatches,
        param_dtype=run.param_dtype,
        reduce_dtype="float32" if run.param_dtype else None,
    )
    here = call(in_a_row(model) if run.way == "pp" else model, run.batch, run.length)
    memory = predict_ranks(here, options=options, target="cpu")
    assert memory.bound == "exact"
    for rank, truth in enumerate(real):
        entry = next(each for each in memory.ranks if rank in each.ranks)
        for phase in PHASES:
            if phase in entry.phase_peak_bytes:
                assert entry.phase_peak_bytes[phase] == pytest.approx(truth[phase], rel=0.005)
