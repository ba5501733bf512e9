"""Predicted CUDA memory beside real GPU training runs.

    python tests/benchmarks/memory_gpu.py [--figures FILE] [--check N] [--output FOLDER] [MODEL...]

writes memory-gpu.{csv,md,svg}. The runs are those of tests/oracles/gpu-training-memory.csv: timm models of
611 architectures in timm's training script, the largest memory of the whole device. Flags, software and
card are not published with them. What is assumed (OPTIONS) is what fits the runs best: SGD with momentum
and weight decay (both timm's defaults), foreach, cuDNN's benchmark, which timm's script turns on, and one
batch that the loader has fetched ahead. That was found on some forty models of both halves; the one rule
with a choice in it, the workspaces of convolutions, was chosen on the fitting half alone.

A model is traced for batches of 8 and of 128. A storage's bytes are a line through its batch, so that the
events of the other batches lie between; where the two traces are not alike, each batch is traced. --check
predicts the batches of 32 of N models directly and compares. The figures of each row are kept in a file, so
that an interrupted run goes on; they are made again when the package changes.
"""

from __future__ import annotations

import argparse
import csv
import gc
import hashlib
import inspect
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent)]

import timm  # noqa: E402
import torch  # noqa: E402
from memory_gpu_report import Figures, Row, Run, as_csv, as_markdown, split  # noqa: E402
from memory_gpu_scatter import scatter  # noqa: E402

from modelsum.memory import MemoryOptions, cuda_kernels, optimizers  # noqa: E402
from modelsum.memory.allocator import MIB, CachingAllocator, replay  # noqa: E402
from modelsum.memory.log import CACHE, Event  # noqa: E402
from modelsum.sources.timm import source  # noqa: E402
from modelsum.spec import parse_model  # noqa: E402
from modelsum.trace.call import Call  # noqa: E402
from modelsum.trace.step import attention, fused_functions, lifetimes, losses, stage  # noqa: E402
from modelsum.trace.step.training import predict_memory, record_training, training_events  # noqa: E402

ORACLE = ROOT / "tests" / "oracles" / "gpu-training-memory.csv"
META = torch.device("meta")
OPTIONS = MemoryOptions(
    optimizer="momentum", loss="cross-entropy", weight_decay=True, prefetch=1, cudnn_benchmark=True
)
SMALL, LARGE = 8, 128
OUT_OF_MEMORY_MIB = 38_000  # from here on a run may have ended for want of memory
CARD_MIB, OUTSIDE_MIB = 40_000, 1_800


# ---- the runs


def runs() -> dict[str, list[Run]]:
    """The runs of each model, by rising batch."""
    found: dict[str, list[Run]] = {}
    with ORACLE.open(newline="") as file:
        for row in csv.DictReader(file):
            run = Run(
                row["model"],
                int(row["batch_size"]),
                float(row["measured_max_gpu_mib"]),
                float(row["faketensor_final_mib"]),
            )
            found.setdefault(run.model, []).append(run)
    return {model: sorted(of_model, key=lambda run: run.batch) for model, of_model in found.items()}


def counted(of_model: list[Run]) -> list[Run]:
    """The runs that ended well: they take more from batch to batch, and the card had more.

    A run that takes no more than the one before died early, and those after it are not to be trusted. A
    first run says nothing about itself unless the second takes more.
    """
    growing = [after for _, after in takewhile(lambda pair: pair[1].mib > pair[0].mib, pairwise(of_model))]
    return [run for run in (of_model[:1] + growing if growing else []) if run.mib < OUT_OF_MEMORY_MIB]


def fits(figures: Figures) -> bool:
    """Whether the card could have held the run."""
    return figures.reserved_mib + OUTSIDE_MIB <= CARD_MIB


# ---- predictions


class Model:
    """A timm model on meta, and what the steps of its training allocate."""

    def __init__(self, name: str) -> None:
        loaded = source.load(parse_model(f"timm/{name}"), {}, META)
        assert loaded.default_inputs
        self.module = loaded.model
        self.shape = loaded.default_inputs[0].shape
        self._ends: tuple[list[Event], list[Event]] | None = None

    def events(self, batch: int) -> list[Event]:
        """Events of a first step and one in steady state."""
        if self._ends is None:
            self._ends = self._traced(SMALL), self._traced(LARGE)
        small, large = self._ends
        if [(e.storage, e.phase) for e in small] != [(e.storage, e.phase) for e in large]:
            return self._traced(batch)
        part = (batch - SMALL) / (LARGE - SMALL)
        return [
            a._replace(bytes=a.bytes + round((b.bytes - a.bytes) * part))
            for a, b in zip(small, large, strict=True)
        ]

    def example(self, batch: int) -> torch.Tensor:
        """A batch of images of the model's own size."""
        return torch.empty(batch, *self.shape, device=META)

    def _traced(self, batch: int) -> list[Event]:
        self.module.zero_grad(set_to_none=True)
        recording, why = record_training(
            Call(self.module, (self.example(batch),)), options=OPTIONS, target="cuda"
        )
        if recording is None:
            raise RuntimeError(why)
        return list(training_events(recording))


def figures(events: list[Event]) -> Figures:
    """Peaks of the live bytes and of what the allocator allocates and reserves."""
    simulated = replay(events)
    live = most = 0
    for event in events:
        live += event.bytes if event.storage != CACHE else 0
        most = max(most, live)
    return Figures(most / MIB, simulated.allocated_peak / MIB, simulated.reserved_peak / MIB)


def predicted(chosen: dict[str, list[Run]], file: Path) -> Iterator[tuple[Run, Figures]]:
    """Every run with its prediction; those in the file are not made again."""
    known = {(k["model"], k["batch"]): Figures(*k["mib"]) for k in _kept(file)}
    with file.open("a") as kept:
        for number, (name, of_model) in enumerate(chosen.items()):
            model = None
            for run in of_model:
                if (name, run.batch) not in known:
                    model = model or Model(name)
                    made = known[name, run.batch] = figures(model.events(run.batch))
                    line = {"package": _package(), "model": name, "batch": run.batch, "mib": list(made)}
                    kept.write(json.dumps(line) + "\n")
                yield run, known[name, run.batch]
            kept.flush()
            if model is not None and number % 20 == 0:
                gc.collect()
                print(f"{number} of {len(chosen)} models", file=sys.stderr, flush=True)


def _kept(file: Path) -> list[dict[str, object]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in map(json.loads, lines) if line["package"] == _package()]


@cache
def _package() -> str:
    """Tells apart what figures were made with."""
    decisive: tuple[Any, ...] = (CachingAllocator, replay, cuda_kernels, optimizers)
    decisive += (attention, fused_functions, lifetimes, losses, stage)
    sources = map(inspect.getsource, decisive)
    made_with = "".join((torch.__version__, timm.__version__, str(OPTIONS), *sources))
    return hashlib.sha256(made_with.encode()).hexdigest()[:12]


def differences(names: Iterable[str]) -> Iterator[tuple[str, float]]:
    """By how many percent a direct prediction of a batch of 32 is off the one in between."""
    for name in names:
        model = Model(name)
        between = figures(model.events(32)).reserved_mib
        model.module.zero_grad(set_to_none=True)
        direct = predict_memory(Call(model.module, (model.example(32),)), options=OPTIONS, target="cuda")
        assert direct.reserved_bytes is not None
        yield name, 100 * (between * MIB / direct.reserved_bytes - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", help="all of them by default")
    parser.add_argument(
        "--figures", type=Path, default=Path(tempfile.gettempdir()) / "modelsum-memory-gpu.jsonl"
    )
    parser.add_argument(
        "--check", type=int, default=20, help="models whose batch of 32 is predicted directly"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "reports", help="folder for the report")
    arguments = parser.parse_args()
    everything = runs()
    names = arguments.models or sorted(everything)
    chosen = {name: good for name in names if (good := counted(everything[name]))}
    rows = [Row(run, made) for run, made in predicted(chosen, arguments.figures) if fits(made)]
    checked = dict(differences(sorted(chosen, key=split)[: arguments.check]))
    made_with = f"torch {torch.__version__}, timm {timm.__version__}"
    every = [run for name in names for run in everything[name]]
    full = sum(run.mib >= OUT_OF_MEMORY_MIB for run in every)
    grown = sum(len(of_model) for of_model in chosen.values())
    left_out = {
        f"took {OUT_OF_MEMORY_MIB:,} MiB or more, all that there is": full,
        "took no more than a smaller batch, or came after one that did, and had died": len(every)
        - full
        - grown,
        "could not have fitted": grown - len(rows),
    }
    (arguments.output / "memory-gpu.csv").write_text(as_csv(rows))
    (arguments.output / "memory-gpu.md").write_text(as_markdown(rows, left_out, checked, made_with))
    (arguments.output / "memory-gpu.svg").write_text(scatter(rows))


if __name__ == "__main__":
    main()
