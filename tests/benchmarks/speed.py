"""How long modelsum takes, beside the other tools: as a process and in one, in one run on one machine.

    python tests/benchmarks/speed.py [--rounds N] [--calls N] [--only process|calls|scale] [--output FOLDER]

    # -> reports/benchmarks/speed.json, speed.md
    pip install torchinfo torchsummary fvcore ptflops thop calflops accelerate

Three questions:

process  A fresh process that answers for one model and ends: wall-clock seconds and peak memory. All commands
         take their turns in every round, so that whatever else the machine does falls on each; the report has
         the median of the ratios to `python -c "import torch"` in the same round.
calls    In a process that has the model: the first call and the median of further ones. Real inputs where a
         tool runs the model. torchsummary, torchinfo, fvcore and others run it; modelsum computes shapes.
scale    Seconds and memory of models of any size and depth, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

DOCUMENTED = ("mnasnet0_5", "mobilenet_v2", "densenet121", "resnet50", "vgg16", "squeezenet1_1")
SUBJECTS = (
    *((name, pixels) for name in DOCUMENTED for pixels in (224, 600)),
    ("torchvision/vit_b_16", 224),
    ("torchvision/swin_t", 224),
)
IN_A_PROCESS = (("resnet50", 224), ("vgg16", 600), ("torchvision/vit_b_16", 224))
PACKAGES = (
    *("modelsum", "torch", "torchvision", "torchinfo", "torchsummary", "fvcore", "ptflops", "thop"),
    "calflops",
)
SECONDS = 300  # the most that one call series may take
NO_CACHE = {"MODELSUM_NO_CACHE": "1"}


# ---- the tools: a model and its input -> done


def _modelsum(model: Any, x: Any) -> None:
    import modelsum

    modelsum.summarize(model, x)


def _modelsum_without_memory(model: Any, x: Any) -> None:
    import modelsum

    modelsum.summarize(model, x, memory=False)


def _calflops(model: Any, x: Any) -> None:
    from calflops import calculate_flops

    calculate_flops(model, args=[x], print_results=False, print_detailed=False)


def _flop_counter(model: Any, x: Any) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    counter.get_total_flops()


def _mem_tracker(model: Any, x: Any) -> None:
    """A forward and a backward pass, followed by torch's own memory tracker."""
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        model(x).sum().backward()
    model.zero_grad()
    tracker.get_tracker_snapshot("peak")


def tools() -> dict[str, Callable[[Any, Any], None]]:
    """Every tool whose package is installed, by name."""
    from tools import TOOLS

    def called(tool: Any) -> Callable[[Any, Any], None]:
        return lambda model, x: tool.count(model, (x,), {})

    found = {"modelsum": _modelsum, "modelsum, no memory": _modelsum_without_memory}
    for name, tool in TOOLS.items():
        if name != "modelsum" and installed(tool.package):
            found[name] = called(tool)
    if installed("calflops"):
        found["calflops"] = _calflops
    return found | {"FlopCounterMode": _flop_counter, "MemTracker": _mem_tracker}


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def build(name: str) -> Any:
    """The model with its weights on the CPU, in evaluation mode."""
    if name.startswith("torchvision/"):
        import torchvision

        return torchvision.models.get_model(name.partition("/")[2]).eval()
    from modelsum import zoo

    return zoo.build(name).eval()


# ---- measuring


@dataclass(frozen=True)
class Calls:
    """Calls of a tool in one process: seconds of the first, median of the others, or why there is none."""

    tool: str
    model: str
    pixels: int
    first: float | None = None
    median: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Process:
    """A command run in every round: seconds of each, none where it failed, and the most memory in MiB."""

    command: str
    subject: str
    seconds: list[float]
    mib: float


@dataclass(frozen=True)
class Scale:
    """One model of some size: how many modules it calls, seconds and the most memory in MiB."""

    model: str
    modules: int
    seconds: float
    mib: float
    import_mib: float


def worker(tool: str, name: str, pixels: int, calls: int) -> None:
    """Call a tool once and then so many times more; prints the seconds."""
    import torch

    model, x = build(name), torch.rand(1, 3, pixels, pixels)
    call = tools()[tool]
    seconds = []
    began = time.perf_counter()
    while len(seconds) <= calls and (len(seconds) < 2 or time.perf_counter() - began < SECONDS / 2):
        start = time.perf_counter()
        call(model, x)
        seconds.append(time.perf_counter() - start)
    print(json.dumps([seconds[0], statistics.median(seconds[1:] or seconds)]))


def measured_calls(calls: int) -> Iterator[Calls]:
    """Every tool on every model, each in a process of its own."""
    for name, pixels in SUBJECTS:
        for tool in tools():
            command = [sys.executable, __file__, "--worker", tool, name, str(pixels), str(calls)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
                first, median = json.loads(done.stdout.splitlines()[-1])
                row = Calls(tool, name, pixels, first, median)
            except subprocess.TimeoutExpired:
                row = Calls(tool, name, pixels, error=f"more than {SECONDS} s")
            except (IndexError, ValueError):
                row = Calls(tool, name, pixels, error=(done.stderr.strip().splitlines() or ["no output"])[-1])
            print(row, flush=True)
            yield row


def spent(command: list[str], environment: dict[str, str]) -> tuple[float, float] | None:
    """Seconds of a process and the most memory that it had, in MiB; None where it failed."""
    surroundings = {**os.environ, **environment}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    return None if status else (seconds, usage.ru_maxrss / 1024)


def one_call(tool: str, name: str, pixels: int) -> list[str]:
    return [sys.executable, __file__, "--worker", tool, name, str(pixels), "0"]


def measured_processes(rounds: int, folder: Path) -> Iterator[Process]:
    """All commands in turn, in every round."""
    kept = {"MODELSUM_NO_CACHE": "", "MODELSUM_CACHE_DIR": str(folder)}
    for name, pixels in IN_A_PROCESS:
        show = [sys.executable, "-m", "modelsum", "show", name, "--input", f"3x{pixels}x{pixels}"]
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "python -c 'import torch'": ([sys.executable, "-c", "import torch"], {}),
            "modelsum show": (show, NO_CACHE),
            "modelsum show --no-memory": ([*show, "--no-memory"], NO_CACHE),
            "modelsum show, kept answer": (show, kept),
        }
        for tool in tools():
            if not tool.startswith("modelsum"):
                commands[tool] = (one_call(tool, name, pixels), {})
        spent(show, kept)  # the answer to keep
        seconds: dict[str, list[float]] = {command: [] for command in commands}
        memory: dict[str, float] = dict.fromkeys(commands, 0.0)
        for round in range(rounds):
            for command, (arguments, environment) in commands.items():
                if round >= 3 and command not in list(commands)[:4]:
                    continue  # they are far away
                found = spent(arguments, environment)
                if found is not None:
                    seconds[command].append(found[0])
                    memory[command] = max(memory[command], found[1])
        for command in commands:
            yield Process(command, f"{name} at {pixels}", seconds[command], memory[command])
            print(f"{name} {command}: {statistics.median(seconds[command] or [0]):.2f} s", flush=True)


SCALE_MODELS = {
    "vgg16 at 3x600x600": "vgg16:600",
    "resnet1202": "resnet1202",
    "preact_resnet1001": "preact_resnet1001",
    "densenet250bc_k24": "densenet250bc_k24",
    **{f"stack of {n:,} layers": f"stack:{n}" for n in (1000, 2000, 4000, 8000, 10000)},
    "Llama, 405 billion parameters, 131,072 tokens": "llama405b",
}


def scale_worker(name: str) -> None:
    """Summarise one model; prints the module calls, the seconds, and the memory before and at most."""
    import torch
    from torch import nn

    import modelsum

    torch.empty(1, device="meta")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    if name.startswith("stack:"):
        layers = int(name.partition(":")[2])
        with torch.device("meta"):
            model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))
        start = time.perf_counter()
        summary = modelsum.summarize(model, input_size=(8,))
    elif name == "llama405b":
        summary = modelsum.summarize(
            "transformers/llama",
            sequence_length=131072,
            model_args={
                "hidden_size": 16384,
                "intermediate_size": 53248,
                "num_hidden_layers": 126,
                "num_attention_heads": 128,
                "num_key_value_heads": 8,
                "vocab_size": 128256,
                "max_position_embeddings": 131072,
                "tie_word_embeddings": False,
            },
        )
    else:
        model, _, pixels = name.partition(":")
        size = (3, int(pixels), int(pixels)) if pixels else None
        summary = modelsum.summarize(model, input_size=size)
    seconds = time.perf_counter() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([summary.totals.module_calls, seconds, most, before]))


def measured_scale() -> Iterator[Scale]:
    for title, name in SCALE_MODELS.items():
        done = subprocess.run(
            [sys.executable, __file__, "--scale-worker", name], capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise SystemExit(f"{title} failed:\n{done.stderr}")
        row = Scale(title, *json.loads(done.stdout.splitlines()[-1]))
        print(row, flush=True)
        yield row


# ---- the report


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def process_lines(rows: list[Process]) -> Iterator[str]:
    yield "## A process of its own"
    yield ""
    yield "Seconds are medians; the ratio is the median over the rounds, to the import in the same round."
    for subject in dict.fromkeys(row.subject for row in rows):
        chosen = [row for row in rows if row.subject == subject]
        torch_seconds = chosen[0].seconds
        yield ""
        yield f"| {subject} | s | ratio to `import torch` | MiB |"
        yield "|---|---:|---:|---:|"
        for row in chosen:
            if not row.seconds:
                yield f"| {row.command} | failed | | |"
                continue
            ratios = [a / b for a, b in zip(row.seconds, torch_seconds, strict=False)]
            yield (
                f"| {row.command} | {statistics.median(row.seconds):.2f} "
                f"| {statistics.median(ratios):.2f} | {row.mib:.0f} |"
            )
    yield ""


def calls_lines(rows: list[Calls]) -> Iterator[str]:
    names = list(dict.fromkeys(row.tool for row in rows))
    by_subject: dict[tuple[str, int], dict[str, Calls]] = {}
    for row in rows:
        by_subject.setdefault((row.model, row.pixels), {})[row.tool] = row
    yield "## Calls in one process"
    yield ""
    yield "Milliseconds, the median of further calls on the same model; in parentheses the first call."
    yield ""
    yield f"| model | px | {' | '.join(names)} |"
    yield f"|---|---:|{'---:|' * len(names)}"
    for (model, pixels), found in by_subject.items():
        yield f"| {model} | {pixels} | {' | '.join(_cell(found[name]) for name in names)} |"
    yield ""
    yield "How many times as long the others take, geometric mean over the documented models:"
    yield ""
    yield "| at | " + " | ".join(name for name in names if not name.startswith("modelsum")) + " |"
    yield "|---|" + "---:|" * sum(not name.startswith("modelsum") for name in names)
    for pixels in (224, 600):
        for own in ("modelsum", "modelsum, no memory"):
            cells = []
            for name in names:
                if name.startswith("modelsum"):
                    continue
                ratios = [
                    by_subject[model, pixels][name].median / by_subject[model, pixels][own].median
                    for model in DOCUMENTED
                    if by_subject[model, pixels][name].median
                ]
                cells.append(f"{geometric_mean(ratios):.1f}" if ratios else "-")
            yield f"| {pixels} px, {own} | {' | '.join(cells)} |"
    yield ""


def _cell(row: Calls) -> str:
    if row.median is None or row.first is None:
        return "failed"
    return f"{1e3 * row.median:.0f} ({1e3 * row.first:.0f})"


def scale_lines(rows: list[Scale]) -> Iterator[str]:
    yield "## Any size"
    yield ""
    yield "One call of `summarize`, memory prediction included; memory over that of the process before it."
    yield ""
    yield "| model | module calls | s | MiB | over `import torch` |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        yield (
            f"| {row.model} | {row.modules:,} | {row.seconds:.2f} | {row.mib:.0f} "
            f"| +{row.mib - row.import_mib:.0f} |"
        )
    stack = {row.model: row.seconds for row in rows if row.model.startswith("stack")}
    if stack:
        ratio = stack["stack of 8,000 layers"] / stack["stack of 1,000 layers"]
        yield ""
        yield f"8,000 layers take {ratio:.1f} times as long as 1,000: {ratio ** (1 / 3):.2f} a doubling."
    yield ""


def environment() -> str:
    found = [f"{name} {installed(name)}" for name in PACKAGES if installed(name)]
    return f"{', '.join(found)}; Python {platform.python_version()}; {os.cpu_count()} cores of {processor()}"


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        tool, name, pixels, calls = sys.argv[2:]
        worker(tool, name, int(pixels), int(calls))
        return
    if sys.argv[1:2] == ["--scale-worker"]:
        scale_worker(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of the fresh processes")
    parser.add_argument("--calls", type=int, default=3, help="after the first one in a process")
    parser.add_argument("--only", choices=("process", "calls", "scale"), action="append")
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "benchmarks")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    stored = given.output / "speed.json"
    found: dict[str, Any] = json.loads(stored.read_text()) if given.only and stored.exists() else {}
    wanted = given.only or ("process", "calls", "scale")
    if "process" in wanted:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            found["process"] = [asdict(row) for row in measured_processes(given.rounds, Path(folder))]
    if "calls" in wanted:
        found["calls"] = [asdict(row) for row in measured_calls(given.calls)]
    if "scale" in wanted:
        found["scale"] = [asdict(row) for row in measured_scale()]
    found["environment"] = environment()
    stored.write_text(json.dumps(found, indent=1) + "\n")
    lines = ["# Speed", "", f"By tests/benchmarks/speed.py, with {found['environment']}.", ""]
    lines += process_lines([Process(**row) for row in found.get("process", [])])
    lines += calls_lines([Calls(**row) for row in found.get("calls", [])])
    lines += scale_lines([Scale(**row) for row in found.get("scale", [])])
    (given.output / "speed.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
