"""`modelsum measure`: its options, formats and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from every_day import slow_unless

Cli = Callable[..., "object"]
QUICK = ("--device", "cpu", "--min-time", "0.01")
NETS = '''
import torch
from torch import nn

class Small(nn.Module):
    """10 inputs, 4 outputs, 40 weights."""
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(10, 4, bias=False)
    def forward(self, x):
        print("a model may talk")
        return self.layer(x)

class Interrupted(Small):
    def forward(self, x):
        if not x.is_meta:
            raise KeyboardInterrupt
        return super().forward(x)

class TooLarge(Small):
    def forward(self, x):
        if self.training and not x.is_meta:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)

class Frozen(Small):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)

class Broken(Small):
    def __init__(self):
        raise ValueError("no")
'''


@pytest.fixture
def net(tmp_path: Path) -> Callable[[str], str]:
    (tmp_path / "nets.py").write_text(NETS)
    return lambda name: f"{tmp_path / 'nets.py'}:{name}"


def test_a_real_run_beside_its_prediction(modelsum_cli, net) -> None:
    """32 samples: weights, input and output are 4 * (40 + 320 + 128) bytes in inference."""
    done = modelsum_cli(
        "measure",
        net("Small"),
        "--input",
        "10",
        "--batch",
        "32",
        *QUICK,
        "--optimizer",
        "adam",
        "--format",
        "json",
    )
    assert done.code == 0, done.err
    assert "a model may talk" in done.err
    block = json.loads(done.out)
    assert block["kind"] == "measurement"
    assert block["measured"]["inference_peak_bytes"] == 4 * (40 + 320 + 128)
    assert block["device"] == "cpu"
    assert block["threads"] == torch.get_num_threads()
    assert block["latency"]["training_step"]["median_seconds"] > 0
    assert abs(block["error_percent"]["training_peak_bytes"]) < 1


def test_the_text_has_memory_and_time(modelsum_cli, net) -> None:
    text = modelsum_cli("measure", net("Small"), "--input", "10", *QUICK).out
    for words in ("Measured", "Predicted", "Training peak", "Forward pass", "Training step", "thread"):
        assert words in text
    text = modelsum_cli("measure", net("Small"), "--input", "10", "--device", "cpu", "--no-latency").out
    assert "Latency" not in text


@pytest.mark.parametrize("format_", slow_unless(("csv", "json", "markdown"), lambda name: name == "csv"))
def test_a_format_goes_to_a_file(modelsum_cli, net, tmp_path: Path, format_: str) -> None:
    file = tmp_path / "out"
    done = modelsum_cli(
        *("measure", net("Small"), "--input", "10", "--device", "cpu", "--no-latency"),
        *("--format", format_, "--output", str(file)),
    )
    assert (done.code, done.out) == (0, "")
    assert "training_peak" in file.read_text() or "Training peak" in file.read_text()


def test_the_options_of_the_step_reach_it(modelsum_cli, net) -> None:
    done = modelsum_cli(
        *("measure", net("Small"), "--input", "10", "--device", "cpu", "--no-latency", "--format", "json"),
        *("--optimizer", "momentum", "--foreach", "--loss", "cross-entropy", "--accumulate", "3"),
        *("--checkpoint", "layer"),
    )
    step = json.loads(done.out)["step"]
    assert step["optimizer"] == "momentum (foreach, default settings)"
    assert (step["loss"], step["accumulate"], step["checkpoint"]) == ("cross-entropy", "3 passes", "layer")


def test_a_model_that_is_not_trained_has_inference_alone(modelsum_cli, net) -> None:
    done = modelsum_cli("measure", net("Frozen"), "--input", "10", *QUICK)
    assert done.code == 0
    assert "Notice: nothing can be trained" in done.out
    assert "Forward pass" in done.out
    assert "Training step" not in done.out


def test_an_interruption_ends_with_130(modelsum_cli, net) -> None:
    done = modelsum_cli("measure", net("Interrupted"), "--input", "10", *QUICK)
    assert (done.code, done.out) == (130, "")
    assert "interrupted" in done.err


def test_running_out_of_memory_ends_with_3_and_advice(modelsum_cli, net) -> None:
    done = modelsum_cli("measure", net("TooLarge"), "--input", "10", *QUICK)
    assert (done.code, done.out) == (3, "")
    assert "cpu ran out of memory in the first training step (forward)" in done.err
    assert "modelsum fit" in done.err


def test_a_model_that_cannot_be_built_ends_with_3(modelsum_cli, net) -> None:
    done = modelsum_cli("measure", net("Broken"), "--input", "10", *QUICK)
    assert done.code == 3
    assert "ValueError: no" in done.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_a_clear_error(modelsum_cli) -> None:
    done = modelsum_cli("measure", "squeezenet1_1", "--device", "cuda")
    assert done.code == 2
    assert "device 'cuda': there is no CUDA device here" in done.err
    assert "cpu" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["squeznet1_1"], "Did you mean squeezenet1_1"),
        (["squeezenet1_1", "--device", "meta"], "device 'meta': a real run has to be somewhere"),
        (["squeezenet1_1", "--device", "gpu"], "unknown device 'gpu'"),
        (["squeezenet1_1", "--min-time", "0"], "--min-time"),
        (["squeezenet1_1", "--optimizer", "adan"], "optimizer 'adan'"),
        (["weights.safetensors"], "there is no weights file 'weights.safetensors'"),
        (["squeezenet1_1", "--train"], "No such option"),
        (["squeezenet1_1", "--format", "torchsummary"], "torchsummary"),
        (["squeezenet1_1", "--output", "nowhere/file"], "there is no directory"),
    ],
)
def test_wrong_words_end_with_2(modelsum_cli, arguments: list[str], words: str) -> None:
    done = modelsum_cli("measure", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
