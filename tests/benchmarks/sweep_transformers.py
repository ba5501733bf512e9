"""Every model type of transformers, in its default configuration, through modelsum: a table into reports/.

    python tests/benchmarks/sweep_transformers.py [PATTERN...] [--output FOLDER] [--seconds N]

The work is done by a worker process that takes one type after the other; one that dies or overruns its time
is replaced, so that no type can stop the sweep. Each type is summarized on the meta device, as `--device
auto` does it first; what only the values of tensors could answer is run on the CPU if it is small enough.
Checked on every row:

- params is the sum of numel() over the model's unique parameters, counted here by object identity;
- MACs are half of what torch.utils.flop_counter counts on the same meta model and inputs, where that runs.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

FIELDS = (
    "type",
    "class",
    "params",
    "macs",
    "device",
    "status",
    "reason",
    "flop_counter_macs",
    "macs_differ",
    "uncounted",
    "seconds",
)
MEMORY_BYTES = 10 * 2**30
CPU_PARAMS = 300_000_000  # larger models are not built on the CPU


# ---- one type, in the worker


def examine(name: str) -> dict[str, Any]:
    """The row of one model type."""
    from modelsum import api, spec
    from modelsum.errors import BuildError, ForwardError, ModelsumError

    row: dict[str, Any] = dict.fromkeys(FIELDS)
    row["type"] = name
    model = spec.parse_model(f"transformers/{name}")
    started = time.monotonic()
    try:
        try:
            summary = api.run(api.Request(model=model, device="meta"))
        except ForwardError as error:
            params = error.summary.totals.params
            row.update({"class": error.summary.model.class_name, "params": params, "device": "meta"})
            if not error.device_limit or params > CPU_PARAMS or "META_ONLY" in os.environ:
                raise
            row["reason"] = f"meta: {error.message}"
            summary = api.run(api.Request(model=model, device="cpu"))
        row.update(
            {"class": summary.model.class_name, "params": summary.totals.params, "macs": summary.totals.macs}
        )
        row.update(
            {"device": summary.device, "status": "ok" if summary.device == "meta" else "ok on the CPU"}
        )
        row["uncounted"] = " ".join(f"{op}x{n}" for op, n in summary.uncounted_ops.items())
        row.update(check(model, summary))
    except ForwardError as error:
        row.update(status="forward failed", reason=error.message + located(error.__cause__))
    except BuildError as error:
        row.update(status="not built", reason=error.message)
    except ModelsumError as error:
        row.update(status="refused", reason=error.message)
    except Exception as error:
        row.update(status="failed", reason=f"{type(error).__name__}: {error}" + located(error))
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def located(error: BaseException | None) -> str:
    """Where in the libraries the error was raised."""
    import traceback

    frames = (
        [f for f in traceback.extract_tb(error.__traceback__) if "/transformers/" in f.filename]
        if error
        else []
    )
    if not frames:
        return ""
    return f" [{os.path.basename(frames[-1].filename)}:{frames[-1].lineno} {frames[-1].line}]"


def check(model: Any, summary: Any) -> dict[str, Any]:
    """Compare the summary with what is counted here, independently of it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from modelsum.sources import resolve
    from modelsum.trace.isolation import isolated, plain_ops
    from modelsum.trace.known_values import carried

    meta = torch.device("meta")
    with isolated():
        loaded = resolve(model).load(model, {}, meta)
    found: dict[str, Any] = {}
    params = sum(p.numel() for p in {id(p): p for p in loaded.model.parameters()}.values())
    if params != summary.totals.params:
        found.update(status="wrong params", reason=f"parameters() has {params} elements")
    args, kwargs = loaded.example(1, None, meta)
    # The counter does not know the grouped matmul of a mixture of experts: each token times one expert.
    grouped = {torch.ops.aten._grouped_mm: lambda a, b, *_, **__: 2 * a[0] * b[1] * b[2]}
    counter = FlopCounterMode(display=False, custom_mapping=grouped)
    loaded.model.eval()
    try:
        with isolated(), plain_ops(), torch.no_grad(), carried(), counter:
            loaded.model(*args, **kwargs)
    except Exception as error:
        found["flop_counter_macs"] = f"failed: {type(error).__name__}"
        return found
    macs = counter.get_total_flops() // 2
    found["flop_counter_macs"] = macs
    if macs != summary.totals.macs:
        ops = {str(op): n // 2 for op, n in counter.get_flop_counts().get("Global", {}).items()}
        found.update(macs_differ=f"{summary.totals.macs - macs:+d}; flop_counter has {ops}")
    return found


def work() -> None:
    """Answer each type that comes on stdin with a row on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what models print must not get between the rows
    for line in sys.stdin:
        row = examine(line.strip())
        answers.write(json.dumps(row) + "\n")
        answers.flush()


# ---- the sweep


class Worker:
    """A process that answers types with rows, and is replaced when it does not."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen[str] | None = None

    def ask(self, name: str) -> dict[str, Any]:
        """The row of a type; one that says so where the process died or overran its time."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if "QUIET" in os.environ else None,
                text=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], self.seconds)
        line = self.process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        reason = f"no answer in {self.seconds:.0f} s"
        if ready:
            reason = f"the process ended with {self.process.wait()}"
        self.close()
        return dict.fromkeys(FIELDS) | {"type": name, "status": "stopped", "reason": reason}

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def main() -> None:
    """Sweep and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--output", type=Path, default=Path("reports"))
    parser.add_argument("--seconds", type=float, default=180, help="the most that one type may take")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return
    from modelsum.sources.transformers import source

    names = [n for n in sorted(source.names()) if any(fnmatch.fnmatch(n, p) for p in options.patterns)]
    options.output.mkdir(parents=True, exist_ok=True)
    rows = stored(options.output)
    worker = Worker(options.seconds)
    for number, name in enumerate(names, 1):
        rows[name] = worker.ask(name)
        print(
            f"{number}/{len(names)} {name}: {rows[name]['status']} {rows[name]['reason'] or ''}", flush=True
        )
        write(rows, options.output)
    worker.close()


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier sweep by type: those of types that are not asked for now are kept."""
    file = folder / "transformers.csv"
    if not file.is_file():
        return {}
    with open(file, newline="", encoding="utf-8") as lines:
        return {row["type"]: row for row in csv.DictReader(lines)}


def write(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    """The tables transformers.csv and transformers.md."""
    table = [rows[name] for name in sorted(rows)]
    with open(folder / "transformers.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    (folder / "transformers.md").write_text(report(table), encoding="utf-8")


def report(table: list[dict[str, Any]]) -> str:
    """In Markdown: counts, differences from flop_counter, uncounted ops, and what has no numbers."""
    import torch
    import transformers

    from modelsum.version import __version__

    lines = [
        "# Every model type of transformers",
        "",
        "Made by `python tests/benchmarks/sweep_transformers.py`: each type with a configuration, in its",
        "default configuration.",
        f"modelsum {__version__}, torch {torch.__version__}, transformers {transformers.__version__}.",
        "",
        "| status | types |",
        "| --- | --- |",
        *(f"| {status} | {n} |" for status, n in Counter(row["status"] for row in table).most_common()),
        "",
        "| check | agrees | differs | not run |",
        "| --- | --- | --- | --- |",
        check_line(table),
        "",
    ]
    sections = (
        ("MACs unlike those of torch.utils.flop_counter", "macs_differ"),
        ("Ops without a rule", "uncounted"),
    )
    for title, key in sections:
        lines += [f"## {title}", "", *(f"- `{row['type']}`: {row[key]}" for row in table if row[key]), ""]
    failed = [row for row in table if not str(row["status"]).startswith("ok")]
    lines += [
        "## Types without numbers",
        "",
        "| type | class | status | reason |",
        "| --- | --- | --- | --- |",
    ]
    for row in failed:
        reason = " ".join(str(row["reason"]).split()).replace("|", "\\|")
        lines.append(f"| {row['type']} | {row['class'] or ''} | {row['status']} | {reason} |")
    return "\n".join(lines) + "\n"


def check_line(table: list[dict[str, Any]]) -> str:
    """How often flop_counter was asked and agreed."""
    asked = [row for row in table if str(row["flop_counter_macs"] or "").isdigit()]
    differ = sum(bool(row["macs_differ"]) for row in asked)
    unasked = sum(str(row["flop_counter_macs"] or "").startswith("failed") for row in table)
    return f"| MACs = flop_counter / 2 | {len(asked) - differ} | {differ} | {unasked} |"


if __name__ == "__main__":
    main()
