"""`fit --gpus`: which meshes and ways are tried, in which order they are shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hand_made_pages import arrangements
from torch_here import skip_unless_meshes_are_followed

import modelsum
from modelsum.errors import UsageError
from modelsum.memory import MemoryOptions
from modelsum.memory.ranks.candidates import candidates
from modelsum.render import FORMATS, render

NETS = """
from torch import nn

class Net(nn.Sequential):
    _tp_plan = {"0": "colwise", "2": "rowwise"}

    def __init__(self):
        super().__init__(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
"""


@pytest.fixture(autouse=True)
def meshes() -> None:
    skip_unless_meshes_are_followed()


# ---- what is tried


def words(gpus: int, **known: object) -> list[str]:
    return [each.words for each in candidates(gpus, **known)]  # type: ignore[arg-type]


def test_every_kind_is_tried_and_what_does_not_divide_is_not() -> None:
    assert words(8, heads=(12, 4), blocks=6) == [
        *("--mesh dp=8 --shard ddp", "--mesh dp=8 --shard zero1", "--mesh dp=8 --shard zero2", "--mesh dp=8"),
        "--mesh replicate=2,dp=4",
        *("--mesh dp=4,tp=2", "--mesh dp=2,tp=4"),
        "--mesh pp=2,dp=4 --accumulate 2",
    ]


def test_of_many_nodes_shards_and_tensors_stay_within_one() -> None:
    many = words(64, heads=(64, 8), blocks=80)
    assert "--mesh replicate=8,dp=8" in many
    assert many[-1] == "--mesh pp=8,tp=8 --accumulate 8"
    assert len(many) <= 12


def test_candidates_are_steps_that_may_be_asked_for() -> None:
    for each in candidates(16, heads=(16,), blocks=16):
        assert each.options(MemoryOptions()).mesh == each.mesh.words
        assert each.mesh.ranks == 16


def test_samples_are_those_of_all_data_parallel_ranks_and_microbatches() -> None:
    by_words = {each.words: each.samples(2) for each in candidates(4, blocks=4)}
    assert by_words["--mesh dp=4"] == 8
    assert by_words["--mesh tp=4"] == 2
    assert by_words["--mesh pp=4 --accumulate 4"] == 8


# ---- the answer


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_what_fits_comes_first_the_cheapest_in_communication_before_others(nets, modelsum_cli) -> None:
    asked = ("nets.py:Net", "--input", "64", "--target", "cpu", "--gpus", "2", "--format", "json")
    done = modelsum_cli("fit", *asked, "--memory", "250KiB")
    found = json.loads(done.out)
    assert done.code == 0
    assert (found["kind"], found["gpus"], found["fits"]) == ("arrangements", 2, True)
    by_way = {each["words"]: each for each in found["tried"]}
    # Weights of 66,304 bytes: a replica has four times as much, with gradients and state, and its buckets.
    assert not by_way["--mesh dp=2 --shard ddp"]["fits"]
    assert by_way["--mesh tp=2"]["fits"]
    fits = [each["fits"] for each in found["tried"]]
    assert fits == sorted(fits, reverse=True)
    sent = [each["sent_bytes_per_sample"] for each in found["tried"] if each["fits"]]
    assert sent == sorted(sent)
    needed = by_way["--mesh tp=2"]["need"]["bytes"]
    shown = modelsum.summarize("nets.py:Net", input_size=(64,), target="cpu", mesh="tp=2").memory
    assert shown is not None
    assert needed == max(shown.training.bytes, shown.first_step.bytes)  # type: ignore[union-attr]


def test_none_fits(nets) -> None:
    found = modelsum.fit("nets.py:Net", input_size=(64,), target="cpu", memory="10kB", gpus=2)
    assert not found.fits
    assert all(each.need is None and each.least_bytes > 10_000 for each in found.tried)


def test_models_are_compared_and_checked_on_a_mesh(nets, modelsum_cli) -> None:
    """The figures are those of the rank that takes the most."""
    asked = ("--input", "64", "--target", "cpu", "--format", "json")
    done = modelsum_cli("compare", "nets.py:Net", "nets.py:Net", *asked, "--mesh", "tp=2")
    peaks = next(f for f in json.loads(done.out)["figures"] if f["name"] == "training_peak_bytes")["values"]
    whole = modelsum.summarize("nets.py:Net", input_size=(64,), target="cpu").memory
    assert done.code == 0
    assert peaks[0] == peaks[1] < whole.training_peak_bytes  # type: ignore[union-attr, operator]
    check = '[[tool.modelsum.check]]\nname = "net"\nmodel = "nets.py:Net"\ninput = ["64"]\ntarget = "cpu"\n'
    check += f'mesh = "tp=2"\nlimits = {{training_peak = "{peaks[0]}B"}}\n'
    Path("pyproject.toml").write_text(check)
    assert modelsum_cli("check", "--update", "--force").code == 0
    Path("pyproject.toml").write_text(check.replace(f"{peaks[0]}B", f"{peaks[0] - 1}B"))
    assert modelsum_cli("check").code == 1


# ---- formats


def test_text_says_what_is_needed_and_what_is_sent() -> None:
    text = render(arrangements())
    said = " ".join(text.split())
    assert "1 way fits, the cheapest in communication is --mesh dp=2:" in said
    assert "--mesh dp=2 2.50 GiB 4 B 2 yes" in said
    assert "--mesh dp=2 --shard ddp >= 4.50 GiB - 2 no" in said
    assert "Not: --mesh tp=2: TINY has no plan for tensor parallelism" in said
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("format", FORMATS["Arrangements"])
def test_every_format_has_every_way(format: str) -> None:
    text = render(arrangements(), format)
    assert all(each.words in text for each in arrangements().tried)


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpus", "8"), "neither memory nor gpu is given"),
        (("--gpus", "1", "--gpu", "t4"), "gpus 1: they share a step from 2 on"),
        (("--gpus", "1000000", "--gpu", "t4"), "gpus 1,000,000 are too many"),
        (("--gpus", "8", "--gpu", "t4", "--infer"), "gpus: what they share is a training step"),
        (("--gpus", "8", "--gpu", "t4", "--mesh", "dp=8"), "--gpus and --mesh are both given"),
        (("--gpus", "8", "--gpu", "t4", "--shard", "ddp"), "--gpus and --shard are both given"),
    ],
)
def test_words_that_are_wrong(modelsum_cli, arguments: tuple[str, ...], said: str) -> None:
    done = modelsum_cli("fit", "squeezenet1_1", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_from_python_too() -> None:
    with pytest.raises(UsageError, match="gpus and mesh are both given"):
        modelsum.fit("squeezenet1_1", gpu="t4", gpus=8, mesh="dp=8")
