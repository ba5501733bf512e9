"""Losses and layers without fused kernels beside Liger Kernel's peaks: reports/operators-published.md.

    python tests/benchmarks/operators_published.py          no GPU

There a forward and a backward pass run again and again with a gradient that is kept, so that the gradients of
the last time are there too; the figure is torch.cuda.max_memory_allocated.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelsum.memory.cuda_kernels import KERNELS
from modelsum.memory.log import FORWARD, Log
from modelsum.memory.peaks import replay
from modelsum.trace.step.fused_functions import fused_functions
from modelsum.trace.step.lifetimes import Lifetimes

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "oracles" / "operator-memory-liger.csv"
REPORT = ROOT / "reports" / "operators-published.md"
MIB = 2**20
#: torch takes the workspace of cuBLAS through its allocator (CublasHandlePool.cpp), where there is a matmul:
#: one for each thread, that of the backward pass too.
WORKSPACE = 2 * 8320 * 1024

Case = Callable[[], Callable[[], Tensor]]


def peak(case: Case) -> int:
    """Most live bytes of CUDA's blocks, with the gradients of an earlier pass there."""
    log = Log(512)
    lifetimes = Lifetimes(log, "meta", KERNELS)
    log.phase = FORWARD
    with torch.device("meta"), lifetimes, fused_functions("cuda"):
        run = case()
        run()
        run()
    return replay(log.categories, [], log.events).peak.bytes


def cross_entropy(v: int, B: int, T: int) -> Callable[[], Tensor]:
    scores = torch.empty(B * T, v, requires_grad=True)
    targets = torch.empty(B * T, dtype=torch.int64)

    def run() -> Tensor:
        loss = functional.cross_entropy(scores, targets)
        loss.backward()
        return loss

    return run


def layer_norm(n: int, M: int, **_: Any) -> Callable[[], Tensor]:
    layer, x = nn.LayerNorm(n), torch.empty(M, n, requires_grad=True)
    gradient = torch.empty_like(x)
    return _again(layer, x, gradient)


def swiglu(t: int, B: int = 0, bsz: int = 0, *, hidden_size: int, intermediate_size: int, **_: Any) -> Any:
    class Mlp(nn.Module):
        """As transformers' LlamaMLP."""

        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(hidden_size, intermediate_size, bias=False)
            self.up = nn.Linear(hidden_size, intermediate_size, bias=False)
            self.down = nn.Linear(intermediate_size, hidden_size, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(functional.silu(self.gate(x)) * self.up(x))

    x = torch.empty(B or bsz, t, hidden_size, dtype=torch.bfloat16, requires_grad=True)
    return _again(Mlp().to(torch.bfloat16), x, torch.empty_like(x))


def _again(layer: nn.Module, x: Tensor, gradient: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        y = layer(x)
        y.backward(gradient, retain_graph=True)
        return y

    return run


CASES: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("cross_entropy", "huggingface"): cross_entropy,
    ("layer_norm", "huggingface"): layer_norm,
    ("swiglu", "huggingface"): swiglu,
    ("tiled_swiglu", "huggingface"): swiglu,
}
_MATMULS = ("swiglu", "tiled_swiglu")


def main() -> None:
    """Write the report."""
    lines = ["# Layers and losses beside Liger Kernel's peaks", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += ["| kernel | size | published MiB | predicted MiB | error |", "|---|---:|---:|---:|---:|"]
    errors = []
    with PUBLISHED.open() as file:
        for row in csv.DictReader(file):
            made = CASES.get((row["kernel_name"], row["kernel_provider"]))
            if made is None or row["kernel_operation_mode"] != "full":
                continue
            settings = json.loads(row["extra_benchmark_config_str"])
            found = peak(lambda: made(int(row["x_value"]), **settings))  # noqa: B023
            found += WORKSPACE if row["kernel_name"] in _MATMULS else 0
            published = float(row["y_value_50"]) * MIB
            errors.append(100 * (found / published - 1))
            cells = (row["kernel_name"], f"{row['x_name']} {row['x_value']}", f"{published / MIB:,.1f}")
            lines.append(f"| {' | '.join((*cells, f'{found / MIB:,.1f}', f'{errors[-1]:+.2f} %'))} |")
    worst = max(map(abs, errors))
    median = statistics.median(map(abs, errors))
    lines += ["", f"{len(errors)} rows: median {median:.2f} %, largest {worst:.2f} %."]
    REPORT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-len(errors) - 4 :]))


if __name__ == "__main__":
    main()
