"""Reports built by hand, for the tests of what takes finished ones; every figure is given by the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelsum.baselines.reports.report import Case, Report, ReportRow
from modelsum.summary import Input

CASE = Case("nets:Net", "imported", {}, (Input(None, (1, 3, 8, 8), "float32"),), 1, "eval", "float32")


def row(
    path: str,
    class_name: str,
    *,
    params: int = 0,
    macs: int = 0,
    call: int = 1,
    shape: Any = (1, 8),
    saved: int | None = None,
    sizes: int = 0,
    **attributes: Any,
) -> ReportRow:
    """One row; all its params are trainable."""
    return ReportRow(
        path=path,
        class_name=class_name,
        call=call,
        params=params,
        trainable_params=params,
        macs=macs,
        forward_backward_bytes=sizes,
        saved_for_backward_bytes=saved,
        output_shapes=list(shape),
        attributes=attributes,
    )


def report(
    *rows: ReportRow, case: Case = CASE, uncounted: Mapping[str, int] | None = None, **totals: int
) -> Report:
    """A report of a root `Net` and these rows, whose totals are what they add up to."""
    everything = (row("", "Net"), *rows)
    added = {
        "params": sum(r.params for r in everything),
        "trainable_params": sum(r.trainable_params for r in everything),
        "packed_params": 0,
        "param_bytes": 4 * sum(r.params for r in everything),
        "buffers": 0,
        "buffer_bytes": 0,
        "macs": sum(r.macs for r in everything),
        "input_bytes": 768,
        "module_calls": sum(r.call > 0 for r in everything),
        "torchsummary_rows": len(rows),
        "forward_backward_bytes": sum(r.forward_backward_bytes for r in everything),
    }
    sizes = (added["param_bytes"], added["forward_backward_bytes"], added["input_bytes"])
    added["torchsummary_total_bytes"] = sum(sizes)
    return Report(case, added | totals, everything, uncounted or {})


def block(path: str, *, width: int = 4, kind: str = "Block") -> list[ReportRow]:
    """A block of a convolution, a norm and a ReLU: `width` params and 10 MACs a param."""
    return [
        row(path, kind),
        row(f"{path}.conv", "Conv2d", params=width, macs=10 * width, width=width),
        row(f"{path}.norm", "BatchNorm2d", params=2, width=width),
        row(f"{path}.act", "ReLU"),
    ]
