"""The command as a process: nobody misses what it skips at its end, and it loads what it needs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import Start
from torch_here import skip_unless_zeros_do_without_sympy

COMMAND = [sys.executable, "-m", "modelsum"]


def run(*arguments: str, cwd: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, **options)


def model_file(folder: Path, code: str) -> str:
    """A file whose import runs `code`, and which has a small network."""
    (folder / "nets.py").write_text(f"import sys\nfrom torch import nn\n{code}\nnet = nn.Linear(4, 2)\n")
    return "nets.py:net"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["show", "squeezenet1_1", "--depth", "0"], 0),
        (["show", "resnet5O"], 2),
        (["show", "resnet50", "--input", "4x224x224"], 3),
    ],
)
def test_exit_codes(modelsum_cli, arguments: list[str], code: int) -> None:
    assert modelsum_cli(*arguments).code == code


def test_what_runs_at_exit_still_runs_and_threads_are_waited_for(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coverage, for one, writes its data there."""
    code = """
import atexit, threading, time
from pathlib import Path
atexit.register(lambda: Path("at_exit").write_text("was here"))
threading.Thread(target=lambda: (time.sleep(0.5), Path("thread").write_text("was here"))).start()
"""
    monkeypatch.chdir(tmp_path)
    done = modelsum_cli("show", model_file(tmp_path, code), "--input", "4")
    assert done.code == 0, done.err
    assert (tmp_path / "at_exit").read_text() == "was here"
    assert (tmp_path / "thread").read_text() == "was here"


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    shell = f"set -o pipefail; {sys.executable} -m modelsum show densenet121 | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def written_to(command: Start, stdout: int, *arguments: str) -> tuple[int, str]:
    """The exit code, and what is said of it, of a command whose result goes there."""
    with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as said:
        code = command(arguments, [nothing.fileno(), stdout, said.fileno()])
        said.seek(0)
        return code, said.read().decode()


def test_a_red_verdict_stays_red_when_nobody_reads_it(
    command: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_file(tmp_path, "")
    (tmp_path / "modelsum.toml").write_text(
        '[[check]]\nname = "net"\nmodel = "nets.py:net"\ninput = ["4"]\nlimits = {params = 5}\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in ("CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    read, write = os.pipe()
    os.close(read)
    code, said = written_to(command, write, "check")
    os.close(write)
    assert code == 1, said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("list",), ("show", "squeezenet1_1")], ids=" ".join)
def test_a_result_that_cannot_be_written_is_an_error(command: Start, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        found = written_to(command, full.fileno(), *arguments)
    assert found == (2, "modelsum: error: cannot write the result: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them")
@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        (">&-", 2, "modelsum: error: cannot write the result: stdout is closed\n"),
        ("2>&- </dev/null", 0, ""),
        ("<&- >&- 2>&-", 2, ""),
        pytest.param("> /dev/full", 2, "modelsum: error: No space left on device\n", id="--help > /dev/full"),
    ],
)
def test_streams_that_are_closed_or_full_are_told_or_done_without(closed: str, code: int, said: str) -> None:
    words = "--help" if "full" in closed else "list"
    line = f'"{sys.executable}" -m modelsum {words} {closed}'
    done = subprocess.run(["sh", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, said)


def test_what_a_kept_answer_says_goes_nowhere_without_stderr(tmp_path: Path) -> None:
    spec = model_file(tmp_path, 'print("loading", file=sys.stderr)')
    for _ in range(2):
        line = f'"{sys.executable}" -m modelsum show {spec} --input 4 2>&-'
        assert subprocess.run(["sh", "-c", line], cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    "words", [("show",), ("compare", "resnet18"), ("show", "resnet18", "-o"), ("sweep",)]
)
def test_a_name_that_no_file_can_have_is_the_users(modelsum_cli, words: tuple[str, ...]) -> None:
    done = modelsum_cli(*words, 10_000 * "a")
    assert done.code == 2
    assert "File name too long" in done.err
    assert "fault of modelsum" not in done.err


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    spec = model_file(tmp_path, 'print("loading", file=sys.stderr, flush=True)\nimport time; time.sleep(60)')
    process = subprocess.Popen(
        [*COMMAND, "show", spec],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # Where a shell runs the tests in the background, the signal is ignored from the start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.strip() == "modelsum: error: interrupted"


SLOW = """
import os, time
from pathlib import Path

def slow():
    Path(f"pid{os.getpid()}").touch()
    time.sleep(100)
"""


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_ctrl_c_ends_the_gate_and_all_its_processes(jobs: str, tmp_path: Path) -> None:
    """The signal reaches the command alone, as from `kill`; a terminal sends it to all."""
    (tmp_path / "nets.py").write_text(SLOW)
    table = '[[tool.modelsum.check]]\nname = "{}"\nmodel = "nets.py:slow"\ninput = "4"\n'
    (tmp_path / "pyproject.toml").write_text("".join(map(table.format, "ab")))
    process = subprocess.Popen(
        [*COMMAND, "check", "--jobs", jobs],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while len(started := list(tmp_path.glob("pid*"))) < int(jobs) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(started) == int(jobs)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "modelsum: error: interrupted")
    assert not [file for file in started if Path("/proc", file.name.removeprefix("pid")).exists()]


def test_code_of_the_users_that_ends_the_process_is_an_error(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script with a sys.exit() at its end must not turn a gate green."""
    monkeypatch.chdir(tmp_path)
    done = modelsum_cli("show", model_file(tmp_path, "sys.exit(0)"), "--input", "4")
    assert done.code == 3
    assert "SystemExit" in done.err


# ---- what is loaded, and what the library leaves alone

NOT_NEEDED = (
    "torch._dynamo",
    "sympy",
    "torchvision",
    "timm",
    "torchinfo",
    "rich",
    "transformers",
    "torch.optim",
)
LOADED = """
import json, sys
from modelsum.cli.main import run
for arguments in {lines!r}:
    before = set(sys.modules)
    run(arguments)
    print(chr(10) + json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""


def loaded_by(*lines: list[str], before: str = "") -> list[set[str]]:
    """What each of these command lines loads that those before it have not, in one process."""
    code = f"{before}\n{LOADED.format(lines=lines)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return [set(json.loads(line)) for line in done.stderr.splitlines() if line.startswith("[")]


def test_show_loads_nothing_that_it_does_not_need() -> None:
    skip_unless_zeros_do_without_sympy()
    (loaded,) = loaded_by(["show", "resnet50"], before="import torch")
    assert not [name for name in NOT_NEEDED if name in loaded]
    assert "modelsum.trace.tracing" in loaded


NOTHING_IS_BUILT = (
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in ("show", "compare", "diff", "fit", "measure", "check", "sweep")),
    ["shwo"],
    ["show", "resnet5O"],
    ["show", "nowhere.py:Net"],
    ["show", "no_such_package.nets:Net"],
    ["show", "resnet50", "--input", "3x224xabc"],
    ["show", "resnet50", "--device", "gpu"],
    ["show", "resnet50", "--inputs-from", "nowhere.py:example"],
    ["show", "resnet50", "--optimizer", "adm"],
    ["show", "resnet50", "--foreach", "--fused"],
    ["show", "check:none"],
    ["compare", "resnet50", "resnet5O"],
    ["diff", "resnet50", "none.json"],
    ["diff", "HEAD:none", "resnet50"],
    ["fit", "resnet50", "--gpu", "rtx4091"],
    ["fit", "resnet5O", "--memory", "24GiB"],
    ["measure", "resnet5O"],
    ["measure", "resnet50", "--device", "meta"],
    ["check", "--list"],
    ["sweep", "--model", "resnet5O"],
    ["list"],
    ["list", "timm/"],
    ["list", "torchvision/vit*"],
    ["list", "transformers/bert"],
    ["list", "vit*"],
    ["list", "resnet*", "--format", "json"],
)


@pytest.fixture(scope="module")
def loaded_where_nothing_is_built() -> list[set[str]]:
    return loaded_by(*NOTHING_IS_BUILT)


@pytest.mark.parametrize("place", range(len(NOTHING_IS_BUILT)), ids=lambda n: " ".join(NOTHING_IS_BUILT[n]))
def test_torch_is_not_imported_where_nothing_is_built(
    loaded_where_nothing_is_built: list[set[str]], place: int
) -> None:
    heavy = {"torch", "numpy", "torchvision", "timm", "transformers"}
    assert not heavy & loaded_where_nothing_is_built[place]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sh", "show"),
        ("show resnet1", "resnet101"),
        ("show timm/vit_base_patch16_", "timm/vit_base_patch16_224"),
        ("compare torchvision/vit_b", "torchvision/vit_b_16"),
        ("fit transformers/ber", "transformers/bert"),
        ("show r --optimizer a", "adamw"),
        ("fit r --gpu H1", "H100-80GB"),
        ("show resnet50 --arg num", "num_classes="),
        ("check vgg", "vgg16-adam"),  # a check of this project
    ],
)
@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(shell, marks=pytest.mark.slow) for shell in ("zsh", "fish"))]
)
def test_completion_does_not_import_torch(shell: str, line: str, offered: str) -> None:
    provider, slash, _ = line.rpartition(" ")[2].partition("/")
    if slash:
        pytest.importorskip(provider)
    code = "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    words = ["modelsum", *line.split()]
    environment = {
        "_MODELSUM_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom modelsum.__main__ import main\nmain()"],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=Path(__file__).parents[1],
    )
    assert offered in re.split(r"[,\s]", done.stdout)
    assert (done.returncode, done.stderr) == (0, "False\n")


@pytest.mark.slow  # torchvision in a process of its own
def test_a_provider_is_loaded_where_the_model_is_its_own() -> None:
    """The tests above can fail."""
    pytest.importorskip("torchvision")
    (loaded,) = loaded_by(["show", "torchvision/squeezenet1_1"])
    assert {"torch", "torchvision"} <= loaded


def test_the_library_leaves_the_collector_and_the_end_of_the_process_alone() -> None:
    code = """
import gc, modelsum
modelsum.summarize("squeezenet1_1")
print(gc.isenabled(), gc.get_freeze_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True 0\n"


def test_the_command_collects_again_once_torch_is_there(tmp_path: Path) -> None:
    spec = model_file(
        tmp_path, "import gc\nprint(gc.isenabled(), gc.get_freeze_count() > 10000, file=sys.stderr)"
    )
    assert run("show", spec, "--input", "4", cwd=tmp_path).stderr.startswith("True True\n")
