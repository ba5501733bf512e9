from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

# Tests run in several processes side by side, and so do the workers of a check: threads of torch would wait
# for each other, busily, which triples the time of whatever runs on the CPU. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")


_frozen_modules = 0


def pytest_runtest_setup() -> None:
    """Tests and the modules that they import stay: nobody need look for garbage among them."""
    global _frozen_modules
    if len(sys.modules) > _frozen_modules + 100:
        gc.collect()
        gc.freeze()
        _frozen_modules = len(sys.modules)


#: Tests of the command, in processes of its own, and those whose work is shared out among processes.
FIRST = (("action", "baselines", "cache", "cli"), ("sweeps", "test_checking.py", "test_jobs.py"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sharing out comes early: after a mesh or an exported program, pools of a process begin anew."""
    places = [item.path.relative_to(Path(__file__).parent).parts[0] for item in items]
    order = {name: rank for rank, names in enumerate(FIRST) for name in names}
    ranked = sorted(zip(places, items, strict=True), key=lambda pair: order.get(pair[0], len(FIRST)))
    items[:] = [item for _, item in ranked]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def no_kept_answers() -> Iterator[None]:
    """Every answer is worked out, unless a test says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELSUM_NO_CACHE", "1")
        yield


def git(folder: Path, *arguments: str) -> None:
    """Have git do something in a folder, as somebody whose commits need no key."""
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def all_of(end: int) -> bytes:
    """What is written to the other end of a pipe or a terminal until that is closed."""
    found = b""
    with contextlib.suppress(OSError):  # so ends a terminal
        while more := os.read(end, 1 << 16):
            found += more
    os.close(end)
    return found


#: Runs one command line: arguments, stdin, stdout and stderr; returns the exit code.
Start = Callable[[tuple[str, ...], list[int]], int]

#: A line with one of these loads a package of models after torch, or the compiler that those load too:
#: seconds that tests share.
LOADING = (
    *("torchvision/", "vit_b_16", "timm/", "transformers/", "generate", "llama"),
    *("measure", "--optimizer", "--ema", "--mesh", "--gpus", ":compiled", ":exported", ".pt2"),
)
PACKAGES = tuple(
    module
    for module in ("torchvision", "timm", "transformers.models.llama.modeling_llama")
    if find_spec(module.partition(".")[0])
)
#: These load no torch, and neither does a shell that asks how a word goes on.
WITHOUT_TORCH = ("list", "cache", "--help", "--version", "-V")


def loaded_before(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What a command finds loaded when it begins, as tests share it: torch, and packages of models."""
    # An answer that may be kept is vouched for by all that was read for it, imports too. And packages
    # read where the Hub is when they are imported.
    if "MODELSUM_NO_CACHE" not in os.environ or "HF_HOME" in os.environ:
        return ("torch",)
    if not arguments or arguments[0] in WITHOUT_TORCH or "--help" in arguments:
        return ()
    loads_more = any(part in word for part in LOADING for word in arguments)
    return ("torch", *PACKAGES) if loads_more else ("torch",)


class Server:
    """The command in processes of its own, as `command_server` starts them."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = str(Path(__file__).with_name("command_server.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, str(theirs.fileno()), *modules], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self.ours.settimeout(600)

    def start(self, arguments: tuple[str, ...], files: list[int]) -> int:
        call = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(self.ours, [json.dumps(call).encode()], files)
        return int(json.loads(self.ours.recv(100)))

    def end(self) -> None:
        self.ours.close()
        self.process.wait(60)


@pytest.fixture(scope="session")
def command() -> Iterator[Start]:
    """The command in a process of its own: forked where that can be, a plain one where there is no fork."""
    if not hasattr(os, "fork"):
        yield lambda arguments, files: subprocess.call(
            [sys.executable, "-m", "modelsum", *arguments], stdin=files[0], stdout=files[1], stderr=files[2]
        )
        return
    servers: dict[tuple[str, ...], Server] = {}

    def start(arguments: tuple[str, ...], files: list[int]) -> int:
        loaded = loaded_before(arguments)
        if loaded not in servers:
            servers[loaded] = Server(loaded)
        return servers[loaded].start(arguments, files)

    yield start
    for server in servers.values():
        server.end()


@pytest.fixture(scope="session")
def modelsum_cli(command: Start) -> Callable[..., Done]:
    """Run one command line as its users do: exit code, and what is in the files behind stdout and stderr.

    In the folder and the environment that the tests are in when it is called.
    """

    def call(*arguments: str) -> Done:
        with (
            open(os.devnull, "rb") as nothing,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            code = command(arguments, [nothing.fileno(), out.fileno(), err.fileno()])
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

    return call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a network of the user's own for a sweep."""
    shutil.copy(Path(__file__).parent / "sweeps" / "nets.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
