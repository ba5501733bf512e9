"""The real training runs behind memory_cpu.py: a process for each model and size, every run kept at once.

A run's peaks go to a file, a line each, as soon as they are known; a run that is there is not done again,
so that hours of them may be interrupted.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import memory_models
import torch
from real_cpu import inference_peak, training_peaks
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from modelsum.memory.cpu.machine import MEASURED_THREADS


@dataclass(frozen=True)
class Case:
    """One training run.

    `amp` is "bf16" for autocast in bfloat16; `checkpoint` a pattern of the modules whose activations are
    computed again in the backward pass.
    """

    model: str
    optimizer: str
    implementation: str
    batch: int = 8
    pixels: int = 64
    amp: str | None = None
    checkpoint: str | None = None

    @property
    def together(self) -> tuple[str, int, int, str | None, str | None]:
        """What cases have in common that are run in one process: inference is measured once for them."""
        return self.model, self.batch, self.pixels, self.amp, self.checkpoint


@dataclass(frozen=True)
class Run:
    """What a case really took, in bytes."""

    inference: int
    training: int
    phases: Mapping[str, int] = field(default_factory=dict)


# ---- known runs


def of_report(report: Path) -> dict[Case, Run]:
    """The real runs in a memory-cpu.json."""
    rows = json.loads(report.read_text())["rows"]
    return {
        Case(**row["case"]): Run(row["real_inference"], row["real_training"], row["real_phases"])
        for row in rows
    }


def of_file(runs: Path) -> dict[Case, Run]:
    """The runs in a file of lines, those of this version of torch."""
    known: dict[Case, Run] = {}
    for line in runs.read_text().splitlines() if runs.exists() else ():
        value = json.loads(line)
        if value["torch"] == torch.__version__:
            known[Case(**value["case"])] = Run(**value["run"])
    return known


def missing(cases: Iterable[Case], known: dict[Case, Run], runs: Path) -> dict[Case, Run]:
    """`known`, with runs of the cases that are not in it; they are appended to the file."""
    known = dict(known)
    by_process: dict[Any, list[Case]] = {}
    for case in cases:
        if case not in known:
            by_process.setdefault(case.together, []).append(case)
    for together in by_process.values():
        for case, run in _in_a_process(together):
            known[case] = run
            line = {"torch": torch.__version__, "case": asdict(case), "run": asdict(run)}
            with runs.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return known


def _in_a_process(cases: list[Case]) -> Iterator[tuple[Case, Run]]:
    """The runs of a model, in order, each as soon as it is done."""
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [sys.executable, __file__, json.dumps([asdict(case) for case in cases])],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(MEASURED_THREADS)},
        ) as process,
    ):
        assert process.stdout is not None
        remaining = iter(cases)
        for line in process.stdout:
            if line.startswith("{"):  # and not what a library prints
                yield next(remaining), Run(**json.loads(line))
        if process.wait():
            said.seek(0)
            print(
                f"{cases[0].model}: the real runs ended with {process.returncode}\n{said.read()}", flush=True
            )


# ---- in the process of a model


def run_for_real(cases: list[Case]) -> None:
    """Run the cases, which have all but the optimizer in common, and print the peaks of each."""
    torch.set_num_threads(MEASURED_THREADS)
    inference: int | None = None
    for case in cases:
        gc.collect()
        torch.manual_seed(0)
        model = memory_models.build(case.model)
        x = memory_models.example(case.model, case.batch, case.pixels)
        precision = autocast if case.amp else nullcontext
        if inference is None:  # the optimizer has no part in it
            inference = inference_peak(model, (x,), precision)
        loss, targets = real_loss(model, x, memory_models.loss_of(case.model))
        optimizer = make_optimizer(case.optimizer, case.implementation)
        if case.checkpoint:
            checkpointed(model, case.checkpoint)
        peaks = training_peaks(model, (x,), loss, optimizer, targets, precision=precision)
        print(json.dumps(asdict(Run(inference, peaks.training, peaks.phases))), flush=True)
        del model, x, loss, targets, optimizer


def autocast() -> Any:
    """Automatic mixed precision as it is used."""
    return torch.autocast("cpu", torch.bfloat16)


def checkpointed(model: nn.Module, pattern: str) -> None:
    """Have the modules that match compute their activations again in the backward pass."""
    for path, module in model.named_modules():
        if path and fnmatchcase(path, pattern):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def real_loss(model: nn.Module, x: Tensor, kind: str) -> tuple[Callable[[Any], Tensor], tuple[Tensor, ...]]:
    """The loss as modelsum takes it, and the tensors that it uses."""
    if kind == "sum":
        return sum_of_all, ()
    with torch.no_grad():
        scores = by_class(model.eval()(x))
    targets = torch.zeros((scores.shape[0], *scores.shape[2:]), dtype=torch.int64)
    return (lambda output: functional.cross_entropy(by_class(output), targets)), (targets,)


def sum_of_all(output: Any) -> Tensor:
    """The sum of all tensors in an output."""
    if isinstance(output, Tensor):
        return output.sum()
    first, *others = output.values() if isinstance(output, Mapping) else output
    total = first.sum()
    for tensor in others:
        total = total + tensor.sum()
    return total


def by_class(output: Any) -> Tensor:
    """The scores, with the positions of [N, tokens, C] joined."""
    scores: Tensor = output["logits"] if isinstance(output, Mapping) else output
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


if __name__ == "__main__":
    run_for_real([Case(**case) for case in json.loads(sys.argv[1])])
