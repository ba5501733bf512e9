"""The JSON is the whole summary, whatever the display options."""

from __future__ import annotations

import json
from dataclasses import replace

from hand_made_summary import TINY

from modelsum.render import RenderOptions, render


def test_json_is_the_summary_indented():
    text = render(TINY, "json", RenderOptions())
    assert text.startswith("""\
{
  "schema_version": 1,
  "kind": "summary",
  "model": {
    "spec": "nets.py:TinyNet",""")
    assert json.loads(text)["totals"] == {
        "params": 440,
        "trainable_params": 424,
        "frozen_params": 16,
        "param_bytes": 1760,
        "buffers": 17,
        "buffer_bytes": 72,
        "packed_params": 0,
        "macs": 11328,
        "flops": 22656,
        "input_bytes": 384,
        "module_calls": 11,
    }


def test_counts_and_bytes_are_integers_however_large():
    big = replace(TINY, totals=replace(TINY.totals, macs=2**70))
    assert '"macs": 1180591620717411303424,' in render(big, "json", RenderOptions())


def test_the_display_options_leave_nothing_out():
    options = RenderOptions(depth=0, width=40, color=True, torchsummary_batch=4)
    assert render(TINY, "json", options) == render(TINY, "json", RenderOptions())
