"""What a table shows at a depth, and that it always adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hand_made_summary import LAYERS, TINY, failing

from modelsum.render import FORMATS, RenderOptions, render
from modelsum.render.summary.cells import macs, output, params, shape, tensor_count
from modelsum.render.summary.rows import displayed, folded
from modelsum.summary import Layer, Model, Summary
from modelsum.trace.call import Call
from modelsum.trace.tracing import trace
from modelsum.zoo.registry import ARCHITECTURES


def paths(layers: tuple[Layer, ...], depth: int | None) -> list[str]:
    return [row.layer.path for row in displayed(layers, depth)]


def cells(summary: Summary, depth: int | None) -> list[tuple[str, str, str, str]]:
    rows = displayed(summary.layers, depth)
    return [(row.layer.path, output(row), params(row), macs(row)) for row in rows]


def meta_summary(name: str) -> Summary:
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        model, image = architecture.build(), torch.empty(1, *architecture.input_shape)
    identity = Model(name, "documented", type(model).__name__)
    return trace(Call(model, (image,)), identity=identity, mode="eval", device=image.device, batch=1)


def test_all_rows_are_shown_but_the_root_and_containers_that_have_nothing_of_their_own():
    assert paths(LAYERS, None) == [
        *("features.0", "features.1", "features.2", "block", "block.conv", "block.conv"),
        *("pool", "fc", "tied", "aux"),
    ]


def test_a_container_stands_for_the_rows_that_a_depth_leaves_out():
    assert cells(TINY, 1) == [
        ("features", "[2, 8, 4, 4]", "240", "6,912"),
        ("block", "[2, 8, 4, 4]", "64", "4,096"),
        ("pool", "[2, 8, 1, 1]", "0", "0"),
        ("fc", "[2, 10]", "90", "160"),
        ("tied", "[2, 10]", "10 (shared)", "160"),
        ("aux", "not executed", "36", "0"),
    ]


def test_depth_0_is_the_root_with_everything():
    assert cells(TINY, 0) == [("", "{logits: [2, 10], tied: ([2, 10], None)}", "440", "11,328")]


def test_a_row_whose_figures_are_all_in_rows_below_shows_a_dash():
    assert cells(TINY, None)[3] == ("block", "[2, 8, 4, 4]", "-", "-")


def test_the_second_call_of_a_module_is_reused_and_still_has_its_macs():
    assert cells(TINY, None)[5] == ("block.conv", "[2, 8, 4, 4]", "(reused)", "2,048")


def test_a_reused_module_without_parameters_has_none_to_mark():
    relu = replace(LAYERS[4], call=2, reused=True)
    assert cells(replace(TINY, layers=(*LAYERS, relu)), None)[-1] == ("features.2", "[2, 8, 4, 4]", "0", "0")


def test_a_parameter_that_is_wholly_tied_is_shared():
    assert cells(replace(TINY, layers=(replace(LAYERS[10], counted_params=0, parent=None),)), None) == [
        ("tied", "[2, 10]", "(shared)", "160")
    ]


def test_the_root_is_shown_where_it_has_something_of_its_own():
    with_token = (replace(LAYERS[0], own_params=8, counted_params=8), *LAYERS[1:])
    assert paths(with_token, None)[:2] == ["", "features.0"]


def test_the_root_is_shown_where_it_is_the_only_module():
    assert paths((replace(LAYERS[4], path="", depth=0, parent=None),), None) == [""]


def test_a_failed_layer_shows_what_it_was_given_and_later_ones_are_not_executed():
    assert cells(failing(), None)[-3:] == [
        ("fc", "failed; input [2, 8, 4, 4]", "90", "0"),
        ("tied", "not executed", "10 (shared)", "0"),
        ("aux", "not executed", "36", "0"),
    ]


def test_a_depth_that_leaves_the_failed_layer_out_names_it_in_the_row_above():
    assert cells(failing(), 0) == [("", "failed in fc; input [2, 8, 4, 4]", "440", "11,008")]


def test_a_call_around_the_failed_one_is_not_finished():
    block = replace(LAYERS[5], exit_order=None, output_shapes=None)
    layers = (*LAYERS[:5], block, replace(LAYERS[6], failed=True, exit_order=None, output_shapes=None))
    outputs = [output(row) for row in displayed(layers, None)]
    assert outputs[3:] == ["not finished", "failed; input [2, 8, 4, 4]"]


def test_hidden_rows_follow_the_call_that_they_happened_in():
    """A module called from elsewhere counts where it was called, not where it is registered."""
    called_in_block = replace(LAYERS[2], path="lib.conv", parent=5)
    rows = {row.layer.path: row.macs for row in folded((*LAYERS, called_in_block), 1)}
    assert rows["block"] == 2 * 2048 + 6912


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, None])
@pytest.mark.parametrize(
    "name", ["resnet18", "vgg11_bn", "squeezenet1_1", "densenet121", "mnasnet_a1", "preact_resnet18"]
)
def test_the_columns_add_up_to_the_totals_at_every_depth(name: str, depth: int | None):
    summary = meta_summary(name)
    for rows in (displayed(summary.layers, depth), folded(summary.layers, depth)):
        assert sum(row.params for row in rows) == summary.totals.params
        assert sum(row.macs for row in rows) == summary.totals.macs


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_params_add_up_also_where_the_forward_failed(depth: int | None):
    assert sum(row.params for row in displayed(failing().layers, depth)) == 440
    assert sum(row.macs for row in displayed(failing().layers, depth)) == 11008


@pytest.mark.parametrize(
    ("tree", "text", "tensors"),
    [
        ((2, 3), "[2, 3]", 1),
        ((), "[]", 1),
        ([(2, 3), None], "([2, 3], None)", 1),
        ({"out": (1,), "aux": [(2,), (3,)]}, "{out: [1], aux: ([2], [3])}", 3),
        ("<Detections>", "<Detections>", 0),
        ((2, "*", 8), "[2, *, 8]", 1),
        (None, "None", 0),
    ],
)
def test_nested_shapes_are_written_compactly(tree: object, text: str, tensors: int):
    assert shape(tree) == text
    assert tensor_count(tree) == tensors


@pytest.mark.parametrize("format", FORMATS["Summary"])
def test_every_format_ends_with_one_newline_and_shows_no_escape_codes(format: str):
    text = render(TINY, format, RenderOptions())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\x1b" not in text
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("format", ["text", "json", "csv", "markdown"])
def test_every_format_that_has_macs_shows_the_uncounted_ops(format: str):
    text = render(TINY, format, RenderOptions())
    assert "aten.cumsum" in text
    assert "the weights are random" in text
