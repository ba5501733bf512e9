"""What a table shows at a depth, and that it always adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from every_day import every_nth
from hand_made_summary import LAYERS, MEMORY, TINY, failing

from modelsum.errors import UsageError
from modelsum.memory_values import ModuleMemory
from modelsum.render import FORMATS, SORTS, RenderOptions, render
from modelsum.render.summary.cells import macs, name, output, params, shape, tensor_count
from modelsum.render.summary.rows import SCREEN, displayed, folded, folded_at
from modelsum.summary import Layer, Model, Summary
from modelsum.trace.call import Call
from modelsum.trace.tracing import trace
from modelsum.zoo.registry import ARCHITECTURES


def paths(layers: tuple[Layer, ...], depth: int | None) -> list[str]:
    return [row.layer.path for row in folded_at(layers, depth, every=True)]


def cells(summary: Summary, depth: int | None) -> list[tuple[str, str, str, str]]:
    rows = folded_at(summary.layers, depth, every=True)
    return [(row.layer.path, output(row), params(row), macs(row)) for row in rows]


def meta_summary(net: str) -> Summary:
    architecture = ARCHITECTURES[net]
    with torch.device("meta"):
        model, image = architecture.build(), torch.empty(1, *architecture.input_shape)
    identity = Model(net, "documented", type(model).__name__)
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
    outputs = [output(row) for row in folded_at(layers, None)]
    assert outputs[3:] == ["not finished", "failed; input [2, 8, 4, 4]"]


def test_hidden_rows_follow_the_call_that_they_happened_in():
    """A module called from elsewhere counts where it was called, not where it is registered."""
    called_in_block = replace(LAYERS[2], path="lib.conv", parent=5)
    rows = {row.layer.path: row.macs for row in folded((*LAYERS, called_in_block), 1)}
    assert rows["block"] == 2 * 2048 + 6912


@pytest.mark.parametrize("depth", every_nth([0, 1, 2, 3, 4, None], 2))
@pytest.mark.parametrize(
    "net", ["resnet18", "vgg11_bn", "squeezenet1_1", "densenet121", "mnasnet_a1", "preact_resnet18"]
)
def test_the_columns_add_up_to_the_totals_at_every_depth(net: str, depth: int | None):
    summary = meta_summary(net)
    blocks = [folded_at(summary.layers, depth, every=every) for every in (False, True)]
    for rows in (*blocks, folded(summary.layers, depth), displayed(summary.layers, depth).rows):
        assert sum(row.params for row in rows) == summary.totals.params
        assert sum(row.macs for row in rows) == summary.totals.macs


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_params_add_up_also_where_the_forward_failed(depth: int | None):
    assert sum(row.params for row in folded_at(failing().layers, depth)) == 440
    assert sum(row.macs for row in folded_at(failing().layers, depth)) == 11008


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


# ---- equal blocks


def chain(*blocks: tuple[int, int]) -> tuple[Layer, ...]:
    """A net of blocks in a list, each a Linear of so many params that saves so many bytes, and a ReLU."""
    layers = [replace(LAYERS[0], own_params=0), replace(LAYERS[1], path="layers", class_name="ModuleList")]
    for number, (elements, _) in enumerate(blocks):
        layers.append(replace(LAYERS[5], path=f"layers.{number}", depth=2, parent=1))
        inside = {"depth": 3, "parent": len(layers) - 1}
        weights = dict.fromkeys(("own_params", "params", "counted_params"), elements)
        layers.append(replace(LAYERS[9], path=f"layers.{number}.fc", **inside, **weights))
        layers.append(replace(LAYERS[4], path=f"layers.{number}.act", **inside))
    return tuple(layers)


def memory_of(*blocks: tuple[int, int]) -> dict[str, ModuleMemory]:
    return {f"layers.{n}.fc": ModuleMemory(saved, saved, 1000 + n) for n, (_, saved) in enumerate(blocks)}


def test_equal_blocks_are_one_that_is_open_with_what_they_cost_together():
    blocks = ((90, 8), (90, 4), (90, 4), (90, 4), (10, 4))
    rows = folded_at(chain(*blocks), None, memory_of(*blocks))
    assert [(name(row), row.params, row.saved_bytes, row.peak_bytes) for row in rows] == [
        (("layers.0", "Residual"), 0, 0, None),
        (("layers.0.fc", "Linear"), 90, 8, 1000),
        (("layers.0.act", "ReLU"), 0, 0, None),
        (("layers.[1-3]", "3 x Residual"), 0, 0, None),
        (("layers.[1-3].fc", "3 x Linear"), 270, 12, 1003),
        (("layers.[1-3].act", "3 x ReLU"), 0, 0, None),
        (("layers.4", "Residual"), 0, 0, None),
        (("layers.4.fc", "Linear"), 10, 4, 1004),
        (("layers.4.act", "ReLU"), 0, 0, None),
    ]


def test_a_block_that_failed_or_gives_another_shape_is_no_equal_one():
    layers = list(chain((90, 0), (90, 0), (90, 0), (90, 0)))
    layers[2] = replace(layers[2], output_shapes=(2, 8))
    layers[9] = replace(layers[9], failed=True, exit_order=None)
    shown = [row.path for row in folded_at(layers, None) if row.layer.class_name == "Residual"]
    assert shown == ["layers.0", "layers.1", "layers.2", "layers.3"]
    assert [row.path for row in folded_at(layers, 2)] == ["layers.0", "layers.1", "layers.2", "layers.3"]


def test_further_calls_in_a_loop_are_one_row_with_the_macs_of_all():
    """Also where another module runs between them; the first call, which has the params, stays apart."""
    again = (replace(LAYERS[7], call=3), replace(LAYERS[8], parent=5), replace(LAYERS[7], call=4))
    rows = folded_at((*LAYERS[:8], *again), None)
    assert [(row.path, row.times, row.macs) for row in rows[4:]] == [
        ("block.conv", 1, 2048),
        ("block.conv", 3, 3 * 2048),
        ("pool", 1, 0),
    ]


def test_a_screen_shows_as_many_levels_as_it_has_room_for():
    """Twelve different blocks: with what is in them they would be 36 rows."""
    layers = chain(*((n, 0) for n in range(12)))
    assert len(folded_at(layers, None)) == 36 > SCREEN
    shown = displayed(layers, None)
    assert (len(shown.rows), shown.depth, shown.every) == (12, 2, 36)
    assert len(displayed(layers, None, every=True).rows) == 36
    assert displayed(chain(*((n, 0) for n in range(99))), None).depth == 1


# ---- the costliest


def table(summary: Summary, **options: object) -> list[str]:
    lines = render(summary, "text", RenderOptions(**options)).splitlines()  # type: ignore[arg-type]
    start, end = (place for place, line in enumerate(lines) if line.startswith("==="))
    return [*lines[start + 1 : end], lines[end + 1]]


def test_the_costliest_layers_have_a_bar_for_their_share():
    """features.0 has 6912 of 11,328 MACs, 61.0 %: 59 of the 96 eighths of 12 characters."""
    *rows, note = table(TINY, top=3)
    assert [row.split()[0] + " " + " ".join(row.split()[-3:]) for row in rows] == [
        "features.0 61.0 % \u2588\u2588\u2588\u2588\u2588\u2588\u2588\u258d",
        "block.conv 18.1 % \u2588\u2588\u258f",
        "block.conv 18.1 % \u2588\u2588\u258f",
    ]
    assert note == "3 of 10 rows, those with the most MACs: 97.2 % of all."


def test_rows_can_be_sorted_by_every_figure_of_the_table():
    with_memory = replace(TINY, memory=MEMORY)
    first = {figure: table(with_memory, sort=figure)[0].split()[0] for figure in SORTS}
    assert first == {
        "params": "features.0",
        "macs": "features.0",
        "saved": "block.conv",
        "peak": "features.1",
    }
    assert len(table(with_memory, sort="peak")) == 11


def test_a_figure_that_is_not_known_cannot_be_sorted_by():
    with pytest.raises(UsageError, match="'peak' is not known here"):
        render(TINY, "text", RenderOptions(sort="peak"))
    with pytest.raises(UsageError, match="format 'csv' has all of them"):
        render(TINY, "csv", RenderOptions(top=3))


# ---- every format


@pytest.mark.parametrize(
    "format", [name for name in FORMATS["Summary"] if name != "trace"]
)  # it wants a step
def test_every_format_ends_with_one_newline_and_shows_no_escape_codes(format: str):
    text = render(TINY, format, RenderOptions())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\x1b" not in text
    if format != "html":
        assert text.isascii()
        assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("format", ["text", "json", "csv", "markdown"])
def test_every_format_that_has_macs_shows_the_uncounted_ops(format: str):
    text = render(TINY, format, RenderOptions())
    assert "aten.cumsum" in text
    assert "the weights are random" in text
