"""`modelsum show`: the documented figures, the options, and every error with its text and exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from every_day import DEEPEST, slow_unless

from modelsum import summarize, zoo

Cli = Callable[..., "object"]

DOCUMENTED_TABLES = ("mnasnet0_5", "mobilenet_v2", "densenet121", "resnet50", "vgg16", "squeezenet1_1")


def show_json(cli, *arguments: str) -> dict:
    done = cli("show", *arguments, "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


# ---- figures


def test_resnet50_at_224(modelsum_cli) -> None:
    """Params and MACs of papers-recount.csv, and the three sizes that torchsummary itself prints."""
    text = modelsum_cli("show", "resnet50", "--input", "3x224x224").out
    for figure in ("25,557,032", "4,089,184,256", "286.56", "97.49", "384.62"):
        assert figure in text


@pytest.mark.parametrize("name", DOCUMENTED_TABLES)
def test_the_six_documented_tables_come_out(modelsum_cli, name: str) -> None:
    """On the CPU: test_every_door."""
    summary = show_json(modelsum_cli, name, "--input", "3x600x600")
    assert (summary["baseline"]["status"], summary["device"]) == ("match", "meta")
    text = modelsum_cli("show", name, "--input", "3x600x600", "--depth", "1").out
    assert "matches the documented table" in text


def test_a_changed_model_is_not_held_against_the_table(modelsum_cli) -> None:
    summary = show_json(modelsum_cli, "vgg16", "--input", "3x600x600", "--arg", "num_classes=10")
    assert summary["baseline"]["status"] == "none"


# A smaller image than the default, where the default makes the CPU pass of the largest networks slow.
SMALL_INPUT = dict.fromkeys(("densenet", "resnet1", "preact", "vgg"), (3, 64, 64))
ON_CPU = [name for name in zoo.ARCHITECTURES if name not in DEEPEST]
EVERY_DAY = {*ON_CPU[::8]} - {"resnet152", "preact_resnet152", "vgg16_bn"}


@pytest.mark.parametrize("name", slow_unless(ON_CPU, EVERY_DAY.__contains__))
def test_figures_are_the_same_on_meta_and_cpu(name: str) -> None:
    size = next((s for start, s in SMALL_INPUT.items() if name.startswith(start)), None)
    if zoo.find(name).input_shape[1] <= 32:
        size = None
    on_meta, on_cpu = (
        summarize(name, input_size=size, device=device).to_dict() for device in ("meta", "cpu")
    )
    assert on_meta.pop("device") == "meta"
    assert on_cpu.pop("device") == "cpu"
    assert on_meta == on_cpu


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DEEPEST))
def test_figures_of_the_deepest_are_the_same_on_meta_and_cpu(modelsum_cli, name: str) -> None:
    on_meta, on_cpu = (show_json(modelsum_cli, name, "--device", d) for d in ("meta", "cpu"))
    assert on_meta["totals"] == on_cpu["totals"]
    assert on_meta["layers"] == on_cpu["layers"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", list(zoo.ARCHITECTURES))
def test_figures_are_the_same_on_meta_and_cuda(modelsum_cli, name: str) -> None:
    on_meta, on_cuda = (show_json(modelsum_cli, name, "--device", d) for d in ("meta", "cuda"))
    assert on_cuda.pop("device") == "cuda:0"
    on_meta.pop("device")
    assert on_meta == on_cuda


# ---- options


def test_documented_names_have_a_default_input() -> None:
    for name in EVERY_DAY:
        assert summarize(name, memory=False).inputs[0].shape == (1, *zoo.find(name).input_shape)


def test_batch_scales_macs_and_shapes(modelsum_cli) -> None:
    one = show_json(modelsum_cli, "squeezenet1_1")
    eight = show_json(modelsum_cli, "squeezenet1_1", "--batch", "8")
    assert eight["totals"]["macs"] == 8 * one["totals"]["macs"]
    assert eight["inputs"][0]["shape"] == [8, 3, 224, 224]


def test_no_batch_takes_the_shape_literally(modelsum_cli) -> None:
    summary = show_json(modelsum_cli, "squeezenet1_1", "--no-batch", "--input", "2x3x64x64")
    assert summary["inputs"][0]["shape"] == [2, 3, 64, 64]
    assert summary["batch"] is None


def test_arguments_reach_the_constructor(modelsum_cli) -> None:
    """A new head of resnet50 has 2048 * 10 + 10 parameters in place of 2048 * 1000 + 1000."""
    totals = show_json(modelsum_cli, "resnet50", "--arg", "num_classes=10")["totals"]
    assert totals["params"] == 25_557_032 - (2048 * 1000 + 1000) + (2048 * 10 + 10)


def test_mnasnet_is_built_from_a_list_of_blocks(modelsum_cli) -> None:
    blocks = [
        {"conv": "mbconv", "kernel": 5, "se_ratio": 0.25, "skip": "identity", "filters": 40, "layers": 4}
    ]
    summary = show_json(modelsum_cli, "mnasnet", "--arg", f"blocks={blocks}", "--input", "3x64x64")
    depthwise = [r for r in summary["layers"] if r["class"] == "Conv2d" and r["own_params"] % 25 == 0]
    assert len(depthwise) >= 4


def test_train_mode_dtype_and_device_are_reported(modelsum_cli) -> None:
    summary = show_json(modelsum_cli, "squeezenet1_1", "--train", "--dtype", "bfloat16", "--device", "cpu")
    assert (summary["mode"], summary["dtype"], summary["device"]) == ("train", "bfloat16", "cpu")
    assert summary["totals"]["param_bytes"] == 2 * 1_235_496
    assert summary["inputs"][0]["dtype"] == "bfloat16"


@pytest.mark.parametrize("depth", ["0", "1", "2", "9"])
def test_no_display_option_changes_a_total(modelsum_cli, depth: str) -> None:
    def below_the_table(text: str) -> list[str]:
        """The words, wherever lines end: they are about as wide as the table is."""
        return sorted(word for word in text[text.index("Total params") :].split() if set(word) != {"-"})

    full, shown = (modelsum_cli("show", "squeezenet1_1", *given).out for given in ([], ["--depth", depth]))
    assert below_the_table(shown) == below_the_table(full)


def test_torchinfo_prints_its_own_table(modelsum_cli) -> None:
    import torchinfo

    done = modelsum_cli("show", "squeezenet1_1", "--format", "torchinfo")
    own = torchinfo.summary(zoo.build("squeezenet1_1"), input_size=(1, 3, 224, 224), verbose=0, mode="eval")
    assert done.out == f"{own}\n"


# ---- output


def test_output_is_written_whole(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    done = modelsum_cli("show", "squeezenet1_1", "--format", "json", "--output", str(file))
    assert (done.code, done.out) == (0, "")
    assert json.loads(file.read_text())["totals"]["params"] == 1_235_496


@pytest.mark.parametrize(
    "wrong",
    [["--input", "1x224x224"], ["--input", "3xx"], ["--arg", "num_classes=0"], ["--device", "cuda:99"]],
    ids=" ".join,
)
def test_a_failed_run_leaves_an_existing_file_alone(modelsum_cli, tmp_path: Path, wrong: list[str]) -> None:
    file = tmp_path / "out.txt"
    file.write_text("precious")
    assert modelsum_cli("show", "squeezenet1_1", *wrong, "--output", str(file)).code in (2, 3)
    assert file.read_text() == "precious"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_unwritable_outputs_are_refused_before_any_work(modelsum_cli, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "out.txt"
    done = modelsum_cli("show", "squeezenet1_1", "--output", str(missing))
    assert done.code == 2
    assert f"there is no directory {str(missing.parent)!r}" in done.err
    assert modelsum_cli("show", "squeezenet1_1", "--output", str(tmp_path)).code == 2


def test_what_a_model_prints_goes_to_stderr(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "chatty.py"
    file.write_text(
        "import torch\n"
        "class Chatty(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        print('hello from forward')\n"
        "        return super().forward(x)\n"
        "def make():\n"
        "    print('hello from make')\n"
        "    return Chatty(4, 2)\n"
    )
    done = modelsum_cli("show", f"{file}:make", "--input", "4", "--format", "json")
    assert json.loads(done.out)["totals"]["macs"] == 8
    assert "hello from make" in done.err
    assert "hello from forward" in done.err


# ---- errors: the exit code, what failed, and what would be valid

ERRORS = {
    "unknown name": (["resnet5O"], 2, ["unknown model 'resnet5O'", "Did you mean", "resnet50"]),
    "unknown provider": (["torchvison/resnet50"], 2, ["unknown provider 'torchvison'", "torchvision"]),
    "empty name": ([""], 2, ["the model's name is empty", "modelsum list"]),
    "malformed input": (["resnet50", "--input", "3x224xabc"], 2, ["'3x224xabc' is not a shape", "3x224x224"]),
    "commas": (["resnet50", "--input", "3,64,64"], 2, ["'3,64,64' is not a shape", "like 3x64x64"]),
    "zero size": (["resnet50", "--input", "3x0x224"], 2, ["size 0 is not positive", "1 or more"]),
    "negative size": (["resnet50", "--input", "3x-1x224"], 2, ["size -1 is not positive"]),
    "input dtype": (["resnet50", "--input", "3x64x64:floot32"], 2, ["unknown dtype 'floot32'", "float32"]),
    "zero batch": (
        ["resnet50", "--batch", "0"],
        2,
        ["batch size 0 is not a positive whole number", "1 or more"],
    ),
    "batch twice": (["resnet50", "--batch", "2", "--no-batch"], 2, ["--batch and --no-batch are both given"]),
    "unknown argument": (
        ["resnet50", "--arg", "num_clases=3"],
        2,
        ["no option 'num_clases'", "num_classes=1000"],
    ),
    "wrong argument": (["resnet50", "--arg", "num_classes=0"], 2, ["num_classes=0", "Options of resnet50"]),
    "no literal": (["resnet50", "--arg", "num_classes=3 4"], 2, ["'3 4' is not a Python literal"]),
    "lower-case true": (
        ["resnet50", "--arg", "zero_init_residual=true"],
        2,
        ["Write zero_init_residual=True."],
    ),
    "no value": (["resnet50", "--arg", "num_classes"], 2, ["is not KEY=VALUE"]),
    "unknown dtype": (
        ["resnet50", "--dtype", "float23"],
        2,
        ["unknown dtype 'float23'", "Valid are float32"],
    ),
    "unknown device": (["resnet50", "--device", "gpu"], 2, ["unknown device 'gpu'", "cuda:N"]),
    "wrong channels": (
        ["resnet50", "--input", "1x224x224"],
        3,
        ["failed in conv1 (Conv2d)", "conv1 takes [N, 3, H, W], it was given [1, 1, 224, 224]."],
    ),
    "wrong dimensions": (
        ["resnet50", "--no-batch", "--input", "2x3x3x224x224"],
        3,
        ["failed in conv1 (Conv2d)", "conv1 takes [N, 3, H, W], it was given [2, 3, 3, 224, 224]."],
    ),
    "too many inputs": (
        ["resnet50", "--input", "3x64x64", "--input", "3x64x64"],
        3,
        ["takes 2 positional arguments"],
    ),
    "too small": (
        ["vgg16", "--input", "3x16x16"],
        3,
        ["failed in features.30 (MaxPool2d)", "The input is too small for this network"],
    ),
    "too small for training": (["resnet50", "--train", "--input", "3x32x32"], 3, ["--batch 2", "or --eval"]),
    "inputs twice": (
        ["resnet50", "--input", "3x64x64", "--inputs-from", "x.py:f"],
        2,
        ["--inputs-from gives the whole call"],
    ),
    "no such file": (["nowhere.py:Net"], 2, ["there is no file 'nowhere.py'"]),
    "no such file, and no attribute": (["nowhere.py"], 2, ["there is no file 'nowhere.py'"]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_failed_and_what_would_be_valid(modelsum_cli, name: str) -> None:
    arguments, code, words = ERRORS[name]
    done = modelsum_cli("show", *arguments)
    assert done.code == code
    for word in words:
        assert word in done.err
    assert done.err.startswith("modelsum: error: ")
    assert "Traceback" not in done.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_without_a_device_is_a_clear_error(modelsum_cli) -> None:
    done = modelsum_cli("show", "resnet50", "--device", "cuda")
    assert done.code == 2
    assert "there is no CUDA device here" in done.err


def test_a_failed_forward_shows_the_rows_so_far(modelsum_cli) -> None:
    done = modelsum_cli("show", "vgg16", "--input", "3x16x16")
    assert "features.29 (ReLU)" in done.out
    assert "failed" in done.out
    assert "not executed" in done.out
    assert "138,357,544" in done.out  # the parameters are known all the same


def test_debug_adds_the_traceback(modelsum_cli) -> None:
    done = modelsum_cli("show", "resnet5O", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err


def test_ctrl_c_ends_with_130(modelsum_cli, tmp_path: Path) -> None:
    file = tmp_path / "interrupted.py"
    file.write_text("def make():\n    raise KeyboardInterrupt\n")
    done = modelsum_cli("show", f"{file}:make", "--input", "4")
    assert done.code == 130
    assert "interrupted" in done.err


@pytest.mark.parametrize(
    "arguments", [["sho"], ["show"], ["show", "resnet50", "--nope"], ["show", "resnet50", "--format", "xml"]]
)
def test_usage_errors_end_with_2(modelsum_cli, arguments: list[str]) -> None:
    assert modelsum_cli(*arguments).code == 2


def test_a_fault_of_our_own_is_one_line_and_not_a_traceback(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelsum.cli.main import run

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("something unforeseen")

    monkeypatch.setattr("modelsum.cli.show.answer", broken)
    assert run(["show", "resnet50"]) == 3
    said = capsys.readouterr().err
    assert "RuntimeError: something unforeseen" in said
    assert "Traceback" not in said


OWN_OPTIMIZER = """
import torch

class Momentum(torch.optim.Optimizer):
    def __init__(self, params, beta=0.9, copies=1):
        super().__init__(params, {"beta": beta})
        self.copies = copies

    @torch.no_grad()
    def step(self):
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            for copy in range(self.copies):
                self.state[p].setdefault(copy, torch.zeros_like(p)).lerp_(p.grad, 0.1)
"""


def test_an_optimizer_of_the_users_own_file_is_traced(modelsum_cli, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN_OPTIMIZER)
    show = ("show", "squeezenet1_1", "--input", "3x64x64", "--format", "json", "--optimizer")

    def of_state(optimizer: str) -> tuple[int, int]:
        done = modelsum_cli(*show, optimizer)
        assert done.code == 0, done.err
        parts = json.loads(done.out)["memory"]["at_peak"]
        return parts["optimizer_state"], parts["weights"]

    state, weights = of_state("own.py:Momentum(copies=3)")
    assert state == 3 * weights
    state, weights = of_state("own.py:Momentum")
    assert state == weights
    Path("own.py").write_text(
        OWN_OPTIMIZER.replace("copies=1", "copies=1 + 1")
    )  # of another size: no old .pyc
    state, weights = of_state("own.py:Momentum")
    assert state == 2 * weights
    done = modelsum_cli(*show, "own.py:Momentu")
    assert (done.code, "there is no 'Momentu'" in done.err) == (2, True)
    done = modelsum_cli(*show, "own.py:Momentum(copies=")
    assert (done.code, "is not known" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("own.py:Net", "the optimizer own.py:Net is the class Net, which has no step"),
        ("own.py:make_net", "the optimizer own.py:make_net makes a Net, which has no step"),
        ("own.py:Momentum(gamma=1)", "could not be made: TypeError: Momentum.__init__() got an unexpected"),
    ],
)
def test_what_is_no_optimizer_or_cannot_be_made_is_an_error_of_the_users(
    modelsum_cli, tmp_path: Path, monkeypatch, optimizer: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    net = "\nclass Net(torch.nn.Linear):\n    pass\n\ndef make_net(parameters):\n    return Net(2, 2)\n"
    Path("own.py").write_text(OWN_OPTIMIZER + net)
    done = modelsum_cli(
        "show", "own.py:make_net", "--arg", "parameters=1", "--input", "2", "--optimizer", optimizer
    )
    assert (done.code, done.out) == (2, "")
    assert said in done.err


TAKES_NUMBERS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x, steps: int = 1, scale=1.0, kind="all", mask=None):
        for _ in range(steps):
            x = self.layer(x) * scale
        return x if kind == "all" else x[..., :2]
"""


def test_an_input_that_is_no_tensor_has_a_value(modelsum_cli, tmp_path: Path, monkeypatch) -> None:
    """One size is a number where the forward says that it takes one, else the shape of a tensor."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(TAKES_NUMBERS)

    def shown(*inputs: str) -> dict:
        given = [word for text in ("8", *inputs) for word in ("--input", text)]
        done = modelsum_cli("show", "net.py:Net", *given, "--no-memory", "--format", "json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    assert shown("steps=4", "scale=0.5")["totals"]["macs"] == 4 * 64
    assert shown("steps=0")["totals"]["macs"] == 0
    assert shown("kind='two'")["layers"][0]["output_shapes"] == [1, 2]
    assert [each["shape"] for each in shown("mask=4")["inputs"]] == [[1, 8], [1, 4]]
