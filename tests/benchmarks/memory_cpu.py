"""Predicted memory beside real training runs on the CPU.

    python tests/benchmarks/memory_cpu.py [NAME...] [--full] [--output FOLDER]   # -> memory-cpu.{json,md}

Every model has a process of its own: inference, then two training steps with each optimizer, under the
profiler, whose records of the CPU allocator add up to the live bytes (tests/real_cpu.py). Compared are the
peak of inference and of the second step. Images have 64 pixels in batches of 8; --full adds batches of 32 at
224 pixels for the documented models, which takes half an hour on two cores. Some models run under autocast
in bfloat16 too, and with activation checkpointing. With --runs FILE what was run
is kept there, and what is there is not run again; with --reuse REPORT only the predictions are made again.
What other tools say about the same runs (memory_cpu_tools.py) is kept and reused in the same two ways, in
FILE.tools; with --no-tools none is asked now.

Models of which the first prediction counts, made before anyone looked at a real run of them, are "unseen":
that prediction is kept (--as-found FILE) and stands in the report beside today's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import memory_cpu_tools  # noqa: E402
import memory_models  # noqa: E402
import torch  # noqa: E402
from memory_cpu_report import Row, as_json, as_markdown, how_of  # noqa: E402
from memory_cpu_runs import Case, Run, missing, of_file, of_report  # noqa: E402

from modelsum.memory import MemoryOptions  # noqa: E402
from modelsum.memory.cpu.machine import MEASURED_ISA, MEASURED_THREADS  # noqa: E402
from modelsum.trace.call import Call  # noqa: E402
from modelsum.trace.copying import copy_to  # noqa: E402
from modelsum.trace.inputs import move  # noqa: E402
from modelsum.trace.step.training import predict_memory  # noqa: E402

OPTIMIZERS = (
    ("none", "for-loop"),
    *((name, how) for name in ("sgd", "momentum", "adam", "adamw") for how in ("for-loop", "foreach")),
)
HOLD_OUT_OPTIMIZERS = (("none", "for-loop"), ("adam", "for-loop"))
IN_BF16 = (*memory_models.DOCUMENTED, "vit_b_16", "swin_t", "convnext_tiny", "gpt")
CHECKPOINTS = {
    "resnet50": "layer*.?",
    "vit_b_16": "encoder.layers.encoder_layer_?",
    "swin_t": "features.?.?",
    "gpt": "blocks.?",
}
SMALL, LARGE = (8, 64), (32, 224)  # samples, pixels
AS_FOUND = Path(__file__).with_name("memory_cpu_as_found.json")
META = torch.device("meta")


def cases(names: list[str], full: bool, optimizers: list[str] | None) -> Iterator[list[Case]]:
    """The cases of each model and size."""
    for name in names or memory_models.ALL:
        documented = name in memory_models.DOCUMENTED
        for batch, pixels in (SMALL, LARGE) if full and documented else (SMALL,):
            yield [
                Case(name, optimizer, implementation, batch, pixels)
                for optimizer, implementation in (OPTIMIZERS if documented else HOLD_OUT_OPTIMIZERS)
                if not optimizers or optimizer in optimizers
            ]
        pattern = CHECKPOINTS.get(name)
        ways = [("bf16", None)] * (name in IN_BF16)
        ways += [(None, pattern), ("bf16", pattern)] if pattern else []
        for amp, checkpoint in ways:
            yield [
                Case(name, optimizer, implementation, *SMALL, amp, checkpoint)
                for optimizer, implementation in HOLD_OUT_OPTIMIZERS
                if not optimizers or optimizer in optimizers
            ]


def predicted(case: Case) -> tuple[Any, float]:
    """The prediction, and the seconds that it took."""
    torch.manual_seed(0)
    model = copy_to(memory_models.build(case.model), META)
    args, kwargs = move(((memory_models.example(case.model, case.batch, case.pixels),), {}), META)
    options = MemoryOptions(
        optimizer=case.optimizer,
        implementation=case.implementation,
        loss=memory_models.loss_of(case.model),
        amp=case.amp,
        checkpoint=(case.checkpoint,) if case.checkpoint else (),
        threads=MEASURED_THREADS,
        isa=MEASURED_ISA,
    )
    start = time.perf_counter()
    memory = predict_memory(Call(model, args, kwargs), options=options, target="cpu")
    return memory, time.perf_counter() - start


def compared(
    case: Case, run: Run, as_found: dict[Case, tuple[int, int]], others: dict[str, memory_cpu_tools.Answer]
) -> Row:
    """A case beside its prediction."""
    memory, seconds = predicted(case)
    if memory.training is None:
        raise SystemExit(f"{case}: {memory.notices}")
    return Row(
        case=case,
        group=group_of(case),
        real_inference=run.inference,
        inference=memory.inference_peak_bytes,
        real_training=run.training,
        training=memory.training.bytes,
        real_phases=run.phases,
        phases=dict(memory.phase_peak_bytes),
        predicted_in_seconds=round(seconds, 3),
        as_found=as_found.get(case),
        others=others,
    )


def group_of(case: Case) -> str:
    """Which line of the report's first table a case belongs to."""
    if case.checkpoint:
        return "checkpointing"
    return "bf16" if case.amp else memory_models.group_of(case.model)


# ---- predictions as found


def found_before(file: Path) -> dict[Case, tuple[int, int]]:
    """The first predictions of unseen models: peak of inference and of training, in bytes."""
    if not file.exists():
        return {}
    return {
        Case(**value["case"]): (value["inference"], value["training"])
        for value in json.loads(file.read_text())
    }


def keep_as_found(file: Path, rows: list[Row]) -> None:
    """Add the predictions of unseen models that are not in the file; none is ever replaced."""
    found = found_before(file)
    for row in rows:
        if row.group == "unseen":
            found.setdefault(row.case, (row.inference, row.training))
    values = [{"case": asdict(c), "inference": i, "training": t} for c, (i, t) in found.items()]
    file.write_text(json.dumps(values, indent=1) + "\n")


def line_of(row: Row) -> str:
    """A row for the terminal, with the errors of each phase."""
    case = row.case
    phases = " ".join(
        f"{phase[:3]} {100 * (row.phases[phase] / real_bytes - 1):+.3f}"
        for phase, real_bytes in row.real_phases.items()
        if phase in row.phases
    )
    return (
        f"{case.model:24} {how_of(case):30} {case.batch:3}@{case.pixels} "
        f"inference {row.inference_error:+.3f} % training {row.training_error:+.3f} % ({phases}) "
        f"{1e3 * row.predicted_in_seconds:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="models; all of them by default")
    parser.add_argument("--full", action="store_true", help="also batches of 32 at 224 pixels")
    parser.add_argument("--optimizer", action="append", help="only these optimizers")
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument("--runs", type=Path, help="a file of real runs, which is added to")
    parser.add_argument("--reuse", type=Path, help="a memory-cpu.json whose real runs are not done again")
    parser.add_argument("--no-tools", action="store_true", help="ask no other tools now")
    parser.add_argument("--keep-as-found", action="store_true", help="keep the predictions of unseen models")
    options = parser.parse_args()
    known = of_report(options.reuse) if options.reuse else {}
    runs = options.runs or Path(tempfile.mkdtemp()) / "runs.jsonl"
    known |= of_file(runs)
    as_found = found_before(AS_FOUND)
    tools_file = runs.with_suffix(".tools")
    others = memory_cpu_tools.of_report(options.reuse) if options.reuse else {}
    others |= memory_cpu_tools.of_file(tools_file)
    rows = []
    for of_model in cases(options.names, options.full, options.optimizer):
        known = missing(of_model, known, runs)
        if not options.no_tools and not (of_model[0].amp or of_model[0].checkpoint):
            memory_cpu_tools.missing(of_model, others, tools_file)
        for case in of_model:
            if case in known:
                rows.append(compared(case, known[case], as_found, others.get(case, {})))
                print(line_of(rows[-1]), flush=True)
    if options.keep_as_found:
        keep_as_found(AS_FOUND, rows)
    if options.output:
        (options.output / "memory-cpu.json").write_text(as_json(rows))
        (options.output / "memory-cpu.md").write_text(as_markdown(rows))


if __name__ == "__main__":
    main()
