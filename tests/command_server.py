"""The command, ready to go: this process has done what `modelsum` does up to having torch and itself loaded.

Or, without a module in its own arguments, up to where it would load torch: a small process is copied quickly.

For every message on the socket it forks a child, which gets the caller's stdin, stdout, stderr, folder and
environment, and does the rest as the installed command does, to the real end of its process. The answer is
the exit code as the caller of a process sees it.

    python command_server.py FILE_NUMBER_OF_A_SOCKET [torch [MODULE ...]]

The modules are imported after torch: those of the package whose models the commands are about, which such a
command imports there anyway.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import signal
import socket
import sys
import weakref
from pathlib import Path
from typing import Any

NEEDED_BY_EVERY_MODEL = (
    "modelsum.cli.main",
    "modelsum.render.summary.text",
    "modelsum.sources.building",
    "modelsum.trace.step.prediction",
    "modelsum.trace.tracing",
)


def main(connection: socket.socket, modules: list[str]) -> None:
    from modelsum.cli import startup

    startup.hold_the_collector()
    # What every command has imported before torch.
    importlib.import_module("modelsum.cli.show")
    importlib.import_module("modelsum.api")
    if modules:
        startup.import_torch()
        # Modules of ours that every model needs once torch is there, and no name of the user's has a say in.
        for name in (*NEEDED_BY_EVERY_MODEL, *modules):
            importlib.import_module(name)
        leave_torchs_registry_alone()
    gc.freeze()
    while True:
        message, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not message:
            return
        call = json.loads(message)
        child = os.fork()
        if not child:
            connection.close()
            become(call, files)
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        connection.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def leave_torchs_registry_alone() -> None:
    """torch takes its operators out of its registry at the end of a process, which copies a fork's memory."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        if (alive := finalizer.peek()) and alive[1].__module__ == "torch.library":
            finalizer.detach()


def become(call: dict[str, Any], files: list[int]) -> None:
    """End as the command does that is called so."""
    from modelsum.__main__ import main
    from modelsum.cli import startup

    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    # As Python opens them at its start.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(file, "w", closefd=False)), line_buffering=by_line)
        for file, by_line in ((1, os.isatty(1)), (2, True))
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    os.chdir(call["folder"])
    sys.path[0] = str(Path(sys.executable).parent)
    if inherited := call["environment"].get("PYTHONPATH"):
        sys.path[1:1] = [path for path in inherited.split(os.pathsep) if path not in sys.path]
    sys.argv = ["modelsum", *call["arguments"]]
    startup.hold_the_collector()
    main()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
