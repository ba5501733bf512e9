"""The search for the largest batch, the blocks worth checkpointing, and the changes that are tried."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from modelsum.memory import MemoryOptions
from modelsum.memory.fitting import ways
from modelsum.memory.fitting.blocks import checkpoint_patterns, outermost
from modelsum.memory.fitting.search import MOST, largest

MIB = 1 << 20


class Counted:
    """A need that knows which batches it was asked for."""

    def __init__(self, need: Callable[[int], int]) -> None:
        self.need = need
        self.asked: dict[int, int] = {}

    def __call__(self, batch: int) -> int:
        self.asked[batch] = self.need(batch)
        return self.asked[batch]


# ---- the search


@pytest.mark.parametrize("answer", [1, 2, 3, 7, 8, 9, 100, 12345])
def test_a_straight_line_takes_few_looks(answer: int) -> None:
    need = Counted(lambda batch: 500 + 10 * batch)
    assert largest(need, 500 + 10 * answer + 9) == answer
    assert len(need.asked) <= 6


@pytest.mark.parametrize("answer", [3, 40, 187, 1000, 2000])
def test_a_parabola_takes_few_looks_too(answer: int) -> None:
    """As scores of every pair of tokens do, looked at from the longest context that there is."""
    need = Counted(lambda tokens: 500 + tokens + 10 * tokens**2)
    assert largest(need, need.need(answer), near=2048, zero=500, most=2048) == answer
    assert len(need.asked) <= 11


def test_where_the_least_batch_does_not_fit_there_is_none() -> None:
    assert largest(lambda batch: 100 * batch, 99) is None
    assert largest(lambda batch: 100 * batch, 199, least=2) is None
    assert largest(lambda batch: 100 * batch, 200, least=2) == 2


def test_memory_that_does_not_grow_ends_at_the_bound() -> None:
    assert largest(lambda batch: 5, 5) == MOST
    assert largest(lambda batch: 5, 5, most=3) == 3


@pytest.mark.parametrize("near", [1, 5, 99, 100, 101, 5000, MOST, 10 * MOST])
@pytest.mark.parametrize("per_sample", [None, 1, 10, 100])
def test_hints_change_how_long_it_takes_and_not_the_answer(near: int, per_sample: int | None) -> None:
    assert largest(lambda batch: 10 * batch, 1003, near=near, per_sample=per_sample) == 100


def staircase(slope: float, constant: float, seed: int) -> int:
    """Rounded up to 20 MiB, as an allocator does it."""
    return -(-int(constant + slope) // (20 * MIB)) * 20 * MIB


def noise(slope: float, constant: float, seed: int) -> int:
    """Up to 2 % more, at random: the larger batch may need less."""
    return int((constant + slope) * (1 + 0.02 * random.Random(seed).random()))


@pytest.mark.parametrize(("shape", "looks"), [(staircase, 10), (noise, 12)])
def test_the_answer_fits_and_the_next_batch_does_not(shape: Callable[..., int], looks: int) -> None:
    """Whatever the allocator does to the line; and both were looked at."""
    rnd, asked = random.Random(0), []
    for _ in range(200):
        slope, constant, room = 10 ** rnd.uniform(4, 8.5), rnd.uniform(1e8, 2e9), int(rnd.uniform(3e9, 4e10))
        need = Counted(lambda batch, s=slope, c=constant: shape(s * batch, c, batch))
        answer = largest(need, room)
        if answer is not None and answer != MOST:
            assert need.asked[answer] <= room < need.asked[answer + 1]
        asked.append(len(need.asked))
    assert statistics.median(asked) <= looks


# ---- blocks

RESNET = {"": "ResNet", "conv1": "Conv2d", "fc": "Linear"}
for stage, blocks in (("layer1", 2), ("layer2", 3)):
    RESNET[stage] = "Sequential"
    for block in range(blocks):
        RESNET[f"{stage}.{block}"] = "Bottleneck"
        RESNET |= {f"{stage}.{block}.{name}": "Conv2d" for name in ("conv1", "conv2")}


def test_outermost_leaves_out_what_is_inside_a_match() -> None:
    assert outermost(RESNET, ["layer*"]) == ["layer1", "layer2"]
    assert outermost(RESNET, ["layer1.*"]) == ["layer1.0", "layer1.1"]
    assert outermost(RESNET, ["layer1.0.*", "layer1.0"]) == ["layer1.0"]
    assert outermost(RESNET, ["*"]) == ["conv1", "fc", "layer1", "layer2"]


def test_blocks_are_modules_with_others_of_their_class_beside_them() -> None:
    saved = {"layer1": 20, "layer2": 30} | {
        f"{s}.{b}": 10 for s, n in (("layer1", 2), ("layer2", 3)) for b in range(n)
    }
    assert checkpoint_patterns(RESNET, saved) == [("layer*",), ("layer*.*",)]


def test_leaves_side_by_side_are_no_blocks() -> None:
    vgg = {"": "VGG", "features": "Sequential", "features.0": "Conv2d", "features.2": "Conv2d"}
    assert checkpoint_patterns(vgg, {"features": 5, "features.0": 5}) == []


def test_blocks_of_both_halves_of_a_model_go_together() -> None:
    """Encoder and decoder: by class, and where the classes differ as a choice of its own."""
    model = {"": "T"}
    for half, name in (("encoder", "Encoder"), ("decoder", "Decoder")):
        model |= {half: name, f"{half}.0": f"{name}Layer", f"{half}.1": f"{name}Layer"}
        model |= {f"{half}.{i}.linear": "Linear" for i in (0, 1)}
    saved = {"encoder.0": 5, "encoder.1": 5, "decoder.0": 7, "decoder.1": 7}
    assert checkpoint_patterns(model, saved) == [
        ("decoder.*",),
        ("encoder.*",),
        ("decoder.*", "encoder.*"),
    ]
    same = {path: name.replace("Encoder", "").replace("Decoder", "") for path, name in model.items()}
    assert checkpoint_patterns(same, saved) == [("encoder.*", "decoder.*")]


# ---- changes


def words(changes: object) -> list[str]:
    return [change.words for change in changes]  # type: ignore[attr-defined]


def test_what_is_there_already_is_not_proposed() -> None:
    everything = words(ways.for_training(MemoryOptions(), "cuda", [("h.*",)]))
    assert everything == [
        "--checkpoint 'h.*'",
        "--amp bf16",
        *(f"--optimizer {name}" for name in ("lion", "momentum", "adafactor", "sgd")),
        "--for-loop",
        "--fused",
        "--expandable-segments",
        "--accumulate 4",
    ]
    frugal = MemoryOptions(
        optimizer="sgd", amp="fp16", checkpoint=("x",), expandable_segments=True, accumulate=2
    )
    assert words(ways.for_training(frugal, "cuda", [("h.*",)])) == []
    assert words(ways.for_training(MemoryOptions(optimizer="none", accumulate=2), "cpu", [])) == [
        "--amp bf16"
    ]


def test_changes_are_possible_with_the_optimizer() -> None:
    """A fused AdamW becomes another optimizer that has no fused implementation."""
    for optimizer in ("sgd", "momentum", "adam", "adamw", "adafactor", "lion"):
        for implementation in (None, "for-loop", "foreach"):
            options = MemoryOptions(optimizer=optimizer, implementation=implementation)
            for change in ways.for_training(options, "cuda", []):
                assert change.options != options
    fused = MemoryOptions(optimizer="adamw", implementation="fused")
    others = [c for c in ways.for_training(fused, "cuda", []) if c.kinds == (ways.OPTIMIZER,)]
    assert [change.options.implementation for change in others] == [None] * 4


def test_together_are_all_of_them() -> None:
    options = MemoryOptions()
    changes = {c.words: c for c in ways.for_training(options, "cuda", [("h.*",)])}
    both = ways.together([changes["--checkpoint 'h.*'"], changes["--amp bf16"]], options)
    assert both.options == MemoryOptions(checkpoint=("h.*",), amp="bf16")
    assert both.words == "--checkpoint 'h.*' --amp bf16"
    assert not both.keeps_the_result
    assert ways.together([changes["--fused"], changes["--expandable-segments"]], options).keeps_the_result


def test_what_excludes_each_other_is_not_put_together() -> None:
    changes = {c.words: c for c in ways.for_training(MemoryOptions(), "cuda", [])}
    sgd, fused = changes["--optimizer sgd"], changes["--fused"]
    assert ways.compatible([sgd, fused]) == [sgd]
    assert ways.compatible([fused, sgd]) == [fused]
    dtype = next(c for c in ways.for_inference(MemoryOptions(), "cuda", "float32") if c.dtype)
    assert ways.compatible([dtype, changes["--amp bf16"]]) == [dtype]


def test_a_model_in_half_precision_is_not_converted() -> None:
    assert words(ways.for_inference(MemoryOptions(), "cuda", "bfloat16")) == ["--expandable-segments"]
    assert words(ways.for_inference(MemoryOptions(), "cpu", "float32")) == ["--amp bf16", "--dtype bfloat16"]
