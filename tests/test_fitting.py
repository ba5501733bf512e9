"""`modelsum.fit`: the figures are those of a summary of that batch, and every sentence of it is computed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import modelsum
from modelsum.errors import BuildError, InputError, ModelError, UsageError
from modelsum.fitting import room_for
from modelsum.memory.fitting.fit import Fit
from modelsum.memory.fitting.search import MOST

MIB = 1 << 20


class Blocks(nn.Module):
    """Four equal blocks, whose activations outweigh their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def fit(model: nn.Module | str = "squeezenet1_1", memory: object = "600MiB", **options: object) -> Fit:
    return modelsum.fit(model, **{"memory": memory, "target": "cpu", "more": False} | options)  # type: ignore[arg-type]


# ---- the answer


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
@pytest.mark.parametrize(("target", "memory"), [("cpu", "600MiB"), ("cuda", "3GiB")])
def test_below_and_above_are_what_a_summary_says_of_these_batches(
    target: str, memory: str, optimizer: str
) -> None:
    found = fit(target=target, memory=memory, optimizer=optimizer)
    assert found.below is not None
    assert found.above is not None
    assert found.above.batch == found.below.batch + 1 == (found.batch or 0) + 1
    assert found.below.bytes <= found.room.bytes < found.above.bytes
    for need in (found.below, found.above):
        memory_then = modelsum.summarize(
            "squeezenet1_1", batch=need.batch, target=target, optimizer=optimizer
        ).memory
        assert memory_then is not None
        assert memory_then.training_peak_bytes == need.peak.bytes
        most = memory_then.process_bytes[1] if memory_then.process_bytes else memory_then.training_peak_bytes
        assert need.bytes == most


def test_an_inference_is_what_a_summary_says_of_it() -> None:
    found = fit(train=False)
    assert found.task == "inference"
    assert found.below is not None
    memory = modelsum.summarize("squeezenet1_1", batch=found.below.batch, target="cpu").memory
    assert memory is not None
    assert found.below.bytes == memory.inference_peak_bytes
    assert (found.batch or 0) > (fit().batch or 0)


def test_the_optimistic_end_of_the_range_lets_more_fit() -> None:
    found = fit(target="cuda", memory="3GiB")
    assert found.below is not None
    assert found.below.least_bytes < found.below.bytes
    assert (found.optimistic_batch or 0) > (found.batch or 0)
    on_cpu = fit()
    assert on_cpu.optimistic_batch == on_cpu.batch


def test_more_memory_lets_more_fit() -> None:
    answers = [fit(memory=f"{size}MiB").batch or 0 for size in (200, 400, 800)]
    assert answers == sorted(set(answers))


def test_the_batch_asked_about_decides_whether_it_fits() -> None:
    found = fit()
    assert found.fits
    batch = found.batch or 0
    assert fit(batch=batch).fits
    assert not fit(batch=batch + 1).fits
    assert fit(batch=batch + 1).batch == batch


def test_where_nothing_fits_the_smallest_batch_stands_above() -> None:
    found = fit(memory="1MiB")
    assert not found.fits
    assert found.batch is None
    assert found.below is None
    assert found.above is not None
    assert found.above.batch == found.least_batch == 1
    assert found.fixed_bytes == 4 * 1_235_496 > found.room.bytes


def test_batch_normalisation_of_one_value_starts_at_two() -> None:
    """At 32 x 32 pixels the last maps of a resnet50 are 1 x 1."""
    found = fit("resnet50", input_size=(3, 32, 32), memory="1GiB")
    assert found.least_batch == 2
    assert any("batch of 1 cannot be trained" in notice for notice in found.notices)


def test_memory_that_does_not_grow_is_bounded() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x[:1])

    found = fit(First(), input_size=(1,), memory="100MiB")
    assert found.bounded
    assert found.batch == MOST
    assert found.above is None


def test_token_ids_are_taken_as_such() -> None:
    found = fit(nn.Sequential(nn.Embedding(10, 256), nn.Linear(256, 256)), input_size=(64,), memory="50MiB")
    assert found.inputs[0].dtype == "int64"
    assert (found.batch or 0) > 1


def test_lazy_modules_and_the_callers_model() -> None:
    model = nn.Sequential(nn.LazyLinear(64), nn.BatchNorm1d(64)).eval()
    assert (fit(model, input_size=(128,), memory="20MiB").batch or 0) > 1
    assert not model.training
    assert model[0].has_uninitialized_params()


def test_the_model_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelsum import preparing

    built = []
    prepare = preparing.prepare
    monkeypatch.setattr(preparing, "prepare", lambda *args: built.append(1) or prepare(*args))
    assert fit().predictions > 3
    assert built == [1]


# ---- ways


def test_every_way_says_what_it_brings() -> None:
    """Its need is that of a summary with these options, its batch that of a fit with them."""
    found = fit(Blocks(), memory="20MiB", input_size=(64,), more=True)
    assert found.batch is not None
    ways = {way.words: way for way in found.ways}
    options = {
        "--checkpoint 'blocks.*'": {"checkpoint": ("blocks.*",)},
        "--amp bf16": {"amp": "bf16"},
        "--optimizer sgd": {"optimizer": "sgd"},
        "--checkpoint 'blocks.*' --amp bf16": {"checkpoint": ("blocks.*",), "amp": "bf16"},
        "--accumulate 4": {"accumulate": 4},
    }
    for words in options.keys() & ways.keys():
        again = fit(Blocks(), memory="20MiB", input_size=(64,), batch=found.batch, **options[words])
        assert again.asked == ways[words].need
        assert again.batch == ways[words].batch
    assert {"--checkpoint 'blocks.*'", "--optimizer sgd", "--accumulate 4"} <= ways.keys()
    assert ways["--accumulate 4"].samples == 4 * (ways["--accumulate 4"].batch or 0)
    assert ways["--checkpoint 'blocks.*'"].same_result
    assert not ways["--optimizer sgd"].same_result


def test_ways_are_sorted_by_what_they_bring_and_none_brings_nothing() -> None:
    found = fit(Blocks(), memory="4GiB", target="cuda", more=True, input_size=(64,))
    alone = [way.batch or 0 for way in found.ways if way.passes == 1]
    assert alone == sorted(alone, reverse=True)
    assert all(way.need.bytes < found.at_reference.bytes for way in found.ways if way.passes == 1)
    assert [way.words for way in found.ways if way.passes > 1] == ["--accumulate 4"]
    assert any(way.combined for way in found.ways)


def test_ways_help_where_nothing_fits() -> None:
    """Parameters of 256 MiB: AdamW keeps four times that and more, SGD twice."""
    model = nn.Linear(8192, 8192)
    found = fit(model, memory="600MiB", input_size=(8192,), more=True)
    assert found.batch is None
    sgd = next(way for way in found.ways if way.words == "--optimizer sgd")
    assert (sgd.batch or 0) > 1


# ---- what is refused


def test_room_is_a_size_or_a_card() -> None:
    assert room_for("24GiB", None).bytes == 24 * 2**30
    assert room_for("24 GB", None).bytes == 24 * 10**9
    assert room_for("512B", None).bytes == 512
    assert room_for(5000, None).bytes == 5000
    assert room_for(None, "rtx4090").words == "RTX 4090"
    for wrong in ((None, None), ("1GiB", "t4"), ("24", None), ("24 apples", None), ("0GiB", None), (0, None)):
        with pytest.raises(UsageError):
            room_for(*wrong)
    with pytest.raises(UsageError, match="target is the CPU"):
        room_for(None, "t4", "cpu")


def test_a_batch_that_the_model_does_not_take() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.reshape(1, 4))

    with pytest.raises(InputError, match="takes a batch of 1, but not of"):
        fit(One(), input_size=(4,))


def test_nothing_to_train() -> None:
    with pytest.raises(UsageError, match="nothing can be trained"):
        fit(nn.ReLU(), input_size=(4,))
    assert fit(nn.ReLU(), input_size=(4,), train=False, memory="1MiB").batch == 32768


def test_errors_of_the_model_are_those_of_a_summary() -> None:
    with pytest.raises(ModelError, match="forward failed"):
        fit(nn.Linear(3, 3), input_size=(4,))
    with pytest.raises((BuildError, UsageError)):
        fit("resnet50", model_args={"no_such": 1})
    with pytest.raises(UsageError, match="matches no module"):
        fit(checkpoint="nowhere")


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    model = Blocks()
    torch.set_rng_state(state)
    fit(model, memory="20MiB", input_size=(64,))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


# ---- inputs as `summarize` takes them


def test_an_example_gives_what_its_shape_gives() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4))
    shape = modelsum.fit(model, memory="64MiB", target="cpu", input_size=(3, 8, 8), more=False)
    for batch in (1, 5):
        assert (
            modelsum.fit(model, torch.rand(batch, 3, 8, 8), memory="64MiB", target="cpu", more=False).batch
            == shape.batch
        )


def test_the_batch_of_all_that_share_it_is_changed_and_of_nothing_else() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 16)

        def forward(self, graph: SimpleNamespace, table: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            assert table.shape == (7, 16)
            assert graph.mask.shape == graph.ids.shape
            return self.embed(graph.ids) * graph.mask[..., None] @ table.T * scale

    ids = torch.tensor([[1, 2, 9], [0, 1, 2]])
    graph = SimpleNamespace(ids=ids, mask=torch.ones(2, 3))
    found = modelsum.fit(
        Net(),
        graph,
        kwargs={"table": torch.rand(7, 16), "scale": torch.tensor(2.0)},
        memory="1MiB",
        target="cpu",
        more=False,
    )
    assert found.batch is not None
    # A sample: [3, 16] twice, its gradients, [3, 7], and what carries it in.
    assert 2**20 / 3000 < found.batch < 2**20 / 300
    assert graph.ids is ids


def test_an_example_without_a_batch_is_refused() -> None:
    with pytest.raises(modelsum.InputError, match="no tensor with a batch"):
        modelsum.fit(nn.Identity(), torch.tensor(1.0), memory="1MiB")


def test_a_batch_whose_kernels_were_not_measured_may_need_more() -> None:
    grouped, plain = nn.Conv2d(16, 16, 3, groups=4), nn.Conv2d(16, 16, 3)
    found = [
        modelsum.fit(m, memory="16MiB", target="cpu", isa="avx512", input_size=(16, 32, 32), more=False)
        for m in (grouped, plain)
    ]
    assert found[0].notices[0].startswith("batches may need more: what aten.convolution, ")
    assert not found[1].notices
