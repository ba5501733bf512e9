"""What is no module is told what it is, and what of it could be given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import modelsum
from modelsum.compat import summary
from modelsum.objects import with_article


class Net(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 2)


def make() -> Net:
    return Net()


class Pipeline:
    """As those of transformers: something to call, with its model inside."""

    def __init__(self) -> None:
        self.model = Net()

    def __call__(self, text: str) -> str:
        return text


class Diffusion:
    """As the pipelines of diffusers."""

    def __init__(self) -> None:
        self.unet, self.vae = Net(), Net()


EITHER = 'Give a module, or a text that names one, like "resnet50".'
OBJECTS: dict[str, tuple[Callable[[], object], str, str]] = {
    "class": (lambda: Net, "the class Net", "Give an instance of it, Net(...)."),
    "function": (lambda: make, "the function make", "Give what it returns, make(...)."),
    "pipeline": (Pipeline, "a Pipeline", "Give its .model."),
    "pipeline of several": (Diffusion, "a Diffusion", "Give one of its modules: .unet, .vae."),
    "program": (
        lambda: torch.export.export(Net(), (torch.zeros(1, 8),)),
        "an ExportedProgram",
        "Give its .module().",
    ),
    "state_dict": (
        lambda: Net().state_dict(),
        "a state_dict",
        "Give the model that it was loaded into: a state_dict is weights alone.",
    ),
    "configuration": (
        lambda: SimpleNamespace(model_type="llama", to_dict=dict),
        "a SimpleNamespace",
        "Give a model of it, like transformers.AutoModelForCausalLM.from_config(config).",
    ),
    "path": (lambda: Path("nets.py"), "a path", "Give it as text, 'nets.py'."),
    "list of modules": (
        lambda: [Net()],
        "a list",
        "Give one of its modules, or all in a torch.nn.Sequential.",
    ),
    "list": (lambda: [1], "a list", EITHER),
    "None": (lambda: None, "None", EITHER),
    "int": (lambda: 5, "an int", EITHER),
    "tensor": (lambda: torch.zeros(2), "a Tensor", EITHER),
    "optimizer": (lambda: torch.optim.SGD(Net().parameters()), "an SGD", EITHER),
    "partial": (lambda: functools.partial(Net), "a partial", EITHER),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_no_module_in_python(name: str) -> None:
    made, kind, hint = OBJECTS[name]
    with pytest.raises(modelsum.UsageError) as caught:
        modelsum.summarize(made(), torch.zeros(1, 8))
    assert str(caught.value) == f"the model is {kind}, not a torch.nn.Module\n{hint}"


@pytest.mark.parametrize(
    "call",
    [
        lambda: modelsum.measure(Net, input_size=(8,)),
        lambda: modelsum.fit(Net, memory="1 GiB"),
        lambda: modelsum.assert_cost(Net, params=1),
        lambda: summary(Net, (8,)),
    ],
)
def test_every_function_says_so(call: Callable[[], object]) -> None:
    with pytest.raises(modelsum.UsageError, match="the model is the class Net"):
        call()


@pytest.mark.parametrize(
    ("attribute", "code", "words"),
    [
        ("number", 2, "nets.py:number is an int, not a torch.nn.Module\nName a torch.nn.Module, its class"),
        ("nothing", 2, "nets.py:nothing is None, not a"),
        ("state", 2, "nets.py:state is a state_dict, not a"),
        ("both", 2, "nets.py:both is a list, not a torch.nn.Module\nName one of its modules, or all in a"),
        (
            "pipeline",
            2,
            "nets.py:pipeline is a Pipeline, not a torch.nn.Module\nName nets.py:pipeline.model.",
        ),
        (
            "program",
            2,
            "nets.py:program is an ExportedProgram, not a torch.nn.Module\nName nets.py:program.module",
        ),
        ("none", 3, "nets.py:none returned None, not a torch.nn.Module"),
        (
            "piped",
            3,
            "nets.py:piped returned a Pipeline, not a torch.nn.Module\nIt has to return its .model.",
        ),
        ("Plain", 3, "nets.py:Plain returned a Plain, not a torch.nn.Module"),
    ],
)
def test_what_is_no_module_behind_a_spec(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "number, nothing = 5, None\n"
        "state = nn.Linear(8, 2).state_dict()\n"
        "both = [nn.Linear(8, 2), nn.ReLU()]\n"
        "class Plain: pass\n"
        "class Pipeline:\n"
        "    def __init__(self): self.model = nn.Linear(8, 2)\n"
        "    def __call__(self): return 'text'\n"
        "pipeline = Pipeline()\n"
        "def none(): pass\n"
        "def piped(): return pipeline\n"
        "def __getattr__(name):\n"
        "    if name != 'program': raise AttributeError(name)\n"
        "    return torch.export.export(nn.Linear(8, 2), (torch.zeros(1, 8),))\n"
    )
    done = modelsum_cli("show", f"nets.py:{attribute}", "--input", "8")
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    if attribute == "pipeline":
        assert modelsum_cli("show", "nets.py:pipeline.model", "--input", "8").code == 0


def test_an_example_has_to_be_one(modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text("def nothing(): pass\nsize = (3, 8, 8)\n")
    done = modelsum_cli("show", "resnet18", "--inputs-from", "data.py:nothing")
    assert (done.code, "data.py:nothing returned None" in done.err) == (2, True)
    done = modelsum_cli("show", "resnet18", "--inputs-from", "data.py:size")
    assert (done.code, "data.py:size is a tuple, not a function" in done.err) == (2, True)


def test_what_is_no_module_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, modelsum\n"
        "try: modelsum.summarize(5)\n"
        "except modelsum.UsageError: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["a Net", "an int", "an MLP", "a CNN", "an OrderedDict", "a UNet", "an SGD"])
def test_articles(name: str) -> None:
    assert with_article(name.split()[1]) == name
