"""Counts that other people published, against ours (tests/oracles/README.md says where they come from)."""

from __future__ import annotations

import csv
import sys
from functools import cache
from pathlib import Path

import pytest
from every_day import every_nth

import modelsum
from modelsum.summary import Summary

Arguments = tuple[tuple[str, object], ...]

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "benchmarks"))
import sweep_timm  # noqa: E402 - the path above leads to it

TIMM = sweep_timm.rows()
assert len(TIMM) == 869
TIMM_SPREAD = TIMM[::60] + [row for row in TIMM if row["model"] in sweep_timm.WRITTEN_OUT]

with (HERE / "oracles" / "torchvision-recount.csv").open(newline="") as file:
    TORCHVISION = list(csv.DictReader(file))
assert len(TORCHVISION) == 139


def torchvision_arguments(row: dict[str, str]) -> dict[str, object]:
    """What the published weights of a row are built with, beyond the defaults."""
    if row["module"] == "segmentation" and not row["model"].startswith("lraspp"):
        return {"aux_loss": True}
    if row["model"].startswith("vit"):
        return {"image_size": int(row["input"].split("x")[-1])}
    return {}


@cache
def torchvision_totals(model: str, images: tuple[tuple[int, ...], ...], arguments: Arguments) -> Summary:
    """Shared by the rows of a model that differ in their weights alone. The counts do not ask for memory."""
    return modelsum.summarize(
        f"torchvision/{model}", input_size=images, model_args=dict(arguments), memory=False
    )


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("row", every_nth(TORCHVISION, 8), ids=lambda row: f"{row['model']}-{row['weights']}")
def test_torchvision_params_are_exact_and_macs_within_a_thousandth_of_a_giga(row: dict[str, str]) -> None:
    pytest.importorskip("torchvision")
    _, *sample = map(int, row["input"].split("x"))
    images = 2 if row["module"] == "optical_flow" else 1
    arguments = tuple(torchvision_arguments(row).items())
    summary = torchvision_totals(row["model"], (tuple(sample),) * images, arguments)
    assert summary.totals.params == int(row["params"])
    assert abs(summary.totals.macs / 1e9 - float(row["gmacs"])) <= 0.001
    assert summary.uncounted_ops == {}
    assert summary.device == "meta"


def check_timm(row: dict[str, str]) -> None:
    result = sweep_timm.count(row)
    assert (result["our_params"], float(result["our_gmacs"])) == (row["params"], float(row["gmacs"]))
    assert (result["device"], result["note"]) == ("meta", "")


@pytest.mark.parametrize("row", TIMM_SPREAD, ids=lambda row: row["model"])
def test_timm_params_are_exact_and_gmacs_equal_to_four_decimals(row: dict[str, str]) -> None:
    pytest.importorskip("timm")
    check_timm(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", TIMM, ids=lambda row: row["model"])
def test_all_timm_rows(row: dict[str, str]) -> None:
    pytest.importorskip("timm")
    check_timm(row)
