"""torch's meta registrations: deferred by the command, loaded where they are needed, and never missed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import modelsum
from modelsum import startup, zoo
from modelsum.render import RenderOptions, render

CASES = Path(__file__).with_name("cases")
FAMILIES = sorted({a.family: name for name, a in reversed(list(zoo.ARCHITECTURES.items()))}.values())

# As the command does it, for one model after the other: prints whether the registrations were loaded at the
# end, and the summaries as JSON.
DEFERRED = """
import json, sys
from modelsum import startup
startup.defer_meta_registrations()
from modelsum.api import summarize
from modelsum.render import RenderOptions, render
summaries = [render(summarize(name), "json", RenderOptions()) for name in sys.argv[1:]]
print(json.dumps([not startup.load_meta_registrations(), summaries]))
"""


def deferred(*models: str) -> tuple[bool, list[str]]:
    done = subprocess.run([sys.executable, "-c", DEFERRED, *models], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded, summaries = json.loads(done.stdout)
    return loaded, summaries


def as_json(model: object, *inputs: object) -> str:
    return render(modelsum.summarize(model, *inputs), "json", RenderOptions())


def show(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelsum", "show", *arguments, "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_a_model_of_each_family_does_without_and_costs_the_same() -> None:
    """The test of the case in which they are needed is below."""
    loaded, summaries = deferred(*FAMILIES)
    assert not loaded
    assert summaries == list(map(as_json, FAMILIES))


# A module, and what is asked of it, that end in the registrations each in another way.
NEEDS = {
    "an op without a rule": "torch.cdist(x, x)",
    "an op that the command did not see coming": "torch.ops.aten.linalg_lu_factor(x.t() @ x)[0]",
    "another part of torch": "__import__('torch._dynamo') and x",
    "the registrations themselves": "torch._meta_registrations.meta_mm(x, x.t())",
    "a part of them": "__import__('torch._refs') and torch._refs.exp(x)",
}
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = self.linear(x)
        return {expression}
"""


@pytest.mark.parametrize("need", NEEDS)
def test_where_they_are_needed_they_are_there(need: str, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NET.format(expression=NEEDS[need]))
    done = show("nets.py:Net", "--input", "4", "--batch", "6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    code = (
        "import sys, modelsum; from modelsum.render import RenderOptions, render;"
        "print(render(modelsum.summarize('nets.py:Net', input_size=(4,), batch=6), 'json', RenderOptions()))"
    )
    library = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert summary == json.loads(library.stdout)
    assert summary["device"] == "meta"


@pytest.mark.parametrize(
    "case", ["02_called_twice", "07_multihead_attention", "09_bilstm", "32_compiled_model"]
)
def test_models_of_users_cost_the_same(case: str) -> None:
    done = show(f"{case}.py:build", "--inputs-from", f"{case}.py:example", cwd=CASES)
    assert done.returncode == 0, done.stderr
    code = f"""
from modelsum.api import run
from modelsum.memory.options import MemoryOptions
from modelsum.render import RenderOptions, render
from modelsum.request import Request
from modelsum.spec import parse_model
request = Request(parse_model("{case}.py:build"), inputs_from="{case}.py:example", memory=MemoryOptions())
print(render(run(request), "json", RenderOptions()))
"""
    library = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CASES)
    assert json.loads(done.stdout) == json.loads(library.stdout)


def test_the_library_defers_nothing() -> None:
    code = "import sys, modelsum; modelsum.summarize('resnet20'); print('torch._refs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(("version", "expected"), [("2.14.1+cu130", True), ("2.4.0", False), ("", False)])
def test_a_torch_that_was_not_tried_is_imported_as_it_wants(
    version: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "_torch_version", lambda: version)
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch._meta_reg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    startup.defer_meta_registrations()
    assert ("torch._meta_registrations" in sys.modules) == expected
    assert (sys.meta_path != before) == expected
    sys.modules.pop("torch._meta_registrations", None)


def test_the_version_is_read_without_importing_torch() -> None:
    import torch

    assert startup._torch_version() == torch.__version__
