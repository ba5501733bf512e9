"""Published memory of training on several GPUs, beside what is predicted: reports/memory-ranks-published.md.

    python tests/benchmarks/training_published.py reports/memory-ranks-published.md

The rows are tests/oracles/training-memory-published.csv, each with its source.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from llama_models import LLAMA_3_8B, TINY_LLAMA, Llama, parallelize

from modelsum.memory import Memory, MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.parallel.ranks import predict_ranks

ROWS = Path(__file__).parents[1] / "oracles" / "training-memory-published.csv"
GIB = 2**30
_FLOAT8 = "float8 is not predicted; its bfloat16 row is an upper bound"
_ASSUMED = "optimizer, precision or lengths of the run are not published in full"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """GiB of the figure that was measured, with the default allocator and with expandable segments."""

    default: float
    expandable: float


def _titan(ranks: int, *, expandable: bool) -> Memory:
    with torch.device("meta"):
        model, tokens = Llama(LLAMA_3_8B, 8192, float_logits=True), torch.empty(2, 8192, dtype=torch.int64)
    options = MemoryOptions(
        loss="cross-entropy", clip=True, mesh=f"dp={ranks}", parallelize="llama_models.py:parallelize",
        expandable_segments=expandable,
    )  # fmt: skip
    return predict_ranks(Call(model, (tokens,)), options=options, target="cuda", own=parallelize)


def _tiny(shard: str, passes: int) -> Memory:
    """As Fabric's "bf16-true" has it, which converts outputs to float32 (its convert_output)."""
    with torch.device("meta"):
        model = Llama(TINY_LLAMA, 2048, float_logits=True).to(torch.bfloat16)
        model.turns = torch.empty(2048, 32, dtype=torch.complex64)
        tokens = torch.empty(4, 2048, dtype=torch.int64)
    options = MemoryOptions(loss="cross-entropy", mesh="dp=8", shard=shard, accumulate=passes)
    return predict_ranks(Call(model, (tokens,)), options=options, target="cuda")


def predictions() -> dict[str, Prediction]:
    """By model, GPUs and way."""
    found = {}
    for ranks in (8, 128):
        default, expandable = (_titan(ranks, expandable=e).reserved_bytes / GIB for e in (False, True))
        found[f"Llama 3.1 8B|{ranks}|FSDP2 {ranks}"] = Prediction(default, expandable)
    # The commands: a global batch of 32 for FSDP, the script's own of 512 for DDP, 8 x 4 samples a pass.
    for name, shard, passes in (("FSDP1 FULL_SHARD per block", "fsdp", 1), ("DDP", "ddp", 16)):
        allocated = _tiny(shard, passes).allocated_bytes / GIB
        found[f"TinyLlama 1.1B|8|{name}"] = Prediction(allocated, allocated)
    return found


def _compared(row: Mapping[str, str], known: Mapping[str, Prediction]) -> tuple[str, str, str]:
    """The prediction, its error, and what is to be said of it."""
    prediction = known.get(f"{row['model']}|{row['gpus']}|{row['parallelism']}")
    if prediction is None or "float8" in row["precision"]:
        return "", "", _reason(row)
    measured = float(row["measured_gib"])
    text = f"{prediction.default:.2f}"
    if prediction.default != prediction.expandable:
        text += f" ({prediction.expandable:.2f} with expandable segments)"
    eager = row["notes"].startswith("eager")
    said = "eager" if eager else f"{row['notes'].split(';')[0]}: the prediction is for eager, an upper bound"
    if row["model"].startswith("TinyLlama"):
        said += "; outputs in float32 (Fabric's bf16-true)"
        said += "; predicted as FSDP2" if "FSDP1" in row["parallelism"] else "; 16 passes add up"
    return text, f"{100 * (prediction.default / measured - 1):+.1f} %", said


def _reason(row: Mapping[str, str]) -> str:
    if "float8" in row["precision"]:
        return _FLOAT8
    if "ZeRO" in row["parallelism"] or "thunder" in row["notes"]:
        return "another framework's way"
    if "LoRA" in row["parallelism"] or "offload" in row["notes"].lower():
        return "adapters, quantised weights or offloading in another framework"
    if "FSDP1" in row["parallelism"] or "FSDP 8" in row["parallelism"]:
        return f"flat parameters of FSDP1; {_ASSUMED}"
    return _ASSUMED


def report() -> str:
    """The table as Markdown."""
    with ROWS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["gpus"] != "1"]  # those: training_one_gpu.py
    known = predictions()
    header = (
        "Model",
        "GPUs",
        "Way",
        "Precision",
        "Measure",
        "Published GiB",
        "Predicted GiB",
        "Error",
        "Said",
    )
    lines = [
        "# Published memory of training on several GPUs",
        "",
        "Made by `tests/benchmarks/training_published.py`; the sources of all rows are in",
        "`tests/oracles/training-memory-published.csv`. The prediction is that of one rank, for eager torch.",
        "",
        "TinyLlama: Lightning Fabric's `bf16-true` converts what a model returns to float32, so that logits",
        "and their gradients are there in both; the script's global batch of 512 makes 16 passes of DDP,",
        "whose gradients stay, and that of FSDP's command (32) one. What is left, 0.70 GiB, is the same in",
        "both rows and not explained; LitGPT's one weight for queries, keys and values is not in the model.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for row in rows:
        cells = (
            *(row[name] for name in ("model", "gpus", "parallelism", "precision")),
            row["measure"].split(" (")[0],
            row["measured_gib"],
            *_compared(row, known),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(report())
