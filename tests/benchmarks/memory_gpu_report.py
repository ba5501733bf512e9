"""The report of memory_gpu.py: predictors, each with a line fitted on half of the models; tables of errors.

A predictor's line, a * x + b in MiB, is fitted on one half of the models and tested on the other: a model
is in one of them with all of its batches, which one goes by a hash of its name. The line makes the sum of
the errors' absolute values, each relative to what was measured, least.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import NamedTuple

from modelsum.memory.allocator import MIB, process_bytes

# timm's files of models that are built around attention, or around what stands in for it.
ATTENTION = frozenset(
    (
        *("beit", "cait", "coat", "convit", "davit", "deit", "efficientformer", "efficientformer_v2", "eva"),
        *("efficientvit_mit", "efficientvit_msra", "fastvit", "focalnet", "gcvit", "hiera", "hieradet_sam2"),
        *("levit", "maxxvit", "metaformer", "mobilevit", "nest", "nextvit", "pvt_v2", "swin_transformer"),
        *("swin_transformer_v2", "swin_transformer_v2_cr", "tiny_vit", "tnt", "vision_transformer"),
        *("vision_transformer_hybrid", "vision_transformer_relpos", "vision_transformer_sam", "vitamin"),
        "volo",
    )
)
MIXERS = frozenset(("mlp_mixer",))


COLUMNS = (
    *("model", "batch", "kind", "half", "measured_mib", "live_mib", "allocated_mib", "reserved_mib"),
    *("predicted_mib", "error_percent", "faketensor_mib"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A real run: the largest device memory, and what FakeTensor's tracker came to, in MiB."""

    model: str
    batch: int
    mib: float
    faketensor_mib: float


class Figures(NamedTuple):
    """A prediction in MiB: peak of the live bytes, and of the allocator's allocated and reserved ones."""

    live_mib: float
    allocated_mib: float
    reserved_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """A run beside its prediction."""

    run: Run
    figures: Figures

    @property
    def is_for_fitting(self) -> bool:
        """In the half of the models on which the lines are fitted."""
        return int(split(self.run.model)[:2], 16) % 2 == 0


def split(model: str) -> str:
    """What a model's half goes by."""
    return hashlib.sha256(model.encode()).hexdigest()


Predictor = Callable[[Row], float]
PREDICTORS: Mapping[str, Predictor] = {
    "reserved": lambda row: row.figures.reserved_mib,
    "allocated": lambda row: row.figures.allocated_mib,
    "live": lambda row: row.figures.live_mib,
    "FakeTensor (published)": lambda row: row.run.faketensor_mib,
}


class Line(NamedTuple):
    """factor * x + summand."""

    factor: float
    summand: float

    def errors(self, rows: Iterable[Row], predictor: Predictor) -> list[float]:
        """Errors in percent of what was measured; positive where the prediction is too high."""
        return [100 * ((self.factor * predictor(r) + self.summand) / r.run.mib - 1) for r in rows]


def fitted(rows: Sequence[Row], predictor: Predictor, rounds: int = 60) -> Line:
    """The line of the least absolute relative errors, by repeated weighted least squares."""
    xs, ys = [predictor(row) for row in rows], [row.run.mib for row in rows]
    line = Line(1.0, 1800.0)
    for _ in range(rounds):
        off = [abs(line.factor * x + line.summand - y) / y for x, y in zip(xs, ys, strict=True)]
        weights = [1 / (max(e, 0.002) * y * y) for e, y in zip(off, ys, strict=True)]
        total = sum(weights)
        mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
        mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
        weighted = list(zip(weights, xs, ys, strict=True))
        spread = sum(w * (x - mean_x) ** 2 for w, x, _ in weighted)
        factor = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in weighted) / spread
        line = Line(factor, mean_y - factor * mean_x)
    return line


def share(values: Sequence[float], part: float) -> float:
    """The quantile of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


# ---- tables


def _errors(title: str, errors: Sequence[float], *before: str) -> str:
    sizes = [abs(e) for e in errors]
    small = 100 * sum(e < 5 for e in sizes) / len(sizes)
    quantiles = (median(sizes), share(sizes, 0.75), share(sizes, 0.9))
    cells = [title, *before, str(len(sizes)), *(f"{q:.2f} %" for q in quantiles), f"{small:.0f} %"]
    return "| " + " | ".join(cells) + " |"


def _head(*titles: str) -> list[str]:
    columns = [*titles, "rows", "median", "p75", "p90", "within 5 %"]
    return ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]


def of_random_splits(rows: Sequence[Row], predictor: Predictor, times: int) -> list[tuple[float, float]]:
    """Median and 90th percentile of the test half's errors, for random halves of the models."""
    models = sorted({row.run.model for row in rows})
    found = []
    for seed in range(times):
        half = set(random.Random(seed).sample(models, len(models) // 2))
        line = fitted([row for row in rows if row.run.model in half], predictor)
        sizes = [abs(e) for e in line.errors([r for r in rows if r.run.model not in half], predictor)]
        found.append((median(sizes), share(sizes, 0.9)))
    return found


def as_markdown(
    rows: Sequence[Row], left_out: Mapping[str, int], checked: Mapping[str, float], made_with: str
) -> str:
    """The report."""
    fitting = [row for row in rows if row.is_for_fitting]
    testing = [row for row in rows if not row.is_for_fitting]
    lines = {name: fitted(fitting, predictor) for name, predictor in PREDICTORS.items()}
    reserved = PREDICTORS["reserved"]
    models = {half: len({row.run.model for row in half_rows}) for half, half_rows in _halves(rows)}
    text = [
        "# Predicted CUDA memory against real GPU training runs",
        "",
        f"Made by `python tests/benchmarks/memory_gpu.py`, {made_with}. What was measured is the largest",
        "memory of the whole device in MiB; predictions are made on the meta device, from shapes. Each line",
        f"was fitted on {models['fitting']} models and is tested on {models['test']} others; {len(rows)} of"
        f" the {len(rows) + sum(left_out.values())} runs count. Left out are",
        *(f"- {number} that {why}" for why, number in left_out.items()),
        "",
        "## All runs of the test half",
        "",
        *_head("predicted from", "line in MiB"),
    ]
    for name, line in lines.items():
        errors = line.errors(testing, PREDICTORS[name])
        text.append(_errors(name, errors, f"{line.factor:.3f} x + {line.summand:.0f}"))
    text += ["", "The half that the lines were fitted on:", "", *_head("predicted from")]
    text += [_errors(n, line.errors(fitting, PREDICTORS[n])) for n, line in lines.items()]
    splits = of_random_splits(rows, reserved, 20)
    medians, nineties = zip(*splits, strict=True)
    text += [
        "",
        f"Of 20 random halves, reserved: median {min(medians):.2f} to {max(medians):.2f} %, on average"
        f" {mean(medians):.2f} %; 90th percentile {min(nineties):.2f} to {max(nineties):.2f} %, on average"
        f" {mean(nineties):.2f} %.",
        "",
        "## By kind of model and by batch, reserved, test half",
        "",
        *_head("models"),
    ]
    line = lines["reserved"]
    for title, chosen in _groups(testing).items():
        text.append(_errors(title, line.errors(chosen, reserved)))
    off = sorted(rows, key=lambda row: -abs(line.errors([row], reserved)[0]))[:20]
    text += [
        "",
        "## The range for a process",
        "",
        _range(fitting, testing, line),
        "",
        "## The twenty worst runs of both halves",
        "",
        "| model | batch | half | measured | reserved | predicted | error |",
        "|---|---:|---|---:|---:|---:|---:|",
        *(_worst(row, line) for row in off),
        "",
        "Two things are not in the prediction: searches of cuDNN, among whose algorithms some want many GiB",
        "for a moment (measured far above), and runs that died before their first step was over (far below).",
        "",
        f"{len(checked)} models' batches of 32 were predicted directly, too: what the traces of 8 and 128",
        f"have in between is off by at most {max((abs(e) for e in checked.values()), default=0.0):.3f} %.",
        "",
    ]
    return "\n".join(text)


def _halves(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [
        (half, [r for r in rows if r.is_for_fitting == (half == "fitting")]) for half in ("fitting", "test")
    ]


def _range(fitting: Sequence[Row], testing: Sequence[Row], line: Line) -> str:
    predictor = PREDICTORS["reserved"]
    real = [-e / (100 + e) for e in line.errors(fitting, predictor)]  # measured / predicted - 1
    low, high = share(real, 0.05), share(real, 0.95)
    inside = 0
    for row in testing:
        middle = line.factor * predictor(row) + line.summand
        inside += (1 + low) * middle <= row.run.mib <= (1 + high) * middle
    said = [process_bytes(int(row.figures.reserved_mib * MIB)) for row in testing]
    held = sum(a <= row.run.mib * MIB <= b for row, (a, b) in zip(testing, said, strict=True))
    return (
        f"On the fitting half 90 % of the runs were {100 * low:+.1f} to {100 * high:+.1f} % off the line; of"
        f" the test half {100 * inside / len(testing):.0f} % are in that range. The range that modelsum"
        f" prints, which begins with a smaller context, holds {100 * held / len(testing):.0f} % of the test"
        " half."
    )


def _worst(row: Row, line: Line) -> str:
    predictor = PREDICTORS["reserved"]
    predicted = line.factor * predictor(row) + line.summand
    half = "fitting" if row.is_for_fitting else "test"
    return (
        f"| {row.run.model} | {row.run.batch} | {half} | {row.run.mib:.0f} | {predictor(row):.0f} |"
        f" {predicted:.0f} | {line.errors([row], predictor)[0]:+.1f} % |"
    )


def kind_of(model: str) -> str:
    """What a model of timm is, by the file that it is in."""
    import timm

    file = timm.models._registry._model_to_module.get(model, "")
    return "attention" if file in ATTENTION else "mixers" if file in MIXERS else "convolutional"


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(kind_of(row.run.model), []).append(row)
    ordered = dict(sorted(groups.items()))
    for batch in sorted({row.run.batch for row in rows}):
        ordered[f"batch {batch}"] = [row for row in rows if row.run.batch == batch]
    return ordered


def as_csv(rows: Sequence[Row]) -> str:
    """Every row, with the prediction of the line for reserved."""
    predictor = PREDICTORS["reserved"]
    line = fitted([row for row in rows if row.is_for_fitting], predictor)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        half = "fitting" if row.is_for_fitting else "test"
        predicted = line.factor * predictor(row) + line.summand
        numbers = (*row.figures, predicted)
        writer.writerow(
            [row.run.model, row.run.batch, kind_of(row.run.model), half, f"{row.run.mib:.0f}"]
            + [f"{number:.0f}" for number in numbers]
            + [f"{line.errors([row], predictor)[0]:+.2f}", f"{row.run.faketensor_mib:.0f}"]
        )
    return file.getvalue()
