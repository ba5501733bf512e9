"""The JSON is the whole summary, whatever the display options."""

from __future__ import annotations

import json
from dataclasses import replace

from hand_made_summary import MEMORY, TINY

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
        "backward_macs": None,
        "training_macs": None,
        "tokens": None,
        "active_params": None,
    }


def test_counts_and_bytes_are_integers_however_large():
    big = replace(TINY, totals=replace(TINY.totals, macs=2**70))
    assert '"macs": 1180591620717411303424,' in render(big, "json", RenderOptions())


def test_the_display_options_leave_nothing_out():
    options = RenderOptions(depth=0, width=40, color=True, torchsummary_batch=4)
    assert render(TINY, "json", options) == render(TINY, "json", RenderOptions())


def test_memory_is_a_block_and_three_figures_of_each_layer():
    summary = json.loads(render(replace(TINY, memory=MEMORY), "json", RenderOptions()))
    memory = summary["memory"]
    assert memory["at_peak"]["gradients"] == 896
    assert sum(memory["at_peak"].values()) == memory["training_peak_bytes"] == 10152
    assert memory["process_bytes"] == [314572800, 1887436800]
    rows = {
        (row["path"], row["call"]): (row["saved_bytes"], row["own_saved_bytes"], row["peak_bytes"])
        for row in summary["layers"]
    }
    assert rows["features", 1] == (2624, 0, 10152)
    assert rows["block.conv", 1] == (2048, 2048, 9500)
    assert rows["block.conv", 2] == (None, None, None)


def test_memory_that_is_not_known_is_null():
    assert json.loads(render(TINY, "json", RenderOptions()))["memory"] is None
