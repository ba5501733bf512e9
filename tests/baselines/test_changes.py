"""What changed between two reports: which module is which, in what state, and why a figure changed."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hand_made_report import CASE, block, report, row

import modelsum
from modelsum.baselines.changes.changes import Diff, compare
from modelsum.baselines.changes.folding import lines
from modelsum.baselines.changes.reasons import biggest, reasons
from modelsum.baselines.reports.report import Report


def states(diff: Diff) -> dict[str, str]:
    """Every module that is not the same, by its path; a renamed one with where it was."""
    return {
        (f"{c.old_path} -> {c.new_path}" if c.old_path is not None and c.is_renamed else c.path): c.state
        for c in diff.changes
        if c.state != "same"
    }


def folded(diff: Diff, depth: int | None = None) -> list[tuple[str, str, int, dict[str, int]]]:
    """State, path, how many and the differences in params and MACs of every line."""
    return [
        (
            line.state,
            line.path,
            line.times,
            {name: n for name, n in line.differences.items() if name in ("params", "macs")},
        )
        for line in lines(diff, depth)
    ]


STEM = row("stem", "Conv2d", params=27, macs=270, stride=[2, 2])
HEAD = row("head", "Linear", params=40, macs=40)


def test_equal_reports_have_no_difference():
    diff = compare(report(STEM, *block("a")), report(STEM, *block("a")))
    assert diff.is_empty
    assert states(diff) == {}
    assert lines(diff) == []
    assert biggest(diff) is None


def test_totals_with_difference_and_share():
    diff = compare(report(STEM), report(replace(STEM, macs=405)))
    macs = diff.total("macs")
    assert (macs.old, macs.new, macs.difference, macs.share) == (270, 405, 135, 0.5)
    assert diff.total("params").difference == 0
    assert diff.total("training_peak_bytes").difference is None


def test_a_changed_layer_says_which_attributes_and_figures():
    old = report(STEM, HEAD)
    new = report(replace(STEM, macs=1080, attributes={"stride": [1, 1], "bias": True}), HEAD)
    diff = compare(old, new)
    assert states(diff) == {"stem": "changed"}
    change = diff.changes[1]
    assert change.attributes == {"stride": ([2, 2], [1, 1]), "bias": (None, True)}
    assert change.differences == {"macs": 810}


def test_another_class_under_the_same_name_is_a_change():
    diff = compare(report(row("act", "ReLU"), HEAD), report(row("act", "GELU"), HEAD))
    assert states(diff) == {"act": "changed"}
    assert diff.changes[1].attributes == {"class": ("ReLU", "GELU")}


def test_another_number_of_calls_is_a_change():
    twice = [row("a", "Linear", params=4, macs=4), row("a", "Linear", macs=4, call=2)]
    diff = compare(report(twice[0]), report(*twice))
    assert diff.changes[1].attributes == {"calls": (1, 2)}
    assert diff.changes[1].differences == {"macs": 4}


def test_a_layer_that_only_passes_on_another_size_is_a_consequence():
    diff = compare(report(row("act", "ReLU", sizes=64)), report(row("act", "ReLU", sizes=32, shape=(1, 4))))
    assert diff.changes[1].state == "changed"
    assert diff.changes[1].is_consequence
    assert diff.changes[1].output_shapes == ("[1, 8]", "[1, 4]")
    assert lines(diff)[0].is_consequence


# ---- renamed, moved, inserted


def test_a_renamed_block_is_one_rename_and_no_additions():
    old = report(STEM, *block("layer4"), HEAD)
    new = report(STEM, *block("stage4"), HEAD)
    diff = compare(old, new)
    assert states(diff) == {"layer4 -> stage4": "renamed"}
    assert folded(diff) == [("renamed", "stage4", 1, {})]
    assert lines(diff)[0].old_path == "layer4"


def test_a_renamed_block_is_known_by_its_structure_when_its_width_changed_too():
    diff = compare(report(STEM, *block("a", width=4)), report(STEM, *block("b", width=6)))
    assert states(diff) == {"a -> b": "renamed", "b.conv": "changed", "b.norm": "changed"}
    assert {c.path: dict(c.attributes) for c in diff.changes if c.attributes} == {
        "b.conv": {"width": (4, 6)},
        "b.norm": {"width": (4, 6)},
    }


def test_a_renamed_block_with_a_module_more_is_still_that_block():
    """Three of four modules in common."""
    more = [*block("b"), row("b.drop", "Dropout")]
    diff = compare(report(STEM, *block("a")), report(STEM, *more))
    assert states(diff) == {"a -> b": "renamed", "b.drop": "added"}


def test_blocks_with_little_in_common_are_removed_and_added():
    other = [row("b", "Block"), row("b.lin", "Linear", params=9), row("b.norm", "LayerNorm")]
    diff = compare(report(STEM, *block("a")), report(STEM, *other))
    assert set(states(diff).values()) == {"added", "removed"}
    assert folded(diff) == [
        ("removed", "a", 1, {"params": -6, "macs": -40}),
        ("added", "b", 1, {"params": 9}),
    ]


def test_an_insertion_into_a_numbered_list_renames_what_follows():
    def net(*classes: str) -> Report:
        return report(
            row("f", "Sequential"), *(row(f"f.{i}", c, params=len(c)) for i, c in enumerate(classes))
        )

    diff = compare(net("Conv2d", "ReLU", "Linear"), net("Conv2d", "BatchNorm2d", "ReLU", "Linear"))
    assert states(diff) == {"f.1": "added", "f.1 -> f.2": "renamed", "f.2 -> f.3": "renamed"}
    assert folded(diff) == [("added", "f.1", 1, {"params": 11}), ("renamed", "f.[2-3]", 2, {})]
    assert lines(diff)[1].old_path == "f.[1-2]"


def test_a_model_that_was_wrapped_has_moved_and_not_changed():
    inside = [row("net", "Inner"), *block("net.a"), *block("net.b", width=7)]
    diff = compare(report(*block("a"), *block("b", width=7)), report(*inside))
    assert states(diff) == {
        "net": "added",
        "a -> net.a": "renamed",
        "b -> net.b": "renamed",
    }
    assert [line.old_path for line in lines(diff) if line.state == "renamed"] == ["a", "b"]


def test_a_layer_with_params_that_moved_into_a_block_is_found():
    old = report(row("conv", "Conv2d", params=9, macs=90), HEAD)
    new = report(row("conv", "ConvBlock"), row("conv.0", "Conv2d", params=9, macs=90), HEAD)
    assert states(compare(old, new)) == {"conv": "added", "conv -> conv.0": "renamed"}


# ---- folding


def test_repeated_blocks_that_changed_alike_are_one_line():
    def net(width: int) -> Report:
        return report(
            row("layers", "ModuleList"), *(r for i in range(24) for r in block(f"layers.{i}", width=width))
        )

    diff = compare(net(4), net(5))
    assert folded(diff) == [
        ("changed", "layers.[0-23].conv", 24, {"params": 24, "macs": 240}),
        ("changed", "layers.[0-23].norm", 24, {}),
    ]


def test_repeats_may_have_a_name_before_their_number():
    def net(*widths: int) -> Report:
        return report(*(r for i, width in enumerate(widths) for r in block(f"layer_{i}", width=width)))

    assert folded(compare(net(4, 4, 4, 4), net(5, 5, 4, 4))) == [
        ("changed", "layer_[0-1].conv", 2, {"params": 2, "macs": 20}),
        ("changed", "layer_[0-1].norm", 2, {}),
    ]


def test_unchanged_repeats_beside_a_changed_one_are_said_to_be_the_same():
    def net(first: int) -> Report:
        widths = [first, 4, 4, 4]
        return report(
            row("layers", "ModuleList"),
            *(r for i, w in enumerate(widths) for r in block(f"layers.{i}", width=w)),
        )

    assert folded(compare(net(4), net(5))) == [
        ("changed", "layers.0.conv", 1, {"params": 1, "macs": 10}),
        ("changed", "layers.0.norm", 1, {}),
        ("same", "layers.[1-3]", 3, {}),
    ]


def test_added_repeats_are_one_line_with_everything_in_them():
    """A block has 6 params and 40 MACs; the last one is wider and has 3 params more."""

    def net(*widths: int) -> Report:
        rows = (r for i, width in enumerate(widths) for r in block(f"layer{i + 1}", width=width))
        return report(*rows)

    diff = compare(net(4), net(4, 4, 4, 7))
    assert folded(diff) == [("added", "layer[2-4]", 3, {"params": 21, "macs": 150})]
    assert lines(diff)[0].size == 4


def test_nested_repeats_multiply():
    def net(params: int) -> Report:
        rows = [row("stages", "ModuleList")]
        for stage in range(2):
            rows.append(row(f"stages.{stage}", "Sequential"))
            rows += [row(f"stages.{stage}.{i}", "Linear", params=params) for i in range(3)]
        return report(*rows)

    assert folded(compare(net(1), net(3))) == [("changed", "stages.[0-1].[0-2]", 6, {"params": 12})]


def test_at_a_depth_a_block_is_one_line_with_what_changed_in_it():
    old = report(STEM, row("s", "Sequential"), *block("s.0"), *block("s.1"))
    new = report(STEM, row("s", "Sequential"), *block("s.0", width=5), *block("s.1", width=7))
    diff = compare(old, new)
    assert folded(diff, depth=1) == [("changed", "s", 1, {"params": 4, "macs": 40})]
    assert folded(diff, depth=2) == [
        ("changed", "s.0", 1, {"params": 1, "macs": 10}),
        ("changed", "s.1", 1, {"params": 3, "macs": 30}),
    ]


def test_the_lines_add_up_to_the_totals():
    old = report(STEM, *block("a"), *block("b"), HEAD)
    new = report(replace(STEM, params=30), *block("a", width=9), *block("c", kind="Other"), HEAD)
    diff = compare(old, new)
    for name in ("params", "macs"):
        added = sum(line.differences.get(name, 0) for line in lines(diff))
        assert added == diff.total(name).difference


# ---- reasons


def test_reasons_put_changes_of_one_sort_together_largest_first():
    old = report(
        row("a", "Conv2d", macs=10, k=1), row("b", "Conv2d", macs=10, k=1), row("c", "Linear", macs=5, n=1)
    )
    new = report(
        row("a", "Conv2d", macs=30, k=3), row("b", "Conv2d", macs=20, k=3), row("c", "Linear", macs=9, n=2)
    )
    found = reasons(compare(old, new), "macs")
    assert [(r.difference, [c.path for c in r.changes], r.attributes) for r in found] == [
        (30, ["a", "b"], {"k": (1, 3)}),
        (4, ["c"], {"n": (1, 2)}),
    ]
    assert found[0].share == pytest.approx(30 / 34)


def test_values_that_are_not_the_same_for_all_are_left_out_of_a_reason():
    old = report(row("a", "Conv2d", macs=1, k=1), row("b", "Conv2d", macs=1, k=5))
    new = report(row("a", "Conv2d", macs=2, k=3), row("b", "Conv2d", macs=2, k=7))
    assert reasons(compare(old, new), "macs")[0].attributes == {"k": None}


def test_added_blocks_of_one_class_in_one_place_are_one_reason():
    old = report(row("layers", "ModuleList"), *block("layers.0"))
    new = report(row("layers", "ModuleList"), *(r for i in range(3) for r in block(f"layers.{i}")))
    (reason,) = reasons(compare(old, new), "params")
    assert (reason.difference, reason.share) == (12, 1.0)
    assert [change.path for change in reason.changes] == ["layers.1", "layers.2"]


def test_the_biggest_reason_is_of_the_figure_that_changed_most_in_relation():
    """MACs +1 of 1000, params +5 of 10."""
    old = report(row("a", "A", macs=1000), row("b", "B", params=10))
    new = report(row("a", "A", macs=1001), row("b", "B", params=15))
    reason = biggest(compare(old, new))
    assert reason is not None
    assert (reason.figure, reason.changes[0].path, reason.difference) == ("params", "b", 5)


def test_changes_that_cancel_out_have_no_share():
    old = report(row("a", "A", macs=10), row("b", "B", macs=10))
    new = report(row("a", "A", macs=15), row("b", "B", macs=5))
    assert [(r.difference, r.share) for r in reasons(compare(old, new), "macs")] == [(5, None), (-5, None)]


# ---- what is compared with what


def test_the_case_says_what_was_counted_otherwise():
    other = replace(
        CASE, arguments={"width": 2}, batch=8, inputs=(replace(CASE.inputs[0], shape=(8, 3, 8, 8)),)
    )
    assert compare(report(STEM), report(STEM, case=other)).case_differences == {
        "batch": (1, 8),
        "input": ("1x3x8x8:float32", "8x3x8x8:float32"),
        "argument width": (None, "2"),
    }


def test_figures_of_another_convention_are_not_comparable():
    diff = compare(
        report(STEM), replace(report(STEM), convention={"macs": 2, "memory": 4, "torchsummary": 1})
    )
    assert diff.not_comparable == {"macs": (1, 2)}
    assert not diff.is_empty


def test_more_uncounted_ops_are_a_difference():
    diff = compare(report(STEM, uncounted={"aten.a": 1, "aten.b": 2}), report(STEM, uncounted={"aten.b": 3}))
    assert diff.uncounted_ops == {"aten.a": (1, 0), "aten.b": (2, 3)}
    assert not diff.is_empty


def test_what_only_one_report_knows_of_the_memory_changes_no_layer():
    known = report(
        replace(STEM, saved_for_backward_bytes=64), saved_for_backward_bytes=64, training_peak_bytes=9
    )
    diff = compare(report(STEM), known)
    assert states(diff) == {}
    assert diff.total("training_peak_bytes") == replace(diff.total("training_peak_bytes"), old=None, new=9)


# ---- real models


def of(model: str, **arguments: object) -> Report:
    return Report.of(modelsum.summarize(model, input_size=(3, 224, 224), model_args=arguments, memory=False))


def test_resnet50_v1_against_v1_5():
    """The stride of a stage's first block on its 1x1 (v1) or its 3x3 convolution (v1.5).

    With stride 1 the 1x1 sees four times as many positions: of the MACs 56*56*256*128 = 102,760,448 it had a
    quarter, so it has 77,070,336 more; so do layer3 (28*28*512*256) and layer4 (14*14*1024*512), which are
    the same product.
    """
    diff = compare(of("resnet50", stride_in_1x1=True), of("resnet50"))
    macs = diff.total("macs")
    assert (macs.old, macs.new, macs.difference) == (3_857_973_248, 4_089_184_256, 231_211_008)
    assert {c.path: c.difference("macs") for c in diff.changes if c.difference("macs")} == {
        "layer2.0.conv1": 77_070_336,
        "layer3.0.conv1": 77_070_336,
        "layer4.0.conv1": 77_070_336,
    }
    attributes = {c.path: dict(c.attributes) for c in diff.changes if c.attributes}
    to_one, to_two = {"stride": ([2, 2], [1, 1])}, {"stride": ([1, 1], [2, 2])}
    assert attributes == {
        f"layer{stage}.0.{conv}": change
        for stage in (2, 3, 4)
        for conv, change in (("conv1", to_one), ("conv2", to_two))
    }
    reason = biggest(diff)
    assert reason is not None
    assert (reason.figure, reason.difference, reason.share) == ("macs", 231_211_008, 1.0)
    assert [c.path for c in reason.changes] == ["layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1"]


def test_resnet101_has_seventeen_blocks_more_in_layer3():
    """Table 1 of the paper: 6 blocks in conv4_x of 50 layers, 23 of 101 layers."""
    diff = compare(of("resnet50"), of("resnet101"))
    params = 1024 * 256 + 256 * 256 * 9 + 256 * 1024 + 2 * (256 + 256 + 1024)
    macs = 14 * 14 * (1024 * 256 + 256 * 256 * 9 + 256 * 1024)
    assert folded(diff) == [
        ("same", "layer3.[0-5]", 6, {}),
        ("added", "layer3.[6-22]", 17, {"params": 17 * params, "macs": 17 * macs}),
    ]


@pytest.mark.parametrize("blocks", [500, 2500])
def test_thousands_of_modules_are_matched_in_near_linear_time(blocks: int):
    """10,000 modules with a changed block and an inserted one in the middle take a few seconds at most."""

    def net(number: int, wide: int) -> Report:
        widths = [8 if i == wide else 4 for i in range(number)]
        return report(
            row("f", "Sequential"), *(r for i, w in enumerate(widths) for r in block(f"f.{i}", width=w))
        )

    old, new = net(blocks, blocks // 4), net(blocks + 1, blocks // 2)
    start = time.process_time()
    diff = compare(old, new)
    assert lines(diff)
    assert time.process_time() - start < 0.002 * 4 * blocks
    assert sum(line.differences.get("params", 0) for line in lines(diff)) == 6
