"""The report of memory_cpu.py: JSON and Markdown."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from memory_cpu_runs import Case
from memory_cpu_tools import TOOLS

from modelsum.memory.cpu.machine import MEASURED_THREADS

TITLES = {
    "documented": "documented",
    "hold-outs": "hold-outs, which rules were since made for",
    "unseen": "unseen, after",
    "bf16": "autocast in bfloat16",
    "checkpointing": "activation checkpointing, in float32 and bfloat16",
}


@dataclass(frozen=True)
class Row:
    """A case with both peaks, in bytes, and the error of the prediction in percent.

    `as_found` are both predictions for an unseen model before its real runs were looked at; `others`
    what other tools say about the training peak, or why they say nothing.
    """

    case: Case
    group: str
    real_inference: int
    inference: int
    real_training: int
    training: int
    real_phases: Mapping[str, int]
    phases: Mapping[str, int]
    predicted_in_seconds: float
    as_found: tuple[int, int] | None = None
    others: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def inference_error(self) -> float:
        return 100 * (self.inference / self.real_inference - 1)

    @property
    def training_error(self) -> float:
        return 100 * (self.training / self.real_training - 1)

    @property
    def inference_error_as_found(self) -> float | None:
        return 100 * (self.as_found[0] / self.real_inference - 1) if self.as_found else None

    @property
    def training_error_as_found(self) -> float | None:
        return 100 * (self.as_found[1] / self.real_training - 1) if self.as_found else None

    def error_of(self, tool: str) -> float | None:
        """The error of another tool's figure to the training peak; None where it has none."""
        answer = self.others.get(tool)
        return 100 * (answer / self.real_training - 1) if isinstance(answer, int) else None


def as_json(rows: list[Row]) -> str:
    values = []
    for row in rows:
        errors = {
            "inference_error_percent": row.inference_error,
            "training_error_percent": row.training_error,
            "inference_error_percent_as_found": row.inference_error_as_found,
            "training_error_percent_as_found": row.training_error_as_found,
        }
        said = {f"{t}_error_percent": error for t in TOOLS if (error := row.error_of(t)) is not None}
        errors |= said
        values.append(asdict(row) | {k: round(v, 4) for k, v in errors.items() if v is not None})
    made_with = {"torch": torch.__version__, "python": platform.python_version(), "machine": machine()}
    return json.dumps({"made_with": made_with, "rows": values}, indent=1) + "\n"


def as_markdown(rows: list[Row]) -> str:
    lines = [
        "# Predicted memory and real training runs on the CPU",
        "",
        f"By tests/benchmarks/memory_cpu.py, torch {torch.__version__}, {MEASURED_THREADS} threads, "
        f"on {machine()}.",
        "Peaks in MiB, real by the profiler's records of the CPU allocator, in the second step; the errors",
        "are of the prediction. Rules for memory inside kernels were made for the documented models first;",
        "what the hold-outs showed to be missing was then measured op by op. Of the unseen models the first",
        "prediction is kept, from before any of their runs was looked at.",
        "",
        "| models | runs | inference: largest error | training: median | training: largest |",
        "|---|---|---|---|---|",
    ]
    for group, title in TITLES.items():
        chosen = [row for row in rows if row.group == group]
        if group == "unseen":
            lines += _totals(
                "unseen, as found", [(r.inference_error_as_found, r.training_error_as_found) for r in chosen]
            )
        lines += _totals(title, [(r.inference_error, r.training_error) for r in chosen])
    lines += [
        "",
        "| model | batch | pixels | optimizer | inference | error | training | error | as found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        c = r.case
        found = f"{r.inference_error_as_found:+.3f}, {r.training_error_as_found:+.3f} %" if r.as_found else ""
        lines.append(
            f"| {c.model} | {c.batch} | {c.pixels} | {how_of(c)} | {r.real_inference / 2**20:.1f} "
            f"| {r.inference_error:+.3f} % | {r.real_training / 2**20:.1f} | {r.training_error:+.3f} % "
            f"| {found} |"
        )
    lines += _of_other_tools(rows)
    return "\n".join(lines) + "\n"


def _of_other_tools(rows: list[Row]) -> list[str]:
    asked = [row for row in rows if row.others]
    if not asked:
        return []
    lines = [
        "",
        "## Other tools on the same runs",
        "",
        "The error of their figure to the real training peak. torchsummary's and torchinfo's estimated total",
        "size knows no optimizer; MemTracker (torch.distributed._tools) follows two steps.",
        "",
        "| tool | runs with a figure | median error | largest | failed on |",
        "|---|---|---|---|---|",
    ]
    for tool in ("modelsum", *TOOLS):
        errors = [row.training_error if tool == "modelsum" else row.error_of(tool) for row in asked]
        known = [abs(error) for error in errors if error is not None]
        failed = sorted({row.case.model for row, error in zip(asked, errors, strict=True) if error is None})
        spread = f"{statistics.median(known):.2f} % | {max(known):.2f} %" if known else " | "
        lines.append(f"| {tool} | {len(known)} | {spread} | {', '.join(failed)} |")
    lines += [
        "",
        f"| model | batch | pixels | optimizer | real MiB | modelsum | {' | '.join(TOOLS)} |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in asked:
        cells = [
            f"{answer / 2**20:.1f} ({row.error_of(tool):+.1f} %)"
            if isinstance(answer := row.others.get(tool, ""), int)
            else answer.partition(":")[0]
            for tool in TOOLS
        ]
        c = row.case
        lines.append(
            f"| {c.model} | {c.batch} | {c.pixels} | {how_of(c)} | {row.real_training / 2**20:.1f} "
            f"| {row.training / 2**20:.1f} ({row.training_error:+.1f} %) | {' | '.join(cells)} |"
        )
    return lines


def how_of(case: Case) -> str:
    """The optimizer and its implementation, and what else the step is like."""
    how = f"{case.optimizer} {case.implementation}" if case.optimizer != "none" else "none"
    others = (case.amp, case.checkpoint and f"checkpoint {case.checkpoint}")
    return ", ".join((how, *filter(None, others)))


def _totals(title: str, errors: list[tuple[float | None, float | None]]) -> list[str]:
    known = [(abs(i), abs(t)) for i, t in errors if i is not None and t is not None]
    if not known:
        return []
    training = [t for _, t in known]
    return [
        f"| {title} | {len(known)} | {max(i for i, _ in known):.3f} % "
        f"| {statistics.median(training):.3f} % | {max(training):.3f} % |"
    ]


def machine() -> str:
    """The processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
