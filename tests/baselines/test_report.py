"""The report of a summary, and its file: read whole or not at all, rewritten only for another figure."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_summary import MEMORY, TINY, failing

from modelsum.baselines.reports import files as report_files
from modelsum.baselines.reports.report import Report
from modelsum.baselines.reports.text import parse, to_text
from modelsum.errors import ReportError
from modelsum.render import RenderOptions, render
from modelsum.summary import Model, Summary

WITH_MEMORY = replace(TINY, memory=MEMORY)


def small() -> Report:
    """TINY's first convolution alone, so that the whole text can stand in a test."""
    root, _, conv, *_ = TINY.layers
    convolution = replace(
        conv,
        path="conv",
        depth=1,
        parent=0,
        attributes={"kernel_size": (3, 3), "p": 0.5},
        counted_trainable_params=224,
    )
    return Report.of(
        replace(
            TINY,
            model=Model("nets.py:Conv", "imported", "Conv", {"width": 8, "sizes": (1, 2)}),
            totals=replace(TINY.totals, params=224, trainable_params=224, param_bytes=896, macs=6912),
            # 2 * 4 bytes * 256 elements of the one row; 384 + 2048 + 896 in all
            torchsummary=replace(TINY.torchsummary, rows=1, forward_backward_bytes=2048, params_bytes=896),
            layers=(replace(root, class_name="Conv", output_shapes=(2, 8, 4, 4)), convolution),
            uncounted_ops={"aten.cumsum": 12},
        )
    )


SMALL_TEXT = """\
{
  "case": {
    "arguments": {
      "sizes": [1, 2],
      "width": 8
    },
    "batch": 2,
    "dtype": "float32",
    "inputs": [
      {
        "dtype": "float32",
        "name": null,
        "shape": [2, 3, 4, 4]
      }
    ],
    "memory": null,
    "mode": "eval",
    "model": "nets.py:Conv",
    "source": "imported"
  },
  "convention": {
    "macs": 1,
    "memory": 4,
    "torchsummary": 1
  },
  "kind": "report",
  "rows": [
    {
      "attributes": {},
      "call": 1,
      "class": "Conv",
      "forward_backward_bytes": 0,
      "macs": 0,
      "output_shapes": [2, 8, 4, 4],
      "params": 0,
      "path": "",
      "saved_for_backward_bytes": null,
      "trainable_params": 0
    },
    {
      "attributes": {
        "kernel_size": [3, 3],
        "p": 0.5
      },
      "call": 1,
      "class": "Conv2d",
      "forward_backward_bytes": 2048,
      "macs": 6912,
      "output_shapes": [2, 8, 4, 4],
      "params": 224,
      "path": "conv",
      "saved_for_backward_bytes": null,
      "trainable_params": 224
    }
  ],
  "schema_version": 1,
  "totals": {
    "buffer_bytes": 72,
    "buffers": 17,
    "forward_backward_bytes": 2048,
    "input_bytes": 384,
    "macs": 6912,
    "module_calls": 11,
    "packed_params": 0,
    "param_bytes": 896,
    "params": 224,
    "torchsummary_rows": 1,
    "torchsummary_total_bytes": 3328,
    "trainable_params": 224
  },
  "uncounted_ops": {
    "aten.cumsum": 12
  },
  "versions": {
    "modelsum": "0.1.0",
    "python": "3.11.2",
    "torch": "2.14.1"
  }
}
"""


def counted(summary: Summary) -> Summary:
    """The hand-made layers with the trainable elements that they count: all but those of the frozen norm."""
    layers = (
        replace(
            layer, counted_trainable_params=0 if layer.class_name == "BatchNorm2d" else layer.counted_params
        )
        for layer in summary.layers
    )
    return replace(summary, layers=tuple(layers))


TINY_REPORT = Report.of(counted(WITH_MEMORY))


def test_the_text_has_one_key_a_line_in_alphabetical_order():
    assert to_text(small()) == SMALL_TEXT


def test_the_text_is_read_back_whole():
    assert parse(SMALL_TEXT, "small.json") == small()
    assert parse(to_text(TINY_REPORT), "tiny.json") == TINY_REPORT


def test_no_time_host_or_path_is_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert to_text(Report.of(counted(WITH_MEMORY))) == to_text(TINY_REPORT)
    assert str(tmp_path) not in to_text(TINY_REPORT)
    assert os.uname().nodename not in to_text(TINY_REPORT)


def test_the_rows_of_every_figure_add_up_to_its_total():
    """saved: features.0 1536, features.1 1088, block.conv 2048, fc 128: 4800 (tests/hand_made_summary.py)."""
    totals = TINY_REPORT.totals
    assert sum(row.params for row in TINY_REPORT.rows) == totals["params"] == 440
    assert sum(row.trainable_params for row in TINY_REPORT.rows) == totals["trainable_params"] == 424
    assert sum(row.macs for row in TINY_REPORT.rows) == totals["macs"] == 11328
    assert sum(row.forward_backward_bytes for row in TINY_REPORT.rows) == 12736
    assert sum(row.saved_for_backward_bytes or 0 for row in TINY_REPORT.rows) == 4800
    assert totals["saved_for_backward_bytes"] == 4800


def test_figures_by_name_with_or_without_their_unit():
    assert TINY_REPORT.figure("macs") == 11328
    assert TINY_REPORT.figure("flops") == 22656
    assert TINY_REPORT.figure("training_peak") == TINY_REPORT.figure("training_peak_bytes") == 10152
    assert small().figure("training_peak") is None


def test_versions_say_nothing_about_the_model():
    assert replace(TINY_REPORT, versions={"torch": "9.9"}) == TINY_REPORT
    assert replace(TINY_REPORT, convention={"macs": 2}) != TINY_REPORT


def test_the_json_of_a_summary_is_read_as_its_report():
    shown = render(counted(WITH_MEMORY), "json", RenderOptions())
    assert parse(shown, "tiny.json") == TINY_REPORT
    without = render(counted(TINY), "json", RenderOptions())
    assert parse(without, "tiny.json") == Report.of(counted(TINY))


def test_a_summary_of_before_there_were_attributes_is_read_too():
    shown = json.loads(render(counted(TINY), "json", RenderOptions()))
    del shown["convention"], shown["model"]["arguments"]
    for layer in shown["layers"]:
        del layer["attributes"], layer["counted_trainable_params"]
    assert parse(json.dumps(shown), "tiny.json") == Report.of(counted(TINY))


def test_a_forward_that_failed_has_no_report():
    with pytest.raises(ValueError, match="did not finish"):
        Report.of(failing())
    with pytest.raises(ReportError, match=r"bad\.json:.*executed: the forward did not finish"):
        parse(render(failing(), "json", RenderOptions()), "bad.json")


LINE_OF_MACS = SMALL_TEXT.split("\n").index('      "macs": 6912,') + 1
LINE_OF_TOTAL = SMALL_TEXT.split("\n").index('    "macs": 6912,') + 1


LAYER, TOTAL = '      "macs": 6912,\n', '    "macs": 6912,\n    "module'
NO_WHOLE = f"r.json:{LINE_OF_MACS}: rows[1].macs: expected a whole number from 0, found"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LAYER, LAYER.replace("6912", "6912.0"), f"{NO_WHOLE} 6912.0"),
        (LAYER, LAYER.replace("6912", "-1"), f"{NO_WHOLE} -1"),
        (LAYER, LAYER.replace("6912", "true"), f"{NO_WHOLE} True"),
        (LAYER, LAYER.replace("6912", '"6912"'), f"{NO_WHOLE} '6912'"),
        (LAYER, LAYER.replace("6912", "[]"), f"{NO_WHOLE} a list"),
        (LAYER, "", f"r.json:{LINE_OF_MACS - 8}: rows[1]: there is no 'macs'"),
        (LAYER, LAYER.replace("macs", "mac"), f"r.json:{LINE_OF_MACS}: rows[1].mac: there is no such key"),
        (
            TOTAL,
            TOTAL.replace("6912", "6911"),
            f"r.json:{LINE_OF_TOTAL}: totals.macs: macs is 6,911, but the rows add up to 6,912",
        ),
        (TOTAL, '    "macs": 6912,\n' + TOTAL, "'macs' stands twice in one object"),
        ('"schema_version": 1', '"schema_version": 7', "schema_version: schema version 7 is not known"),
        ('"kind": "report"', '"kind": "comparison"', "kind: 'comparison' is not a report"),
        ('  "kind": "report",', '<<<<<<< ours\n  "kind": "report",', "there is a merge conflict in it"),
        ('"path": "conv"', '"path": null', "rows[1].path: expected a text, found None"),
        ('"kernel_size": [3, 3]', '"kernel_size": [3, NaN]', "NaN is not a number that JSON has"),
        ('"rows": [\n', '"rows": 3, "more": [\n', "more: there is no such key"),
    ],
)
def test_what_was_edited_by_hand_is_named(old: str, new: str, message: str):
    assert old in SMALL_TEXT
    with pytest.raises(ReportError) as raised:
        parse(SMALL_TEXT.replace(old, new), "r.json")
    assert message in raised.value.message
    assert raised.value.exit_code == 2
    assert raised.value.hint


@pytest.mark.parametrize("length", [0, 1, 100, len(SMALL_TEXT) // 2, len(SMALL_TEXT) - 2])
def test_a_file_that_is_cut_off_says_where(length: int):
    cut = SMALL_TEXT[:length]
    with pytest.raises(ReportError, match=r"r\.json:\d+: it is (cut off here|empty)"):
        parse(cut, "r.json")


@pytest.mark.parametrize("text", ["[]", "3", '"report"', "null", "[" * 100_000])
def test_json_that_is_no_object_is_no_report(text: str):
    with pytest.raises(ReportError, match=r"r\.json"):
        parse(text, "r.json")


# ---- files


def test_a_report_is_written_and_read(tmp_path: Path):
    path = tmp_path / "reports" / "small.json"
    assert report_files.write(path, small())
    assert path.read_text() == SMALL_TEXT
    assert report_files.read(path) == small()
    assert [file.name for file in path.parent.iterdir()] == ["small.json"]


def test_a_newer_torch_alone_does_not_touch_the_file(tmp_path: Path):
    path = tmp_path / "small.json"
    report_files.write(path, small())
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not report_files.write(path, replace(small(), versions={"torch": "3.0"}))
    assert path.read_text() == SMALL_TEXT
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert report_files.write(path, replace(small(), uncounted_ops={}, versions={"torch": "3.0"}))
    assert '"torch": "3.0"' in path.read_text()


def test_a_file_that_is_no_report_is_replaced(tmp_path: Path):
    path = tmp_path / "small.json"
    path.write_text(SMALL_TEXT[:99])
    assert report_files.write(path, small())
    assert path.read_text() == SMALL_TEXT


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ReportError, match=r"cannot read .*none\.json: No such file"):
        report_files.read(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportError, match="it is not text"):
        report_files.read(tmp_path / "binary.json")


def test_a_write_that_fails_leaves_the_file_and_no_other(tmp_path: Path, monkeypatch):
    path = tmp_path / "small.json"
    report_files.write(path, small())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Exception, match="No space left on device"):
        report_files.write(path, replace(small(), uncounted_ops={}))
    assert path.read_text() == SMALL_TEXT
    assert [file.name for file in tmp_path.iterdir()] == ["small.json"]


def test_of_many_writers_at_once_one_wins_whole(tmp_path: Path):
    """Readers never see half a file, and nothing is left beside it."""
    path = tmp_path / "tiny.json"
    reports = [replace(TINY_REPORT, uncounted_ops={"aten.cumsum": times}) for times in range(8)]
    report_files.write(path, reports[0])
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(report_files.write, path, report) for report in reports * 4]
        seen = [report_files.read(path) for _ in range(40)]
        assert all(writer.result() in (True, False) for writer in writers)
    assert all(report in reports for report in seen)
    assert report_files.read(path) in reports
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.json"]
