"""The environment that models are built in: `torch` says which torch that is, `install` makes it.

torch takes long to install and is the same from run to run: it is in a folder of its own, which is cached by
what it is. Everything else, the project under test above all, is installed anew in every run, into a virtual
environment that sees this folder and never writes into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from runner import output

# Where both are: the runner empties it after the job.
HOME = Path(os.environ["RUNNER_TEMP"]) / "modelsum"

# Isolated: a project may have files that are called as modules of pip.
PYTHON = [sys.executable, "-I"]
PIP = [*PYTHON, "-m", "pip", "--disable-pip-version-check"]

EXACT = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)*(\+[\w.]+)?")


def torch() -> None:
    """Outputs: the exact requirement, the folder that it goes to, and what tells it apart in a cache."""
    index = os.environ["TORCH_INDEX_URL"]
    requirement = exact(os.environ["TORCH"].strip(), index)
    what = hashlib.sha256(f"{requirement} {index}".encode()).hexdigest()[:16]
    output("requirement", requirement)
    output("folder", HOME / f"torch-{what}")
    output("key", what)


def exact(wanted: str, index: str) -> str:
    """ "2.14.1" -> "torch==2.14.1"; for "", ">=2.6" and the like, the newest of those that pip would take."""
    requirement = f"torch=={wanted}" if wanted[:1].isdigit() else f"torch{wanted.removeprefix('torch')}"
    if EXACT.fullmatch(wanted):
        return requirement
    ask = ["--dry-run", "--quiet", "--no-deps", "--ignore-installed", "--report", "-"]
    report = json.loads(run([*PIP, "install", *ask, requirement, *chosen(index)], stdout=subprocess.PIPE))
    return f"torch=={report['install'][0]['metadata']['version']}"


def install() -> None:
    """Install torch where the cache did not have it, then modelsum and the project. Outputs: the command."""
    requirement, folder = os.environ["REQUIREMENT"], Path(os.environ["FOLDER"])
    index = os.environ["TORCH_INDEX_URL"]
    if os.environ["CACHED"] != "true":
        shutil.rmtree(folder, ignore_errors=True)
        run([*PIP, "install", "--target", str(folder), requirement, *chosen(index)])
    venv = HOME / "venv"
    run([*PYTHON, "-m", "venv", "--clear", "--without-pip", str(venv)])
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (packages(venv) / "torch.pth").write_text(f"{folder}\n", encoding="utf-8")
    constraints = HOME / "constraints.txt"
    constraints.write_text(f"{requirement}\n" if os.environ["TORCH"] else "", encoding="utf-8")
    more = ["--extra-index-url", index] if index else []  # torch's relatives, in the builds that go with it
    wanted = [os.environ["MODELSUM"], *shlex.split(os.environ["REQUIREMENTS"])]
    run([*PIP, "--python", str(python), "install", "--constraint", str(constraints), *more, *wanted])
    output("command", python.with_name("modelsum.exe" if os.name == "nt" else "modelsum"))


def packages(venv: Path) -> Path:
    """The folder of a virtual environment that packages are installed into."""
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    return Path(sysconfig.get_path("purelib", scheme, {"base": str(venv), "platbase": str(venv)}))


def chosen(index: str) -> list[str]:
    """The index that packages come from, where one was chosen."""
    return ["--index-url", index] if index else []


def run(command: list[str], stdout: int | None = None) -> str:
    """Run a command, shown in the log; where it fails, so does the step."""
    print("$", shlex.join(command), flush=True)
    done = subprocess.run(command, check=False, stdout=stdout, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    {"torch": torch, "install": install}[sys.argv[1]]()
