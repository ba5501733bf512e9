"""A measurement in every format, from a value made by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from modelsum.errors import UsageError
from modelsum.memory import Memory, Peak
from modelsum.memory.measurement import Comparison, Latency, Measurement, RealRun
from modelsum.render import FORMATS, RenderOptions, render
from modelsum.summary import Input, Model

MIB = 2**20
PREDICTED = Memory(
    kind="predicted",
    target="cpu",
    saved_for_backward_bytes=10 * MIB,
    inference=Peak(101 * MIB, {"weights": 101 * MIB}, "forward", ""),
    training=Peak(398 * MIB, {"weights": 398 * MIB}, "backward", "layer1"),
    first_step=Peak(300 * MIB, {"weights": 300 * MIB}, "backward", "layer1"),
    phase_peak_bytes={"forward": 390 * MIB, "backward": 398 * MIB},
)
RUN = RealRun(
    inference_peak_bytes=100 * MIB,
    first_step_peak_bytes=300 * MIB,
    training_peak_bytes=400 * MIB,
    phase_peak_bytes={"forward": 390 * MIB, "backward": 400 * MIB, "optimizer step": 350 * MIB},
    forward=Latency(0.0352, 0.00041, 28, 8),
    training_step=Latency(1.5, None, 1, 8),
)
MEASUREMENT = Measurement(
    model=Model("resnet50", "documented", "ResNet"),
    inputs=(Input(None, (8, 3, 64, 64), "float32"),),
    batch=8,
    dtype="float32",
    device="cpu",
    device_name="A Processor",
    threads=2,
    step={"loss": "sum", "optimizer": "adam (for-loop, default settings)"},
    measured=RUN,
    predicted=PREDICTED,
    notices=("it is said once",),
    made_with={"torch": "2.14.1", "python": "3.11.7"},
)
ON_CUDA = dataclasses.replace(
    MEASUREMENT,
    device="cuda:0",
    device_name="A Card",
    measured=dataclasses.replace(
        RUN,
        allocated_bytes=401 * MIB,
        reserved_bytes=500 * MIB,
        process_bytes=900 * MIB,
        notices=("it is said once",),
    ),
    predicted=dataclasses.replace(
        PREDICTED, allocated_bytes=399 * MIB, reserved_bytes=510 * MIB, process_bytes=(800 * MIB, 1100 * MIB)
    ),
)

TEXT = """\
-----------------------------------------------------------
Memory                        Measured   Predicted    Error
===========================================================
Inference peak              100.00 MiB  101.00 MiB  +1.00 %
First training step's peak  300.00 MiB  300.00 MiB   0.00 %
Training peak               400.00 MiB  398.00 MiB  -0.50 %
  forward                   390.00 MiB  390.00 MiB   0.00 %
  backward                  400.00 MiB  398.00 MiB  -0.50 %
  optimizer step            350.00 MiB           -        -
-----------------------------------------------------------
Latency         Median     IQR      Throughput  Runs
===========================================================
Forward pass   35.2 ms  410 µs   227 samples/s    28
Training step   1.50 s       -  5.33 samples/s     1
-----------------------------------------------------------
Model:   resnet50 (class ResNet)
Input:   [8, 3, 64, 64] float32
Dtype:   float32
Step:    loss: sum; optimizer: adam (for-loop, default settings)
Device:  cpu (A Processor, 2 threads)
With:    torch 2.14.1, python 3.11.7
-----------------------------------------------------------
Notice: it is said once
"""


def test_the_text_has_both_figures_and_the_error() -> None:
    assert render(MEASUREMENT, "text") == TEXT
    assert str(MEASUREMENT) == TEXT.rstrip("\n")


def test_cuda_adds_what_the_allocator_and_the_process_take() -> None:
    text = render(ON_CUDA, "text", RenderOptions(width=80))
    assert "Allocated in blocks         401.00 MiB" in text
    assert "Reserved by the allocator   500.00 MiB" in text
    process = next(line for line in text.splitlines() if line.startswith("Process total"))
    assert " ".join(process.split()) == "Process total 900.00 MiB 800.00 MiB to 1.07 GiB 0.00 %"
    assert text.count("it is said once") == 1
    assert "cuda:0 (A Card)" in text


@pytest.mark.parametrize("measurement", [MEASUREMENT, ON_CUDA])
def test_the_text_fits_eighty_columns(measurement: Measurement) -> None:
    long = dataclasses.replace(
        measurement, notices=("word " * 40,), step={"checkpoint": ", ".join(f"layer{n}.*" for n in range(30))}
    )
    assert max(map(len, render(long, "text", RenderOptions(width=80)).splitlines())) <= 80


def test_figures_that_are_not_there_are_a_dash() -> None:
    bare = dataclasses.replace(MEASUREMENT, measured=RealRun(100 * MIB), predicted=None)
    text = render(bare, "text")
    training = next(line for line in text.splitlines() if line.startswith("Training peak"))
    assert training.split() == ["Training", "peak", "-", "-", "-"]
    assert "Latency" not in text


def test_the_json_has_measured_predicted_and_error_side_by_side() -> None:
    block = json.loads(render(ON_CUDA, "json"))
    assert block["schema_version"] == 1
    assert block["kind"] == "measurement"
    model = {"spec": "resnet50", "source": "documented", "class": "ResNet", "arguments": {}}
    assert block["model"] == model
    for figure in ("inference_peak_bytes", "first_step_peak_bytes", "training_peak_bytes", "reserved_bytes"):
        measured, predicted = block["measured"][figure], block["predicted"][figure]
        assert isinstance(measured, int)
        assert block["error_percent"][figure] == pytest.approx(100 * (predicted - measured) / measured)
    assert block["measured"]["phase_peak_bytes"]["backward"] == 400 * MIB
    assert block["predicted"]["process_bytes"] == [800 * MIB, 1100 * MIB]
    assert block["error_percent"]["process_bytes"] == 0
    assert block["error_percent"]["phase_peak_bytes"]["optimizer step"] is None
    assert block["latency"]["forward"]["samples_per_second"] == pytest.approx(8 / 0.0352)
    assert block["latency"]["training_step"]["iqr_seconds"] is None


def test_the_markdown_has_both_tables() -> None:
    lines = render(MEASUREMENT, "markdown").splitlines()
    assert "| Memory | Measured | Predicted | Error |" in lines
    assert "| Training peak | 400.00 MiB | 398.00 MiB | -0.50 % |" in lines
    assert "| Forward pass | 35.2 ms | 410 µs | 227 samples/s | 28 |" in lines
    assert "> **Notice:** it is said once" in lines


def test_the_csv_has_a_row_a_figure() -> None:
    rows = list(csv.DictReader(io.StringIO(render(ON_CUDA, "csv"))))
    by_figure = {(row["kind"], row["figure"], row["phase"]): row for row in rows}
    assert by_figure["memory", "training_peak", ""]["measured_bytes"] == str(400 * MIB)
    assert by_figure["memory", "phase_peak", "backward"]["predicted_bytes"] == str(398 * MIB)
    process = by_figure["memory", "process", ""]
    assert (process["predicted_bytes"], process["predicted_most_bytes"]) == (str(800 * MIB), str(1100 * MIB))
    assert by_figure["latency", "training_step", ""]["iqr_seconds"] == ""
    assert by_figure["notice", "", ""]["text"] == "it is said once"


def test_formats_of_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="format 'torchsummary' shows layers"):
        render(MEASUREMENT, "torchsummary")
    assert all(render(MEASUREMENT, format).endswith("\n") for format in FORMATS["Measurement"])


@pytest.mark.parametrize(
    ("measured", "predicted", "error"),
    [
        (200, 210, 5.0),
        (200, 190, -5.0),
        (200, (150, 250), 0.0),
        (200, (210, 250), 5.0),
        (200, (100, 150), -25.0),
        (200, None, None),
        (None, 200, None),
        (0, 200, None),
    ],
)
def test_the_error_is_the_predictions_share_above_or_below(
    measured: int | None, predicted: int | tuple[int, int] | None, error: float | None
) -> None:
    assert Comparison("process_bytes", "", measured, predicted).error_percent == (
        error if error is None else pytest.approx(error)
    )


def test_a_notebook_shows_both_tables() -> None:
    shown = MEASUREMENT._repr_html_()
    assert shown is not None
    assert shown.count("<table>") == 2
    assert "<script" not in shown
