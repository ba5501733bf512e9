"""The command as its users start it: every kind of model, device, mode and format, and every example."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Done, git
from every_kind import KINDS

from modelsum.cli.main import _Commands
from modelsum.render import FORMATS

COMMAND = str(Path(sys.executable).with_name("modelsum"))
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = "\n".join(page.read_text("utf-8") for page in sorted(ROOT.glob("modelsum/docs/*.md")))
DOCUMENTED = ("squeezenet1_1", ["--input", "3x64x64"], None)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(Path(__file__).with_name("every_kind.py").read_text())
    monkeypatch.chdir(tmp_path)


def macs_in(text: str, format_: str) -> int | None:
    """The total of multiply-accumulates in a result; None of a format that has none or rounds it."""
    if format_ == "json":
        return int(json.loads(text)["totals"]["macs"])
    if format_ == "text":
        return int(re.search(r"^MACs: +([\d,]+)", text, re.MULTILINE)[1].replace(",", ""))  # type: ignore[index]
    if format_ == "csv":
        return (
            int(next(line for line in text.splitlines() if line.startswith("totals,")).split(",")[1])
            if (text.startswith("totals,"))
            else None
        )
    return None


#: Each device and each mode for one kind and the next in turn, and the formats that ask the engine for
#: something else.
EVERY_DAY = (
    (("auto", "--eval", "json"), ("cpu", "--train", "json")),
    (("auto", "--train", "csv"), ("cpu", "--eval", "torchinfo")),
)
#: Those that load torch's compiler, which takes seconds: once each.
COMPILER = {
    "compiled": ("auto", "--eval", "json"),
    "exported": ("cpu", "--train", "json"),
    "Fourier": ("cpu", "--train", "json"),
}


def matrix() -> Iterator[Any]:
    """Every kind by device, mode and format; a part of them every day, all with -m slow."""
    ways = list(itertools.product(["auto", "cpu"], ["--eval", "--train"], [*FORMATS["Summary"], "torchinfo"]))
    for place, name in enumerate([*KINDS, "squeezenet1_1"]):
        daily = [COMPILER[name]] if name in COMPILER else EVERY_DAY[place % 2]
        for way in ways:
            yield pytest.param(name, *way, marks=() if way in daily else pytest.mark.slow)


@pytest.mark.parametrize(("name", "device", "mode", "format_"), list(matrix()))
def test_every_kind_on_every_device_in_every_format(
    nets: None, modelsum_cli, name: str, device: str, mode: str, format_: str
) -> None:
    call, macs = KINDS.get(name, (["--input", "3x64x64"], None))
    model = f"nets.py:{name}" if name in KINDS else name
    done = modelsum_cli("show", model, *call, "--device", device, mode, "--format", format_)
    if name == "exported" and format_ == "torchinfo":
        assert "a limit of torchinfo's" in done.err or done.code == 0
        return
    assert done.code == 0, done.err
    assert "fault of modelsum" not in done.err
    if macs is not None and (found := macs_in(done.out, format_)) is not None:
        assert found == macs


# ---- the six tables, and every example, in an empty folder

TABLES = ("mnasnet0_5", "mobilenet_v2", "densenet121", "resnet50", "vgg16", "squeezenet1_1")
#: A reader's terminal, and nothing of the machine that runs the tests.
SURROUNDINGS = {"NO_COLOR": "1", "CI": "", "GITHUB_STEP_SUMMARY": ""}


def installed(line: str, folder: Path) -> Done:
    """The line as a shell runs it: the installed script, in a process of its own."""
    done = subprocess.run(
        [COMMAND, *shlex.split(line)[1:]],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **SURROUNDINGS},
    )
    return Done(done.returncode, done.stdout, done.stderr)


# A pass of vgg16 takes as long as those of the other five together.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "vgg16" else ()) for n in TABLES]
)
def test_the_six_tables_come_out_on_the_cpu(name: str, modelsum_cli) -> None:
    """On the meta device: test_show."""
    done = modelsum_cli("show", name, "--input", "3x600x600", "--device", "cpu", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["baseline"]["status"] == "match"


def test_a_table_comes_out_of_the_installed_command(tmp_path: Path) -> None:
    done = installed("modelsum show squeezenet1_1 --input 3x600x600 --device cpu --format json", tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["baseline"]["status"] == "match"


def commands_in(text: str) -> set[str]:
    """Its indented lines that are commands, without their remarks."""
    lines = (line.strip().removeprefix("$ ") for line in text.splitlines() if line.startswith("  "))
    return {line.partition(" #")[0].strip() for line in lines if line.startswith("modelsum ")}


def examples() -> dict[str, bool]:
    """The commands of README, of the help texts and of the pages, and whether they are for every day.

    Of those that stand in the pages alone, one in three.
    """
    helps = [_Commands().get_command(None, name).help or "" for name in _Commands.modules]  # type: ignore[arg-type, union-attr]
    first = commands_in("\n".join((README, *(f"  {line}" for text in helps for line in text.splitlines()))))
    pages = sorted(commands_in(PAGES) - first)
    found = {**dict.fromkeys(first, True), **{line: place % 3 == 0 for place, line in enumerate(pages)}}
    return {line: found[line] and not any(word in line for word in LONG) for line in sorted(found)}


#: What the examples speak of: a model of one's own, reports, checks in a git repository.
PROJECT = {
    "pyproject.toml": "[tool.modelsum]\nreports = 'reports'\n"
    + "".join(
        f'[[tool.modelsum.check]]\nname = "{name}"\nmodel = "{model}"\n{more}\n'
        for name, model, more in (
            ("resnet50", "resnet50", ""),
            ("detector", "nets.detector:build", 'input = "3x64x64"'),
        )
    ),
    "grid.toml": '[[grid]]\nmodel = "squeezenet1_1"\ninput = ["3x64x64", "3x96x96"]\n',
    "nets/__init__.py": "",
    "nets/detector.py": "from torch import nn\ndef build(num_classes=2): return nn.Conv2d(3, num_classes, 1)",
    "my_package/__init__.py": "",
    "my_package/nets.py": "from nets.detector import build as Detector\n",
    "llama-8b/config.json": json.dumps(
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "vocab_size": 512,
            "max_position_embeddings": 16384,
        }
    ),
    "train.py": (
        "import torch\nfrom torch import nn\n\n"
        "class Net(nn.Sequential):\n    example_input_array = torch.zeros(2, 8)\n\n"
        "    def __init__(self):\n        super().__init__(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))\n\n"
        "def parallelize(model, mesh):\n    from torch.distributed.fsdp import fully_shard\n"
        "    return fully_shard(model, mesh=mesh['dp'])\n"
    ),
    "nets.py": (
        "import torch\nfrom torch import nn\n\nclass TextNet(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.embedding = nn.Embedding(9, 4)\n\n"
        "    def forward(self, tokens, lengths, scale=1.0):\n"
        "        return self.embedding(tokens) * scale\n\n"
        "class Config:\n    def __init__(self, width):\n        self.width = width\n\n"
        "class Net(nn.Sequential):\n    def __init__(self, config):\n"
        "        super().__init__(nn.Linear(4, config.width))\n\n"
        "class Lion(torch.optim.SGD):\n    def __init__(self, params, beta):\n"
        "        super().__init__(params, momentum=beta)\n\n"
        "def make():\n    return nn.Linear(4, 2)\n\ndef example():\n    return torch.zeros(3, 4)\n"
    ),
}
#: Not run here: what trains for minutes or asks another shell, each for its reason.
NOT_RUN = (
    *("&&", "modelsum measure transformers/gpt2 --device cuda", "weights/model.safetensors"),
    *("model.onnx", "hf:org/name"),  # tests/sources has files of every kind, and a cache of the hub
)


@pytest.fixture(scope="module")
def project(modelsum_cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for file, text in PROJECT.items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    git(folder, "init", "-q", "-b", "main")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in SURROUNDINGS.items():
            patch.setenv(name, value)
        made = modelsum_cli("show", "resnet50", "--format", "json", "--output", "before.json")
        assert made.code == 0, made.err
        shutil.copy("before.json", "after.json")
        for share in "12":
            swept = modelsum_cli("sweep", "grid.toml", "--shard", f"{share}/2", "-o", f"rows-{share}.csv")
            assert swept.code == 0, swept.err
        shutil.copy("rows-1.csv", "rows.csv")
        assert modelsum_cli("check", "--update", "--force").code == 0
        for _ in range(2):
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "--allow-empty", "-m", "x")
        git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


#: Words that make an example shorter every day; with -m slow it runs as it stands.
SHORTER = {"fit": "--no-ways", "measure": "--no-latency"}
#: Words of examples that take seconds, for a dozen arrangements or three packages: with -m slow alone.
LONG = ("--gpus", "transformers/vit")


def as_they_stand_and_shorter() -> Iterator[Any]:
    """Each example, and whether the installed script is what runs it.

    Every day that is the first of each command that takes no seconds, and the fork of the command the
    others; with -m slow all.
    """
    seen = set()
    for line, is_daily in examples().items():
        name = line.split()[1]
        shorter = SHORTER.get(name)
        first = name not in {*seen, "fit", "generate", "measure", "sweep"}
        if is_daily:
            seen.add(name)
            daily = f"{line} {shorter}" if shorter else line
            yield pytest.param(daily, first, id=daily)
        if shorter or not (first and is_daily):
            yield pytest.param(line, True, marks=pytest.mark.slow, id=f"{line} (installed)")


@pytest.mark.parametrize(("line", "as_installed"), list(as_they_stand_and_shorter()))
def test_every_example_of_the_help_and_of_the_pages_runs(
    line: str, as_installed: bool, project: Path, modelsum_cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(word in line for word in NOT_RUN):
        pytest.skip("not run here")
    monkeypatch.chdir(project)
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    done = installed(line, project) if as_installed else modelsum_cli(*shlex.split(line)[1:])
    # Not every model fits into every card, and `fit` says no with 1.
    assert done.code in ((0, 1) if line.startswith("modelsum fit") else (0,)), done.err
    assert done.out or "--output" in line or " -o " in line
