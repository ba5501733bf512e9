"""Count every row of tests/oracles/timm-counts.csv: params exact, MACs to the four printed decimals.

    python tests/benchmarks/sweep_timm.py [--jobs N]        # all rows -> reports/timm.csv, reports/timm.md

Source of the figures: see tests/oracles/README.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import timm
import torch

import modelsum
from modelsum import jobs
from modelsum.cli.progress import Progress

ROOT = Path(__file__).parents[2]
ORACLE = ROOT / "tests" / "oracles" / "timm-counts.csv"
FIELDS = ("model", "img_size", "params", "gmacs", "our_params", "our_gmacs", "device", "agrees", "note")


def rows() -> list[dict[str, str]]:
    with ORACLE.open(newline="") as file:
        return list(csv.DictReader(file))


def count(row: dict[str, str]) -> dict[str, str]:
    """One row beside what modelsum says."""
    result = {key: row[key] for key in ("model", "img_size", "params", "gmacs")}
    try:
        summary = summarize(row["model"], int(row["img_size"]))
    except modelsum.ModelsumError as error:
        return uncounted(row, error.message)
    gmacs = f"{summary.totals.macs / 1e9:.4f}"
    agrees = summary.totals.params == int(row["params"]) and float(gmacs) == float(row["gmacs"])
    note = "; ".join((*summary.notices, *(f"{op} x{n}" for op, n in summary.uncounted_ops.items())))
    return result | {
        "our_params": str(summary.totals.params),
        "our_gmacs": gmacs,
        "device": summary.device,
        "agrees": "yes" if agrees else "no",
        "note": note,
    }


def uncounted(row: dict[str, str], note: str = "its process ended") -> dict[str, str]:
    """A row for which modelsum says nothing."""
    result = {key: row[key] for key in ("model", "img_size", "params", "gmacs")}
    return result | {"our_params": "", "our_gmacs": "", "device": "", "agrees": "no", "note": note}


# Differential attention: fused, each of the two attention maps is multiplied with v; written out, their
# difference is, once. The published counts are of the latter.
WRITTEN_OUT = {"vit_dlittle_patch16_reg1_gap_256", "vit_dwee_patch16_reg1_gap_256"}


def summarize(model: str, size: int) -> modelsum.Summary:
    """The model at the row's image size, which is its own unless it can be built for another."""
    from timm.layers import set_fused_attn

    set_fused_attn(model not in WRITTEN_OUT)
    summary = modelsum.summarize(f"timm/{model}", memory=False)
    if summary.inputs[0].shape[-1] == size:
        return summary
    image = (summary.inputs[0].shape[1], size, size)
    return modelsum.summarize(f"timm/{model}", input_size=image, memory=False)


def counted(chosen: Sequence[dict[str, str]], most: int) -> Iterator[dict[str, str]]:
    """The rows in order, `most` at the same time."""
    with Progress() as progress:

        def note(finished: int, row: dict[str, str]) -> None:
            progress(f"{finished} of {len(chosen)}: {row['model']}")

        yield from jobs.results(count, chosen, jobs=most, lost=uncounted, done=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=jobs.cores(), help="models at the same time")
    given = parser.parse_args()
    start = time.perf_counter()
    results = []
    with (ROOT / "reports" / "timm.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for result in counted(rows(), given.jobs):
            results.append(result)
            writer.writerow(result)
            file.flush()
            if result["agrees"] == "no":
                print(result, flush=True)
    seconds = time.perf_counter() - start
    agreeing = sum(r["agrees"] == "yes" for r in results)
    made_by = f"torch {torch.__version__}, timm {timm.__version__}, {seconds:.0f} s, {given.jobs} jobs"
    on_meta, on_cpu = (sum(r["device"] == device for r in results) for device in ("meta", "cpu"))
    text = f"""# modelsum against {len(results)} published timm counts

Made by `python tests/benchmarks/sweep_timm.py`, {made_by}.

| rows | params exact and GMACs equal to four decimals | differing | on meta | on the CPU |
|---:|---:|---:|---:|---:|
| {len(results)} | {agreeing} | {len(results) - agreeing} | {on_meta} | {on_cpu} |
"""
    (ROOT / "reports" / "timm.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
