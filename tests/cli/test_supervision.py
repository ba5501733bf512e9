"""What a model's code does to its process, and signals: an exit code, a sentence, and nobody left behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import all_of

from modelsum.cli import startup

COMMAND = [str(Path(sys.executable).with_name("modelsum"))]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the command watches over itself on Linux")

MODEL = """
import atexit, ctypes, os, signal, subprocess, sys, time
from torch import nn

def quits():
    os._exit(0)

def crashes():
    ctypes.string_at(0)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def chatty():
    print("by print")
    os.write(1, b"by the system\\n")
    subprocess.run(["echo", "by a child"])
    atexit.register(print, "at the end")
    os.chdir("/")
    return nn.Linear(4, 2)

def rests():
    time.sleep(3)
    return nn.Linear(4, 2)

def interrupted():
    os.kill(os.getpid(), signal.SIGINT)

def goes_on():
    try:
        interrupted()
        time.sleep(3)
    except KeyboardInterrupt:
        return nn.Linear(4, 2)

def has_a_child():
    child = subprocess.Popen(["sleep", "600"])
    open(f"pid{child.pid}", "w").close()
    sleeps()

def sleeps():
    open(f"pid{os.getpid()}", "w").close()
    print("here", file=sys.stderr, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Signals do to what a test starts what they do by default, also where the tests run under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def check_of(*names: str) -> str:
    return "".join(f'[[check]]\nname = "{name}"\nmodel = "nets.py:{name}"\ninput = "4"\n' for name in names)


HOW = {
    "quits": "the model's code ended the process (exit code 0)",
    "crashes": "the process that built and ran it was ended by SIGSEGV",
    "killed": "the process that built and ran it was ended by SIGKILL, perhaps for want of memory",
}


@ON_LINUX
@pytest.mark.parametrize("name", HOW)
def test_a_model_that_ends_the_process_is_a_failure(folder: Path, modelsum_cli, name: str) -> None:
    done = modelsum_cli("show", f"nets.py:{name}", "--input", "4", "--output", "result.txt")
    assert (done.code, done.out, done.err) == (3, "", f"modelsum: error: {HOW[name]}\n")
    assert not (folder / "result.txt").exists()


@ON_LINUX
@pytest.mark.parametrize("names", [["quits"], ["quits", "chatty", "killed"]], ids=" ".join)
def test_a_check_whose_model_ends_the_process_is_red_and_in_the_report(
    folder: Path, modelsum_cli, names: list[str]
) -> None:
    (folder / "modelsum.toml").write_text(check_of(*names))
    done = modelsum_cli("check", "--no-strict", "--output", "junit=costs.xml", "--format", "json")
    found = {check["name"]: check for check in json.loads(done.out)["checks"]}
    assert done.code == 3
    assert {name: found[name]["reason"] for name in HOW if name in found} == {
        name: HOW[name] for name in HOW if name in names
    }
    assert [found[name]["state"] for name in names if name == "chatty"] in ([], ["new"])
    assert HOW["quits"] in (folder / "costs.xml").read_text()


def test_stdout_is_the_result_and_nothing_else(folder: Path, modelsum_cli) -> None:
    done = modelsum_cli("show", "nets.py:chatty", "--input", "4", "--format", "json")
    assert json.loads(done.out)["totals"]["macs"] == 8
    for said in ("by print", "by the system", "by a child", "at the end"):
        assert said in done.err


def test_a_file_is_written_where_the_command_began(folder: Path, modelsum_cli) -> None:
    assert modelsum_cli("show", "nets.py:chatty", "--input", "4", "--output", "result.txt").code == 0
    assert "Total params" in (folder / "result.txt").read_text()


# ---- signals


def test_an_interrupt_that_the_models_code_took_for_its_own_is_one_all_the_same(
    folder: Path, modelsum_cli
) -> None:
    done = modelsum_cli("show", "nets.py:goes_on", "--input", "4")
    assert (done.code, done.err.splitlines()[-1]) == (130, "modelsum: error: interrupted")


def test_while_torch_is_imported_nothing_can_take_an_interrupt_for_its_own(monkeypatch) -> None:
    """numpy, which torch imports in the middle, leaves torch without arrays, or cannot be loaded again."""

    class Importing:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            found.append(signal.getsignal(signal.SIGINT))
            raise ImportError("that is enough")

    found: list[object] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "meta_path", [Importing()])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(ImportError, match="enough"):
        startup.import_torch()
    assert (found, signal.signal(signal.SIGINT, before)) == ([signal.SIG_DFL], signal.default_int_handler)


def alive(folder: Path) -> list[str]:
    """The processes that slept, which are there still."""

    def runs(pid: str) -> bool:
        status = Path("/proc", pid, "status")
        return status.exists() and "State:\tZ" not in status.read_text()

    return [pid for file in folder.glob("pid*") if runs(pid := file.name.removeprefix("pid"))]


def started(folder: Path, arguments: list[str], many: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(alive(folder)) < many and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(alive(folder)) == many
    return process


#: Of the command alone, and with workers; each start of it imports torch, so a part of them every day.
SIGNALS = {
    "0": (signal.SIGTERM, signal.SIGKILL),
    "1": (signal.SIGHUP,),
    "2": (signal.SIGTERM, signal.SIGKILL),
}


@ON_LINUX
@pytest.mark.parametrize(
    ("jobs", "number"),
    [
        pytest.param(jobs, n, marks=() if n in every_day else pytest.mark.slow, id=f"{jobs}-{n.name}")
        for jobs, every_day in SIGNALS.items()
        for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
    ],
)
def test_a_signal_ends_all_that_was_started(folder: Path, jobs: str, number: signal.Signals) -> None:
    """Also kill -9, and stdout is let go of at once."""
    (folder / "modelsum.toml").write_text(
        '[[check]]\nname = "a"\nmodel = "nets.py:sleeps"\ninput = "4"\n'
        '[[check]]\nname = "b"\nmodel = "nets.py:sleeps"\ninput = "4"\n'
    )
    arguments = ["check", "--jobs", jobs] if int(jobs) else ["show", "nets.py:sleeps", "--input", "4"]
    process = started(folder, arguments, max(1, int(jobs)))
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == -number
    deadline = time.monotonic() + 10
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(folder)


@ON_LINUX
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL],
    ids=lambda n: n.name,
)
def test_what_a_model_of_the_gate_started_ends_with_the_command(folder: Path, number: signal.Signals) -> None:
    (folder / "modelsum.toml").write_text(check_of("has_a_child"))
    process = started(folder, ["check"], 2)
    process.send_signal(number)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(folder)


@ON_LINUX
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_model_that_takes_too_long_fails_alone(folder: Path, modelsum_cli, jobs: str) -> None:
    (folder / "modelsum.toml").write_text(check_of("has_a_child", "chatty"))
    done = modelsum_cli("check", "--no-strict", "--jobs", jobs, "--timeout", "3", "--format", "json")
    slow, quick = json.loads(done.out)["checks"]
    assert (done.code, slow["state"], quick["state"]) == (3, "failed", "new")
    assert slow["reason"] == "it took longer than 3 s (--timeout)"
    assert not alive(folder)


@ON_LINUX
def test_a_check_has_a_limit_of_its_own(folder: Path, modelsum_cli) -> None:
    """In place of the one for all, be it shorter or longer."""
    slow, quick = check_of("has_a_child"), check_of("rests")
    (folder / "modelsum.toml").write_text(f"{slow}timeout = 1\n{quick}timeout = 3600\n")
    done = modelsum_cli("check", "--no-strict", "--timeout", "2", "--format", "json")
    late, rested = json.loads(done.out)["checks"]
    assert (done.code, late["state"], rested["state"]) == (3, "failed", "new")
    assert late["reason"] == "it took longer than 1 s (the check's timeout)"
    assert not alive(folder)


@pytest.mark.parametrize("seconds", ["0", "-3", "1.5", "true", "'10'"])
def test_a_checks_limit_is_a_whole_number_of_seconds_too(folder: Path, modelsum_cli, seconds: str) -> None:
    (folder / "modelsum.toml").write_text(f"{check_of('chatty')}timeout = {seconds}\n")
    done = modelsum_cli("check")
    assert done.code == 2
    assert "modelsum.toml:5: timeout: " in done.err
    assert "is not a positive whole number" in done.err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e3", "soon", "9" * 400])
def test_a_limit_of_time_is_a_whole_number_of_seconds(folder: Path, modelsum_cli, seconds: str) -> None:
    (folder / "modelsum.toml").write_text(check_of("chatty"))
    done = modelsum_cli("check", "--timeout", seconds)
    assert done.code == 2
    assert "'--timeout'" in done.err


@ON_LINUX
def test_a_model_that_interrupts_its_process_fails_alone(folder: Path, modelsum_cli) -> None:
    (folder / "modelsum.toml").write_text(check_of("interrupted", "chatty"))
    done = modelsum_cli("check", "--no-strict", "--format", "json")
    broken, whole = json.loads(done.out)["checks"]
    assert (done.code, whole["state"]) == (3, "new")
    assert broken["reason"] == "the process that built and ran it was ended by SIGINT"


@ON_LINUX
def test_ctrl_c_on_a_terminal_is_130_and_one_line(folder: Path) -> None:
    """A terminal sends it to every process of the command at once."""
    process, terminal = pty.fork()
    if not process:
        os.execv(COMMAND[0], [*COMMAND, "show", "nets.py:sleeps", "--input", "4"])
    said = b""
    while b"here" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    said = all_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    said = said.replace(b"^C", b"").replace(b"\r\x1b[K", b"")  # the line of progress is gone
    assert said.strip() == b"modelsum: error: interrupted"
    assert not alive(folder)


@pytest.mark.parametrize("milliseconds", [1, 3, 6, 10, 20, 40])
def test_ctrl_c_right_after_the_start(milliseconds: int) -> None:
    """As soon as any code of ours runs. Python itself needs a while before."""
    code = (
        "import os, signal, sys; sys.argv = ['modelsum', '--version']\n"
        "import modelsum.__main__ as command\n"
        f"signal.setitimer(signal.ITIMER_REAL, {milliseconds / 1000})\n"
        "signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))\n"
        "command.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 130)
