"""Every model type of transformers, in its default configuration, through modelsum: a table into reports/.

    python tests/benchmarks/sweep_transformers.py [PATTERN...] [--output FOLDER] [--seconds N] [--jobs N]

The work is done by worker processes that take one type after the other; one that dies or overruns its time is
replaced, so that no type can stop the sweep. Each type is summarized on the meta device, as `--device
auto` does it first; a small one that meta cannot run is run on the CPU. Checked on every row:

- params is the sum of numel() over the model's unique parameters, counted here by object identity;
- MACs are half of what torch.utils.flop_counter counts on the same model, inputs and device, where that runs.

What has no numbers has a status and a reason (`sweep_transformers_reasons`).
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import json
import os
import re
import resource
import select
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sweep_transformers_reasons as reasons

from modelsum import jobs
from modelsum.cli.progress import Progress

if TYPE_CHECKING:
    from modelsum.errors import BuildError, ForwardError

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
MEMORY_BYTES = 18 * 2**30  # of one worker; of several each has a share, 12 GiB at least
LEAST_MEMORY_BYTES = 12 * 2**30
CPU_PARAMS = 1_500_000_000  # larger models are not built on the CPU


# ---- one type, in the worker


def examine(name: str) -> dict[str, Any]:
    """The row of one model type."""
    from modelsum.errors import BuildError, ForwardError

    row: dict[str, Any] = dict.fromkeys(FIELDS)
    row["type"] = name
    started = time.monotonic()
    try:
        counted(name, row)
    except BuildError as error:
        row.update(unbuilt(name, error))
    except ForwardError as error:
        row.update(unrun(name, error))
    except Exception as error:
        row.update(status="failed", reason=reasons.described(error) + located(error))
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def counted(name: str, row: dict[str, Any]) -> None:
    """Fill in the numbers, from the meta device or, where that cannot run a small model, from the CPU."""
    from modelsum import api, spec
    from modelsum.errors import ForwardError
    from modelsum.request import Request

    model = spec.parse_model(f"transformers/{name}")
    try:
        summary = api.run(Request(model=model, device="meta"))
    except ForwardError as error:
        params = error.summary.totals.params
        if name in reasons.LIBRARY or not error.device_limit or params > CPU_PARAMS or forwardless(error):
            raise
        known = reasons.DATA_DEPENDENT.get(name)
        row["reason"] = f"reads {known}" if known else f"meta: {error.message.split('. ')[0]}"
        row["reason"] += located(error.__cause__)
        summary = api.run(Request(model=model, device="cpu"))
    row.update(
        {
            "class": summary.model.class_name,
            "params": summary.totals.params,
            "macs": summary.totals.macs,
            "device": summary.device,
            "status": "ok",
            "uncounted": " ".join(f"{op} x {n}" for op, n in summary.uncounted_ops.items()),
        }
    )
    row.update(check(model, summary))


def unbuilt(name: str, error: BuildError) -> dict[str, Any]:
    """Status and reason of a type that was not built: the library's, if plain torch does no better."""
    if "no model class" in error.message:
        return {"status": "no model", "reason": "transformers has no model class for it"}
    plain = reasons.plain_build_error(name)
    cause = error.__cause__
    if plain is None or cause is None or not reasons.same(reasons.described(cause), plain):
        return {"status": "failed", "reason": f"{error.message}; plain torch: {plain}"}
    package = re.search(r"requires the (\w+) library", plain)
    if package:
        return {"status": "library", "reason": f"needs {package[1]}"}
    return {"status": "library", "reason": f"default configuration is broken: {plain[:200]}{located(cause)}"}


def unrun(name: str, error: ForwardError) -> dict[str, Any]:
    """Status and reason of a type whose forward failed."""
    totals, cause = error.summary.totals, error.__cause__
    found: dict[str, Any] = {
        "class": error.summary.model.class_name,
        "params": totals.params,
        "device": error.summary.device,
    }
    if forwardless(error):
        return found | {"status": "no model", "reason": "the class has no forward"}
    broken = reasons.LIBRARY.get(name)
    if broken is not None and cause is not None:
        evidence = reasons.evidence(broken, name, totals.params <= CPU_PARAMS, cause)
        if evidence is not None:
            reason = f"default configuration is broken: {broken.why} ({evidence}){located(cause)}"
            return found | {"status": "library", "reason": reason}
    elif name in reasons.DATA_DEPENDENT and error.device_limit:
        reason = f"reads {reasons.DATA_DEPENDENT[name]}; too large for the CPU{located(cause)}"
        return found | {"status": "data-dependent", "reason": reason}
    return found | {"status": "failed", "reason": error.message.split(". ")[0][:200] + located(cause)}


def forwardless(error: ForwardError) -> bool:
    """Whether the class leaves the calls of its parts to others."""
    return 'missing the required "forward"' in error.message


def located(error: BaseException | None) -> str:
    """Where in the library the error was raised."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    inside = [f for f in frames if "/transformers/models/" in f.filename]
    if not inside:
        return ""
    return f" [{os.path.basename(inside[-1].filename)}:{inside[-1].lineno} {inside[-1].line}]"


def check(model: Any, summary: Any) -> dict[str, Any]:
    """Compare the summary with what is counted here, independently of it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from modelsum.sources import resolve
    from modelsum.trace.isolation import isolated, plain_ops, runs_on_meta
    from modelsum.trace.values.known_values import carried

    device = torch.device(summary.device)
    known = carried if device.type == "meta" else simple_kernels
    with isolated():
        loaded = resolve(model).load(model, {}, device)
    found: dict[str, Any] = {}
    params = sum(p.numel() for p in {id(p): p for p in loaded.model.parameters()}.values())
    if params != summary.totals.params:
        found.update(status="wrong params", reason=f"parameters() has {params} elements")
    with known():
        args, kwargs = loaded.example(1, None, device)
    # The counter does not know the grouped matmul of a mixture of experts: each token times one expert.
    grouped = {torch.ops.aten._grouped_mm: lambda a, b, *_, **__: 2 * a[0] * b[1] * b[2]}
    counter = FlopCounterMode(display=False, custom_mapping=grouped)
    # The counter follows modules by gradient functions, which it misses where a parameter is an argument.
    loaded.model.eval().requires_grad_(False)
    try:
        with isolated(), plain_ops(), runs_on_meta(device), known(), torch.no_grad(), counter:
            loaded.model(*args, **kwargs)
    except Exception as error:
        found["flop_counter_macs"] = f"failed: {reasons.described(error)[:120]}"
        return found
    macs = counter.get_total_flops() // 2
    found["flop_counter_macs"] = macs
    if macs != summary.totals.macs:
        theirs = {str(op): n // 2 for op, n in counter.get_flop_counts().get("Global", {}).items()}
        ops = sorted({*theirs, *summary.macs_by_op})
        apart = {op: (summary.macs_by_op.get(op, 0), theirs.get(op, 0)) for op in ops}
        found["macs_differ"] = "; ".join(
            f"{op}: modelsum {one}, flop_counter {other}"
            for op, (one, other) in apart.items()
            if one != other
        )
    return found


@contextmanager
def simple_kernels() -> Iterator[None]:
    """Attention and LSTMs on the CPU as matmuls: flop_counter has no rule for their fused kernels there."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


def work(memory: int) -> None:
    """Answer each type that comes on stdin with a row on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what models print must not get between the rows
    for line in sys.stdin:
        row = examine(line.strip())
        answers.write(json.dumps(row) + "\n")
        answers.flush()


# ---- the sweep


class Worker:
    """A process that answers types with rows, and is replaced when it does not."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds = seconds
        self.memory = memory
        self.process: subprocess.Popen[str] | None = None

    def ask(self, name: str) -> dict[str, Any]:
        """The row of a type; one that says so where the process died or overran its time."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--worker", str(self.memory)],
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
    parser.add_argument("--jobs", type=int, default=jobs.cores(), help="types at the same time")
    parser.add_argument("--worker", type=int, metavar="BYTES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    from modelsum.sources.transformers import source

    names = [n for n in sorted(source.names()) if any(fnmatch.fnmatch(n, p) for p in options.patterns)]
    options.output.mkdir(parents=True, exist_ok=True)
    rows = stored(options.output)
    with Progress() as progress:
        for number, row in enumerate(swept(names, options.seconds, options.jobs), 1):
            rows[row["type"]] = row
            progress.clear()
            if row["status"] not in ("ok", "no model"):
                print(f"{row['type']}: {row['status']} {row['reason'] or ''}", flush=True)
            progress(f"{number} of {len(names)}: {row['type']}")
            write(rows, options.output)


def swept(names: Sequence[str], seconds: float, jobs: int) -> Iterator[dict[str, Any]]:
    """The row of each type as it is there. Every thread asks a worker of its own."""
    memory = max(MEMORY_BYTES // jobs, LEAST_MEMORY_BYTES) if jobs > 1 else MEMORY_BYTES
    idle = [Worker(seconds, memory) for _ in range(jobs)]

    def ask(name: str) -> dict[str, Any]:
        worker = idle.pop()
        try:
            return worker.ask(name)
        finally:
            idle.append(worker)

    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(ask, name) for name in names]):
            yield future.result()
    for worker in idle:
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


STATUSES = {
    "ok": "numbers, on meta or (see the column) on the CPU",
    "library": "a package that is missing, or a default configuration that the library cannot use itself",
    "no model": "no model class, or one without a forward",
    "data-dependent": "the forward reads values that it computed, and the model is too large for the CPU",
    "failed": "modelsum's own",
    "wrong params": "modelsum's own",
    "stopped": "out of time or memory",
}


def report(table: list[dict[str, Any]]) -> str:
    """In Markdown: counts, differences from flop_counter, what has no numbers, and all rows."""
    import torch
    import transformers

    from modelsum.version import __version__

    counts = Counter(row["status"] for row in table)
    seconds = sum(float(row["seconds"] or 0) for row in table)
    lines = [
        "# Every model type of transformers",
        "",
        f"{len(table)} types: " + ", ".join(f"{n} {status}" for status, n in counts.most_common()) + ".",
        "",
        "| status | types | |",
        "| --- | ---: | --- |",
        *(f"| {status} | {n} | {STATUSES.get(status, '')} |" for status, n in counts.most_common()),
        "",
        "Each type with a configuration class, in its default configuration and with its default input.",
        "Made by `python tests/benchmarks/sweep_transformers.py`, which takes every type; with names or",
        "patterns of types behind it, it does these again and replaces their rows. The rows took",
        f"{seconds:.0f} s in all, several of them at the same time (`--jobs`).",
        f"modelsum {__version__}, torch {torch.__version__}, transformers {transformers.__version__}.",
        "",
        "## Checks",
        "",
        "| of the rows with numbers | agree | differ | not run |",
        "| --- | ---: | ---: | ---: |",
        params_line(table),
        macs_line(table),
        "",
        "The grouped matmul of experts has no rule in flop_counter; it is given one: each token, one expert.",
        "",
    ]
    sections = (
        ("MACs unlike flop_counter's, op by op", "macs_differ"),
        ("Where flop_counter does not run", "flop_counter_macs"),
        ("Ops without a rule", "uncounted"),
    )
    for title, key in sections:
        rows = [row for row in table if row[key] and not str(row[key]).isdigit()]
        lines += [f"### {title}", "", *(f"- `{row['type']}`: {row[key]}" for row in rows), ""]
    lines += ["## Types without numbers", "", "| type | class | params | status | reason |"]
    lines += ["| --- | --- | ---: | --- | --- |"]
    order = {status: place for place, status in enumerate(STATUSES)}
    without = [row for row in table if row["status"] != "ok"]
    for row in sorted(without, key=lambda row: (order.get(row["status"], 0), row["type"])):
        cells = (row["type"], row["class"] or "", grouped(row["params"]), row["status"], line(row["reason"]))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Types with numbers", "", "| type | class | params | MACs | |"]
    lines += ["| --- | --- | ---: | ---: | --- |"]
    for row in table:
        if row["status"] == "ok":
            note = f"on the CPU: {line(row['reason'])}" if row["device"] == "cpu" else ""
            cells = (row["type"], row["class"], grouped(row["params"]), grouped(row["macs"]), note)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def grouped(number: Any) -> str:
    """A count in groups of three digits, or nothing."""
    return f"{int(number):,}" if str(number).isdigit() else ""


def line(text: Any) -> str:
    """A text as a cell of a table."""
    return " ".join(str(text or "").split()).replace("|", "\\|")


def params_line(table: list[dict[str, Any]]) -> str:
    """How often the parameters were the sum over unique ones."""
    right = sum(row["status"] == "ok" for row in table)
    wrong = sum(row["status"] == "wrong params" for row in table)
    return f"| params = sum of numel() over unique parameters | {right} | {wrong} | 0 |"


def macs_line(table: list[dict[str, Any]]) -> str:
    """How often flop_counter was asked and agreed."""
    asked = [row for row in table if str(row["flop_counter_macs"]).isdigit()]
    differ = sum(bool(row["macs_differ"]) for row in asked)
    unasked = sum(str(row["flop_counter_macs"]).startswith("failed") for row in table)
    return f"| MACs = flop_counter / 2 | {len(asked) - differ} | {differ} | {unasked} |"


if __name__ == "__main__":
    main()
