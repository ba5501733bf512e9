"""Predicted memory beside real training runs on the CPU.

    python tests/benchmarks/memory_cpu.py [NAME...] [--full] [--output FOLDER]   # -> memory-cpu.{json,md}

Every model has a process of its own: inference, then two training steps with each optimizer, under the
profiler, whose records of the CPU allocator add up to the live bytes (tests/real_cpu.py). Compared are the
peak of inference and of the second step. Images have 64 pixels in batches of 8; --full adds batches of 32 at
224 pixels for the documented models, which takes half an hour on two cores. With --reuse only the
predictions are made again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import memory_models  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from modelsum.memory import MemoryOptions  # noqa: E402
from modelsum.memory.cpu_convolution import THREADS  # noqa: E402
from modelsum.trace.copying import copy_to  # noqa: E402
from modelsum.trace.inputs import move  # noqa: E402
from modelsum.trace.training import predict_memory  # noqa: E402

OPTIMIZERS = (
    ("none", "for-loop"),
    *((name, how) for name in ("sgd", "momentum", "adam", "adamw") for how in ("for-loop", "foreach")),
)
HOLD_OUT_OPTIMIZERS = (("none", "for-loop"), ("adam", "for-loop"))
META = torch.device("meta")


@dataclass(frozen=True)
class Case:
    """One training run."""

    model: str
    optimizer: str
    implementation: str
    batch: int = 8
    pixels: int = 64

    @property
    def documented(self) -> bool:
        """Whether it is one of the models that the kernel rules were measured with."""
        return self.model in memory_models.DOCUMENTED


@dataclass(frozen=True)
class Row:
    """A case with both peaks, in bytes, and the error of the prediction in percent."""

    case: Case
    real_inference: int
    inference: int
    real_training: int
    training: int
    real_phases: dict[str, int]
    phases: dict[str, int]
    predicted_in_seconds: float

    @property
    def inference_error(self) -> float:
        return 100 * (self.inference / self.real_inference - 1)

    @property
    def training_error(self) -> float:
        return 100 * (self.training / self.real_training - 1)


def cases(names: list[str], full: bool, optimizers: list[str] | None) -> Iterator[list[Case]]:
    """The cases of each model and size."""
    everything = (*memory_models.DOCUMENTED, *memory_models.TORCHVISION, *memory_models.OWN)
    for name in names or everything:
        documented = name in memory_models.DOCUMENTED
        for batch, pixels in ((8, 64), (32, 224)) if full and documented else ((8, 64),):
            yield [
                Case(name, optimizer, implementation, batch, pixels)
                for optimizer, implementation in (OPTIMIZERS if documented else HOLD_OUT_OPTIMIZERS)
                if not optimizers or optimizer in optimizers
            ]


# ---- the real runs of a model, in a process of its own


def real(cases: list[Case]) -> list[dict[str, Any]]:
    """The peaks of the real runs."""
    done = subprocess.run(
        [sys.executable, __file__, "--real", json.dumps([asdict(case) for case in cases])],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(THREADS)},
    )
    if done.returncode:
        raise SystemExit(f"{cases[0].model} failed:\n{done.stderr}")
    peaks: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return peaks


def stored_runs(report: Path) -> dict[Case, dict[str, Any]]:
    """The real runs of a report, by case."""
    rows = json.loads(report.read_text())["rows"]
    return {
        Case(**row["case"]): {
            "inference": row["real_inference"],
            "training": row["real_training"],
            "phases": row["real_phases"],
        }
        for row in rows
    }


def run_for_real(cases: list[Case]) -> None:
    from real_cpu import real_peaks

    peaks = []
    for case in cases:
        torch.manual_seed(0)
        model = memory_models.build(case.model)
        x = memory_models.example(case.model, case.batch, case.pixels)
        loss, targets = real_loss(model, x, memory_models.loss_of(case.model))
        optimizer = make_optimizer(case.optimizer, case.implementation)
        peaks.append(asdict(real_peaks(model, (x,), loss, optimizer, targets)))
    print(json.dumps(peaks))


def real_loss(model: nn.Module, x: torch.Tensor, kind: str) -> Any:
    """The loss as modelsum takes it, and the tensors that it uses."""
    if kind == "sum":
        return (lambda output: output.sum()), ()
    with torch.no_grad():
        scores = by_class(model.eval()(x))
    targets = torch.zeros((scores.shape[0], *scores.shape[2:]), dtype=torch.int64)
    return (lambda output: functional.cross_entropy(by_class(output), targets)), (targets,)


def by_class(scores: torch.Tensor) -> torch.Tensor:
    return scores.flatten(0, 1) if scores.dim() == 3 else scores


def make_optimizer(name: str, implementation: str) -> Any:
    """A function from parameters to the optimizer, or None."""
    how = {"foreach": implementation == "foreach", "fused": implementation == "fused"}
    if name == "none":
        return None
    if name in ("sgd", "momentum"):
        return lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9 if name == "momentum" else 0, **how)
    if name == "adafactor":
        return lambda p: torch.optim.Adafactor(p, foreach=how["foreach"])
    return lambda p: {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](p, lr=1e-3, **how)


# ---- the prediction


def predicted(case: Case) -> tuple[Any, float]:
    """The prediction, and the seconds that it took."""
    torch.manual_seed(0)
    model = copy_to(memory_models.build(case.model), META)
    args, kwargs = move(((memory_models.example(case.model, case.batch, case.pixels),), {}), META)
    options = MemoryOptions(
        optimizer=case.optimizer,
        implementation=case.implementation,
        loss=memory_models.loss_of(case.model),
    )
    start = time.perf_counter()
    memory = predict_memory(model, args, kwargs, options=options, target="cpu")
    return memory, time.perf_counter() - start


def compared(case: Case, peaks: dict[str, Any]) -> Row:
    memory, seconds = predicted(case)
    if memory.training is None:
        raise SystemExit(f"{case}: {memory.notices}")
    return Row(
        case=case,
        real_inference=peaks["inference"],
        inference=memory.inference_peak_bytes,
        real_training=peaks["training"],
        training=memory.training.bytes,
        real_phases=peaks["phases"],
        phases=dict(memory.phase_peak_bytes),
        predicted_in_seconds=seconds,
    )


# ---- the report


def as_json(rows: list[Row]) -> str:
    values = [
        asdict(row)
        | {
            "inference_error_percent": round(row.inference_error, 4),
            "training_error_percent": round(row.training_error, 4),
        }
        for row in rows
    ]
    made_with = {"torch": torch.__version__, "python": platform.python_version()}
    return json.dumps({"made_with": made_with, "rows": values}, indent=1) + "\n"


def as_markdown(rows: list[Row]) -> str:
    lines = [
        "# Predicted memory and real training runs on the CPU",
        "",
        f"By tests/benchmarks/memory_cpu.py, torch {torch.__version__}, {THREADS} threads, on {machine()}.",
        "Peaks in MiB, real by the profiler's records of the CPU allocator, in the second step; the errors",
        "are of the prediction. Rules for memory inside kernels were made for the documented models first;",
        "what the hold-outs showed to be missing was then measured op by op.",
        "",
        "| models | runs | inference: largest error | training: median | training: largest |",
        "|---|---|---|---|---|",
    ]
    for title, chosen in (
        ("documented", [r for r in rows if r.case.documented]),
        ("hold-outs", [r for r in rows if not r.case.documented]),
    ):
        if chosen:
            training = [abs(r.training_error) for r in chosen]
            lines.append(
                f"| {title} | {len(chosen)} | {max(abs(r.inference_error) for r in chosen):.3f} % "
                f"| {statistics.median(training):.3f} % | {max(training):.3f} % |"
            )
    lines += [
        "",
        "| model | batch | pixels | optimizer | inference | error | training | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        c = r.case
        how = f"{c.optimizer} {c.implementation}" if c.optimizer != "none" else "none"
        lines.append(
            f"| {c.model} | {c.batch} | {c.pixels} | {how} | {r.real_inference / 2**20:.1f} "
            f"| {r.inference_error:+.3f} % | {r.real_training / 2**20:.1f} | {r.training_error:+.3f} % |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models; all of them by default")
    parser.add_argument("--full", action="store_true", help="also batches of 32 at 224 pixels")
    parser.add_argument("--optimizer", action="append", help="only these optimizers")
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument("--reuse", type=Path, help="a memory-cpu.json: its real runs are not done again")
    parser.add_argument("--real", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.real:
        run_for_real([Case(**case) for case in json.loads(options.real)])
        return
    rows = []
    stored = stored_runs(options.reuse) if options.reuse else {}
    for of_model in cases(options.names, options.full, options.optimizer):
        of_model_real = (
            [stored[case] for case in of_model] if set(of_model) <= stored.keys() else real(of_model)
        )
        for case, peaks in zip(of_model, of_model_real, strict=True):
            row = compared(case, peaks)
            rows.append(row)
            phases = " ".join(
                f"{phase[:3]} {100 * (row.phases[phase] / real_bytes - 1):+.3f}"
                for phase, real_bytes in row.real_phases.items()
                if phase in row.phases
            )
            print(
                f"{case.model:20} {case.optimizer:9} {case.implementation:8} {case.batch:3}@{case.pixels} "
                f"inference {row.inference_error:+.3f} % training {row.training_error:+.3f} % ({phases}) "
                f"{1e3 * row.predicted_in_seconds:.0f} ms",
                flush=True,
            )
    if options.output:
        (options.output / "memory-cpu.json").write_text(as_json(rows))
        (options.output / "memory-cpu.md").write_text(as_markdown(rows))


if __name__ == "__main__":
    main()
