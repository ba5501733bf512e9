"""Models side by side: figures, ratios, the largest and the smallest, and what they were counted for."""

from __future__ import annotations

from dataclasses import replace

from hand_made_report import CASE, block, report, row

from modelsum.baselines import comparison as sections
from modelsum.baselines.comparison import Comparison, Figure, compare_models


def small_and_large() -> Comparison:
    """Two blocks of width 4 and a Linear of 40 params, beside three blocks of width 8."""
    small = report(
        row("s", "Sequential"), *block("s.0"), *block("s.1"), row("head", "Linear", params=40, macs=40)
    )
    large = report(row("s", "Sequential"), *(r for i in range(3) for r in block(f"s.{i}", width=8)))
    return compare_models(("small", "large"), (small, large))


def values(comparison: Comparison, section: str) -> dict[str, tuple[int | None, ...]]:
    return {figure.name: figure.values for figure in comparison.section(section)}


def test_totals_of_each_model_and_what_comes_from_them():
    """2 * (4 + 2) + 40 = 52 params and 2 * 40 + 40 = 120 MACs; 3 * (8 + 2) = 30 and 3 * 80 = 240."""
    totals = values(small_and_large(), sections.TOTALS)
    assert totals["params"] == (52, 30)
    assert totals["macs"] == (120, 240)
    assert totals["flops"] == (240, 480)
    assert totals["param_bytes"] == (208, 120)


def test_what_is_0_for_all_is_left_out():
    totals = values(small_and_large(), sections.TOTALS)
    assert "frozen_params" not in totals
    assert "buffers" not in totals
    assert values(small_and_large(), sections.MEMORY) == {}


def test_frozen_params_are_those_that_are_not_trainable():
    frozen = report(replace(row("a", "A", params=10), trainable_params=4))
    assert values(compare_models(("a", "b"), (frozen, report())), sections.TOTALS)["frozen_params"] == (6, 0)


def test_kinds_of_layers_the_kind_with_the_most_first():
    comparison = small_and_large()
    assert values(comparison, sections.PARAMS) == {
        "Linear": (40, 0),
        "Conv2d": (8, 24),
        "BatchNorm2d": (4, 6),
    }
    assert list(values(comparison, sections.PARAMS)) == ["Linear", "Conv2d", "BatchNorm2d"]
    assert values(comparison, sections.MACS) == {"Conv2d": (80, 240), "Linear": (40, 0)}


def test_layers_are_modules_not_calls_without_root_and_containers():
    twice = report(row("a", "Linear"), row("a", "Linear", call=2), row("s", "Sequential"), row("s.0", "ReLU"))
    assert values(compare_models(("a", "b"), (twice, twice)), sections.LAYERS) == {
        "Linear": (1, 1),
        "ReLU": (1, 1),
    }


def test_the_sizes_of_torchsummary_take_4_bytes_for_every_element():
    """10 params are 40 bytes; of the 1000 in all 360 are of outputs, so the input has 600."""
    one = report(row("a", "A", params=10, sizes=360), torchsummary_total_bytes=1000, torchsummary_rows=1)
    assert values(compare_models(("a", "b"), (one, one)), sections.TORCHSUMMARY) == {
        "torchsummary_rows": (1, 1),
        "torchsummary_input_bytes": (600, 600),
        "forward_backward_bytes": (360, 360),
        "torchsummary_params_bytes": (40, 40),
        "torchsummary_total_bytes": (1000, 1000),
    }


def test_ratios_are_to_the_first_model():
    figure = Figure("totals", "macs", (100, 250, None, 0))
    assert figure.ratios == (1.0, 2.5, None, 0.0)
    assert Figure("totals", "macs", (0, 5)).ratios == (None, None)


def test_the_largest_and_the_smallest_are_known_unless_all_are_the_same():
    figure = Figure("totals", "macs", (3, None, 9, 3, 9))
    assert (figure.largest, figure.smallest) == ({2, 4}, {0, 3})
    same = Figure("totals", "macs", (3, 3, None))
    assert (same.largest, same.smallest) == (frozenset(), frozenset())


def test_memory_that_is_known_for_one_model_only():
    known = report(training_peak_bytes=512)
    assert values(compare_models(("a", "b"), (known, report())), sections.MEMORY) == {
        "training_peak_bytes": (512, None)
    }


def test_conditions_that_differ_are_named():
    other = replace(CASE, inputs=(replace(CASE.inputs[0], shape=(1, 3, 9, 9)),), dtype="float16")
    assert compare_models(("a", "b"), (report(), report(case=other))).different_conditions == (
        "inputs",
        "dtype",
    )
    assert small_and_large().different_conditions == ()


def test_memory_differs_by_what_was_asked_for_not_by_what_followed_from_the_model():
    adam = {"target": "cuda", "optimizer": "adam", "attention": "not used"}
    a, b, c = (
        report(case=replace(CASE, memory=adam | more))
        for more in ({}, {"attention": "flash"}, {"optimizer": "sgd"})
    )
    assert compare_models(("a", "b"), (a, b)).different_conditions == ()
    assert compare_models(("a", "c"), (a, c)).different_conditions == ("memory",)
