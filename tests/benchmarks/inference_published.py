"""What `modelsum.generate` says beside published memory of generation: reports/inference-published.md.

    python tests/benchmarks/inference_published.py          about five minutes; no GPU

The published figure is torch.cuda.max_memory_allocated of the whole run. torch takes the workspace of cuBLAS
through the same allocator (CublasHandlePool.cpp: 8,320 KiB, from Hopper on 32 MiB), so it is added here.

Where the code that was measured did something that today's does not, that is added in closed form, and the
last column says what it is and what today's code would make of the row. The reasons were found by arithmetic
on the rows and, where the benchmark names a file, in the code of then; none was seen in a run of that code.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import modelsum
from modelsum.generation.formats import USUAL
from modelsum.generation_values import Generation

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "oracles" / "inference-memory-published.csv"
REPORT = ROOT / "reports" / "inference-published"
MIB, GIB = 2**20, 2**30
WORKSPACE = {"A100": 8320 * 1024, "H20": 32 * MIB}


def _qwen(
    kind: str, h: int, i: int, n: int, heads: int, kv: int, d: int, vocab: int, tied: bool
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "architectures": [f"{kind.title()}ForCausalLM"],
        "hidden_size": h,
        "intermediate_size": i,
        "num_hidden_layers": n,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 131072,
        "dtype": "bfloat16",
        **({"head_dim": d} if kind == "qwen3" else {}),
    }


def _llama(h: int, i: int, n: int, heads: int, kv: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": h,
        "intermediate_size": i,
        "num_hidden_layers": n,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "dtype": "bfloat16",
    }


#: The configurations as their makers publish them, by the name in the table.
CONFIGURATIONS: Mapping[str, dict[str, Any]] = {
    "Qwen2.5-0.5B": _qwen("qwen2", 896, 4864, 24, 14, 2, 64, 151936, True),
    "Qwen2.5-1.5B": _qwen("qwen2", 1536, 8960, 28, 12, 2, 128, 151936, True),
    "Qwen2.5-7B": _qwen("qwen2", 3584, 18944, 28, 28, 4, 128, 152064, False),
    "Qwen2-1.5B": _qwen("qwen2", 1536, 8960, 28, 12, 2, 128, 151936, True),
    "Qwen2-7B": _qwen("qwen2", 3584, 18944, 28, 28, 4, 128, 152064, False),
    "Qwen2-72B": _qwen("qwen2", 8192, 29568, 80, 64, 8, 128, 152064, False),
    "Qwen3-0.6B": _qwen("qwen3", 1024, 3072, 28, 16, 8, 128, 151936, True),
    "Qwen3-8B": _qwen("qwen3", 4096, 12288, 36, 32, 8, 128, 151936, False),
    "Qwen3-32B": _qwen("qwen3", 5120, 25600, 64, 64, 8, 128, 151936, False),
    "Llama 2 7 B": _llama(4096, 11008, 32, 32, 32),
    "Llama 2 13 B": _llama(5120, 13824, 40, 40, 40),
    "Llama 2 70 B": _llama(8192, 28672, 80, 64, 8),
    "Falcon 7B": {
        "model_type": "falcon",
        "architectures": ["FalconForCausalLM"],
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "multi_query": True,
        "vocab_size": 65024,
        "parallel_attn": True,
        "bias": False,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    },
    "Falcon 40 B": {
        "model_type": "falcon",
        "architectures": ["FalconForCausalLM"],
        "hidden_size": 8192,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_kv_heads": 8,
        "new_decoder_architecture": True,
        "vocab_size": 65024,
        "bias": False,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    },
    "phi-1.5 1.3 B": {
        "model_type": "phi",
        "architectures": ["PhiForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "vocab_size": 51200,
        "dtype": "bfloat16",
    },
}

_AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
_NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True}
#: What a precision of the table is in a configuration; and the dtype, where it is not bfloat16.
PRECISIONS: Mapping[str, tuple[dict[str, Any] | None, str | None]] = {
    "BF16": (None, None),
    "bf16": (None, None),
    "bf16 true": (None, None),
    "fp32": (None, "float32"),
    "GPTQ-Int8": ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "float16"),
    "GPTQ-Int4": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "float16"),
    "AWQ": (_AWQ, "float16"),
    "AWQ-INT4": (_AWQ, "float16"),
    "FP8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, None),
    "fp16 + int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "float16"),
    **dict.fromkeys(("bf16 true + bnb.nf4", "bf16 + nf4", "bf16 + fp4"), (_NF4, None)),
    **dict.fromkeys(
        ("bf16 true + bnb.nf4-dq", "bf16 + nf4-dq", "bf16 + fp4-dq"),
        ({**_NF4, "bnb_4bit_use_double_quant": True}, None),
    ),
}


@dataclass(frozen=True)
class Row:
    """A published figure, what is predicted, and why it may differ."""

    group: str
    model: str
    precision: str
    prompt: int
    published: int
    predicted: int | None
    phase: str
    reason: str

    @property
    def error(self) -> float | None:
        """In percent."""
        return None if self.predicted is None else 100 * (self.predicted / self.published - 1)


def rows() -> Iterator[Row]:
    """Every published row, predicted where there is something to predict."""
    with PUBLISHED.open() as file, tempfile.TemporaryDirectory() as folder:
        for given in csv.DictReader(file):
            row = _row(given, Path(folder))
            print(row.group, row.model, row.precision, row.prompt, row.error, row.reason, flush=True)
            yield row


def _row(given: Mapping[str, str], folder: Path) -> Row:
    name, precision = given["model"].removesuffix("-Instruct"), given["precision"]
    group = next(
        (g for g in ("Qwen2.5", "Qwen2,", "Qwen3", "litgpt", "vllm") if g in given["source"]), "?"
    ).strip(",")
    published = round(float(given["measured_gib"]) * GIB)
    numbers = [int(n) for n in re.findall(r"\d+", given["task"])]
    prompt, new = (numbers[0], 2048) if group.startswith("Qwen") else (10, numbers[-1] if numbers else 50)
    common = (group, name, precision, prompt, published)
    if (why := _left_out(given, name)) is not None:
        return Row(*common, None, "", why)
    quantization, dtype = PRECISIONS[precision]
    entries = {**CONFIGURATIONS[name], **({"quantization_config": quantization} if quantization else {})}
    (folder / "config.json").write_text(json.dumps(entries))
    said = modelsum.generate(f"{folder}", prompt=prompt, new=new, dtype=dtype)
    workspace = next(size for card, size in WORKSPACE.items() if card in given["gpu"])
    run = Run(group, precision, prompt, published, said, entries, workspace)
    predicted, why = _of_then(run)
    return Row(*common, predicted + workspace, said.peak_phase, why)


@dataclass(frozen=True)
class Run:
    """What was measured, and what is said of it."""

    group: str
    precision: str
    prompt: int
    published: int
    said: Generation
    entries: Mapping[str, Any]
    workspace: int

    @property
    def head(self) -> tuple[int, int]:
        """Its outputs and inputs."""
        return self.entries["vocab_size"], self.entries["hidden_size"]

    def error(self, nbytes: int) -> str:
        """Of another prediction, in words."""
        return f"{100 * ((nbytes + self.workspace) / self.published - 1):+.2f} %"


def _of_then(run: Run) -> tuple[int, str]:
    """Bytes of what ran then, in closed form where today's code is not that; and in what it differs."""
    said, tied = run.said, run.entries.get("tie_word_embeddings")
    elements = run.head[0] * run.head[1]
    if run.group == "Qwen2":
        # transformers 4.38, modeling_qwen2.py: cos_cached and sin_cached of each layer, for all positions;
        # and the scores of all tokens of the prompt, then in float32 too.
        layers, heads = run.entries["num_hidden_layers"], run.entries["num_attention_heads"]
        tables = layers * 2 * 32768 * (run.entries["hidden_size"] // heads) * 2
        read = said.cache_bytes_per_token * run.prompt
        scores = run.prompt * (run.head[0] * (2 + 4) + run.head[1] * 2)
        of_then = tables + max(said.decode_peak_bytes, said.weights_bytes + read + scores)
        return of_then, (
            f"as 4.38 had it: rotations of 32,768 positions in each layer ({tables / MIB:,.0f} MiB), "
            f"scores of the whole prompt in float32; today's code: {run.error(said.peak_bytes)}"
        )
    if run.group == "litgpt" and run.precision not in ("bf16", "bf16 true", "fp32"):
        # Lightning stores every nn.Linear so, the head too; and 4 bytes of each of its elements are there
        # besides: it is unpacked to float16 and cast (bitsandbytes 0.41, matmul_4bit of several rows).
        name = "int8" if "int8" in run.precision else "nf4"
        form = replace(USUAL[name], double="dq" in run.precision)
        stored = sum(form.parts(*run.head, 2).values()) - 2 * elements
        of_then = said.weights_bytes + said.cache_bytes + stored + 4 * elements
        how = "what those of int8 are is not known" if name == "int8" else "unpacked to float16, then cast"
        return of_then, (
            "as Lightning had it: the head is stored so too, and 4 bytes of each of its elements are there "
            f"({how}); as transformers: {run.error(said.peak_bytes)}"
        )
    return said.peak_bytes, _why(run, 2 * elements if tied else 0)


def _left_out(given: Mapping[str, str], name: str) -> str | None:
    if "vllm" in given["source"]:
        return "a log of vLLM: blocks and what its profiling run leaves, not the memory of a text"
    if given["gpus"] != "1":
        return f"spread over {given['gpus']} cards, each with a context and activations of its own"
    if name not in CONFIGURATIONS:
        return "4.38 stored each expert in layers of its own; 5.x holds all in one tensor"
    return None


def _why(run: Run, tied: int) -> str:
    """What is known about why a figure differs from what a run of this version's code takes.

    `tied`: bytes of a head that is the embedding too.
    """
    said = run.said
    if run.precision.startswith("AWQ") and run.prompt == 1 and tied:
        return (
            "loading: weights and a head of its own, there until it is tied, are more than the text takes "
            f"later: {run.error(said.weights_bytes + tied - run.workspace)} (by arithmetic)"
        )
    if run.group == "Qwen3" and run.precision == "FP8" and tied:
        return (
            f"with a head that is not tied ({tied / MIB:,.0f} MiB) and the decode alone: "
            f"{run.error(said.decode_peak_bytes + tied)}"
        )
    if run.group == "Qwen3" and run.prompt > 1:
        return "the table seems to leave out what the prefill takes for a moment: weights and cache are right"
    if run.group == "litgpt":
        return "another implementation than transformers': its cache is of full length"
    return ""


def written(found: Iterable[Row]) -> str:
    """The report."""
    found = list(found)
    lines = ["# Generation beside published measurements", "", *(__doc__ or "").strip().splitlines()[4:], ""]
    lines += ["| rows | format | n | median | largest |", "|---|---|---:|---:|---:|"]
    groups = dict.fromkeys((row.group, row.precision) for row in found if row.error is not None)
    for group, precision in groups:
        errors = [
            abs(r.error)
            for r in found
            if (r.group, r.precision) == (group, precision) and r.error is not None
        ]
        figures = f"{len(errors)} | {statistics.median(errors):.2f} % | {max(errors):.2f} %"
        lines.append(f"| {group} | {precision} | {figures} |")
    lines += [
        "",
        "| rows | model | format | prompt | published MiB | predicted MiB | error | in | why it may differ |",
    ]
    lines.append("|---|---|---|---:|---:|---:|---:|---|---|")
    for row in found:
        predicted = "" if row.predicted is None else f"{row.predicted / MIB:,.0f}"
        error = "not predicted" if row.error is None else f"{row.error:+.2f} %"
        cells = (row.group, row.model, row.precision, f"{row.prompt:,}", f"{row.published / MIB:,.0f}")
        lines.append(f"| {' | '.join((*cells, predicted, error, row.phase, row.reason))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the report."""
    REPORT.with_suffix(".md").write_text(written(rows()))


if __name__ == "__main__":
    main()
