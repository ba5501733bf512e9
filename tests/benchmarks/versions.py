"""Whether modelsum works, and says the same, on every pair of Python and torch that it claims.

    python tests/benchmarks/versions.py [--pairs 3.11:2.14.1,...] [--suite 3.10:2.6.0,...] [--output FOLDER]
    python tests/benchmarks/versions.py --here     # the smoke set alone, in the environment that runs it
    python tests/benchmarks/versions.py --store    # this environment's figures are those to be equal to

    # -> reports/versions.json, versions.md

For every pair an environment is made and modelsum installed there, with what its tests need; by uv where it
is installed, in a fraction of the time, and by pip where it is not. There the smoke set of version_smoke.py
runs: every command as a process, the documented tables, and the figures of the thirty models of
version_models.py, compared with those of versions_figures.json. A pair named by --suite runs the whole test
suite too. Then the environment is removed, unless --environments says where they are kept.

The exit code is 0 where everything passed, and 1 where something did not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from version_smoke import Smoke, figures_of, smoke, suite  # noqa: E402

FIGURES = Path(__file__).with_name("versions_figures.json")
PAIRS = ("3.10:2.6.0", "3.12:2.8.0", "3.12:2.10.0", "3.11:2.13.0", "3.11:2.14.1", "3.13:2.15.0")
PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy")
_ASK = """
import json, platform
from importlib.metadata import PackageNotFoundError, version
def of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None
print(json.dumps({"Python": platform.python_version(), **{package: of(package) for package in %r}}))
"""


@dataclass(frozen=True)
class Row:
    """What came of one pair.

    Attributes:
        made_with: the versions that really were there.
        install_seconds: what it took to make the environment; None where that was not to be done.
        smoke: None where there is no such environment.
        tests: pytest's closing words, where the whole suite ran.
        error: why there is no environment, or no result.
    """

    pair: str
    made_with: dict[str, str | None]
    install_seconds: float | None = None
    smoke: Smoke | None = None
    tests: str | None = None
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything came out as it has to."""
        red = self.tests is not None and ("failed" in self.tests or "error" in self.tests)
        return self.smoke is not None and self.smoke.passed and not red


# ---- environments


def python_of(version: str) -> list[str] | None:
    """A command for that Python: this one, one on the PATH, pyenv's, or the Windows launcher's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        [sys.executable],
        [f"python{version}"],
        *([str(path)] for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))),
        ["py", f"-{version}"],
    ]
    return next((command for command in candidates if _version(command) == version), None)


def _version(command: list[str]) -> str | None:
    """The Python version of a command, like "3.11"; None where it is no Python that runs."""
    ask = "import sys; print(*sys.version_info[:2], sep='.')"
    try:
        done = subprocess.run([*command, "-c", ask], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def make(environment: Path, python: list[str], torch: str, source: Path, *, kept: bool) -> None:
    """Install modelsum as it is now, what its tests need, and that torch.

    Raises CalledProcessError where it fails.
    """
    there = python_in(environment)
    wanted = [f"torch=={torch}", "torchvision", f"modelsum[test] @ {source.as_uri()}"]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if not there.exists():
        _done([*python, "-m", "venv", str(environment)])
    if uv:
        install = [uv, "pip", "install", "--python", str(there), "--reinstall-package", "modelsum"]
        install += [] if kept else ["--no-cache"]  # several GB that nothing would read again
    else:
        install = [str(there), "-m", "pip", "install"]
    _done([*install, "--quiet", *wanted])


def _done(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def python_in(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextmanager
def a_source() -> Iterator[Path]:
    """A copy of what is installed, since building leaves folders behind."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "modelsum"
        shutil.copytree(ROOT / "modelsum", source / "modelsum", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        yield source


def installed(python: Path) -> dict[str, str | None]:
    """The versions in an environment."""
    done = subprocess.run([str(python), "-c", _ASK % (PACKAGES,)], check=True, capture_output=True, text=True)
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


# ---- pairs


def tried(pair: str, environments: Path, source: Path, *, kept: bool, whole: bool) -> Row:
    """Make the environment of a pair, what of it is not there, and run what is to be run in it."""
    version, _, torch = pair.partition(":")
    python = python_of(version)
    if python is None:
        python = [sys.executable]
        print(f"There is no Python {version} here: {_version(python)} in its place.", flush=True)
    environment = environments / pair.replace(":", "-")
    start = time.perf_counter()
    try:
        make(environment, python, torch, source, kept=kept)
    except subprocess.CalledProcessError as error:
        return Row(pair, {"Python": version, "torch": torch}, error=error.stderr.strip()[-2000:])
    seconds = round(time.perf_counter() - start, 1)
    return run_in(python_in(environment), pair, whole=whole, install_seconds=seconds)


def run_in(python: Path, pair: str, *, whole: bool, install_seconds: float | None = None) -> Row:
    """The smoke set, and where asked for the whole suite, in an environment that is there."""
    made_with = installed(python)
    stored = json.loads(FIGURES.read_text(encoding="utf-8"))["figures"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = smoke(python, Path(folder), stored)
        except RuntimeError as error:
            return Row(pair, made_with, install_seconds, error=str(error))
    return Row(pair, made_with, install_seconds, found, suite(python, ROOT) if whole else None)


def store(python: Path) -> None:
    """Have the figures of this environment be those that all are to be equal to."""
    with tempfile.TemporaryDirectory() as folder:
        here = figures_of(python, Path(folder))
    if here["unlike"]:
        raise SystemExit(f"this torch is not one to store the figures of: {here['unlike']}")
    text = json.dumps({"made_with": installed(python), "figures": here["figures"]}, indent=1)
    FIGURES.write_text(text + "\n", encoding="utf-8")


# ---- the report


def said(row: Row) -> Iterator[str]:
    """A pair in a line, and what was wrong in a line each."""
    yield f"{' '.join(f'{k} {v}' for k, v in row.made_with.items() if v)}: {'ok' if row.passed else 'not ok'}"
    if row.smoke:
        yield f"  commands {row.smoke.commands}, tables {row.smoke.tables}, figures equal {row.smoke.equal}"
    yield from (f"  fault: {fault}" for fault in faults(row))
    if row.smoke:
        yield from (f"  explained: {line}" for line in row.smoke.explained)
    if row.tests:
        yield f"  tests: {row.tests}"


def faults(row: Row) -> list[str]:
    """Everything that was wrong, the smoke set's or that there was none."""
    if row.smoke is None:
        return [row.error or "nothing could be run"]
    return [*row.smoke.commands.faults, *row.smoke.tables.faults, *row.smoke.differences]


def report(rows: list[Row], command: str) -> str:
    """The table of pairs, and what differs."""
    reference = json.loads(FIGURES.read_text(encoding="utf-8"))["made_with"]
    lines = [
        "# Versions of Python and torch",
        "",
        f"Made by `{command}`.",
        "",
        "Each pair has an environment of its own, with the newest of everything that goes with its torch.",
        "There run: every command as an installed process; the six documented tables, on the CPU; and the",
        "figures of thirty models (parameters, MACs, and for CUDA and the CPU what is saved and the peaks of",
        "inference and training), which are to be those of",
        f"torch {reference['torch']} on Python {reference['Python']}.",
        "",
        "| Python | torch | torchvision | made in, s | commands | tables | figures equal | whole suite |",
        "|---|---|---|---:|---|---|---|---|",
    ]
    for row in rows:
        seconds = "" if row.install_seconds is None else f"{row.install_seconds:.0f}"
        smoked = (
            (str(row.smoke.commands), str(row.smoke.tables), row.smoke.equal)
            if row.smoke
            else ("not run", "", "")
        )
        made = (row.made_with.get(name) or "" for name in ("Python", "torch", "torchvision"))
        lines.append(f"| {' | '.join((*made, seconds, *smoked, row.tests or 'not run'))} |")
    lines += _listed("What is wrong", rows, faults)
    lines += _listed(
        "What torch itself does otherwise", rows, lambda row: row.smoke.explained if row.smoke else []
    )
    return "\n".join(lines) + "\n"


def _listed(title: str, rows: list[Row], told: Callable[[Row], list[str]]) -> Iterator[str]:
    lines = [
        f"- Python {row.made_with['Python']}, torch {row.made_with['torch']}: {line}"
        for row in rows
        for line in told(row)
    ]
    if lines:
        yield from ("", f"## {title}", "", *lines)


def main() -> int:
    """Try the pairs, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", default=",".join(PAIRS), help="Python:torch, with commas between")
    parser.add_argument("--suite", default="", help="pairs that run the whole test suite too")
    parser.add_argument("--environments", type=Path, help="a folder to keep them in, and find them next time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="pairs that run at the same time")
    parser.add_argument("--output", type=Path, default=ROOT / "reports")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--store", action="store_true")
    chosen = parser.parse_args()
    here = Path(sys.executable)
    if chosen.store:
        store(here)
        return 0
    if chosen.here:
        row = run_in(here, "here", whole=False)
        print(*said(row), sep="\n")
        return 0 if row.passed else 1
    rows: list[Row] = []
    whole = chosen.suite.split(",") if chosen.suite else []
    pairs = dict.fromkeys([*chosen.pairs.split(","), *whole])
    with tempfile.TemporaryDirectory() as folder, a_source() as source:
        kept = chosen.environments is not None
        place = chosen.environments or Path(folder)
        os.environ.setdefault("UV_CACHE_DIR", f"{place}/uv")

        def row_of(pair: str) -> Row:
            row = tried(pair, place, source, kept=kept, whole=pair in whole)
            if not kept:
                shutil.rmtree(place / pair.replace(":", "-"), ignore_errors=True)
            return row

        with ThreadPoolExecutor(chosen.jobs) as pool:
            for row in pool.map(row_of, pairs):
                rows.append(row)
                print(*said(row), sep="\n", flush=True)
    asked = [("--pairs", chosen.pairs, ",".join(PAIRS)), ("--suite", chosen.suite, "")]
    options = [word for name, given, usual in asked if given != usual for word in (name, given)]
    command = shlex.join(["python", "tests/benchmarks/versions.py", *options])
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "versions.md").write_text(report(rows, command), encoding="utf-8")
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (chosen.output / "versions.json").write_text(text + "\n", encoding="utf-8")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
