"""The CSV: a row a layer, the total, uncounted ops and notices, each of its kind."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hand_made_summary import MEMORY, TINY, failing

from modelsum.render import RenderOptions, render
from modelsum.summary import Summary

HEADER = (
    "kind,path,class,call,depth,index,parent,exit_order,container,failed,reused,"
    "params,own_params,counted_params,trainable_params,own_trainable_params,macs,own_macs,"
    "output_elements,output_bytes,saved_bytes,own_saved_bytes,peak_bytes,input_shapes,output_shapes,text,count\n"
)

DEPTH_1 = (
    HEADER
    + """\
layer,,TinyNet,1,0,0,,10,false,false,false,440,0,0,424,0,11328,0,40,160,,,,"[[2, 3, 4, 4]]",\
"{""logits"": [2, 10], ""tied"": [[2, 10], null]}",,
layer,features,Sequential,1,1,1,0,3,true,false,false,240,0,240,224,0,6912,6912,256,1024,,,,"[[2, 3, 4, 4]]",\
"[2, 8, 4, 4]",,
layer,block,Residual,1,1,5,0,6,false,false,false,64,0,64,64,0,4096,4096,256,1024,,,,"[[2, 8, 4, 4]]",\
"[2, 8, 4, 4]",,
layer,pool,AdaptiveAvgPool2d,1,1,8,0,7,false,false,false,0,0,0,0,0,0,0,16,64,,,,"[[2, 8, 4, 4]]",\
"[2, 8, 1, 1]",,
layer,fc,Linear,1,1,9,0,8,false,false,false,90,90,90,90,90,160,160,20,80,,,,"[[2, 8]]","[2, 10]",,
layer,tied,Linear,1,1,10,0,9,false,false,false,90,90,10,90,90,160,160,20,80,,,,"[[2, 8]]","[2, 10]",,
layer,aux,Linear,0,1,11,0,,false,false,false,36,36,36,36,36,0,0,0,0,,,,null,null,,
total,,TinyNet,,,,,,,,,440,,440,424,,11328,11328,,,,,,,,,
uncounted,,,,,,,,,,,,,,,,,,,,,,,,,aten.cumsum,12
uncounted,,,,,,,,,,,,,,,,,,,,,,,,,aten._fft_r2c,1
notice,,,,,,,,,,,,,,,,,,,,,,,,,the weights are random,
"""
)


def read(summary: Summary, depth: int | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(summary, "csv", RenderOptions(depth=depth)))))


def test_the_whole_csv_at_depth_1():
    assert render(TINY, "csv", RenderOptions(depth=1)) == DEPTH_1


def test_without_a_depth_there_is_a_row_for_every_layer_in_call_order():
    layers = [row for row in read(TINY) if row["kind"] == "layer"]
    assert [row["path"] for row in layers] == [layer.path for layer in TINY.layers]
    assert [row["index"] for row in layers] == [str(index) for index in range(12)]
    assert layers[7] | {"call": "2", "reused": "true", "counted_params": "0", "parent": "5"} == layers[7]


@pytest.mark.parametrize("depth", [0, 1, 2, None])
@pytest.mark.parametrize("column", ["counted_params", "own_macs"])
def test_counted_params_and_own_macs_add_up_to_the_total_row(depth: int | None, column: str):
    rows = read(TINY, depth)
    (total,) = (row for row in rows if row["kind"] == "total")
    assert sum(int(row[column]) for row in rows if row["kind"] == "layer") == int(total[column])


def test_a_forward_that_did_not_finish_is_a_notice():
    rows = read(failing())
    assert rows[-1]["kind"] == "notice"
    assert rows[-1]["text"].startswith("The forward did not finish")
    assert [row["path"] for row in rows if row["failed"] == "true"] == ["fc"]


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_saved_bytes_add_up_to_what_the_model_saved(depth: int | None):
    rows = read(replace(TINY, memory=MEMORY), depth)
    own = [int(row["own_saved_bytes"] or 0) for row in rows if row["kind"] == "layer"]
    (total,) = (row for row in rows if row["kind"] == "total")
    assert sum(own) == int(total["own_saved_bytes"]) == 4800


def test_every_figure_of_the_memory_is_a_row():
    rows = read(replace(TINY, memory=MEMORY))
    figures = {row["text"]: int(row["count"]) for row in rows if row["kind"] == "memory"}
    assert figures["training_peak_bytes"] == 10152
    assert figures["at_peak.optimizer_state"] == 3392
    assert figures["process_bytes.least"] == 314572800
