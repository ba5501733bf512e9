"""The text for people: complete in a pipe, fitted on a terminal, and never a figure lost."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hand_made_summary import LAYERS, MEMORY, TINY, failing

from modelsum.memory import ModuleMemory
from modelsum.render import RenderOptions, render
from modelsum.render.summary.rows import folded_at
from modelsum.summary import Baseline, Difference, Input, Model, Summary

HEAD = """\
Model:    nets.py:TinyNet (imported, class TinyNet), float32
Input:    [2, 3, 4, 4] float32
Forward:  eval mode, batch 2, on meta (computed from shapes, nothing was run)
"""

WHOLE = f"""\
{HEAD}---------------------------------------------------------------------------
Layer                                      Output shape       Params   MACs
===========================================================================
features.0 (Conv2d)                        [2, 8, 4, 4]          224  6,912
features.1 (BatchNorm2d)                   [2, 8, 4, 4]           16      0
features.2 (ReLU)                          [2, 8, 4, 4]            0      0
block (Residual)                           [2, 8, 4, 4]            -      -
block.conv (Conv2d)                        [2, 8, 4, 4]           64  2,048
block.conv (Conv2d)                        [2, 8, 4, 4]     (reused)  2,048
pool (AdaptiveAvgPool2d)                   [2, 8, 1, 1]            0      0
fc (Linear)                                [2, 10]                90    160
tied (Linear)                              [2, 10]       10 (shared)    160
aux (Linear)                               not executed           36      0
===========================================================================
Total params:         440  (1.72 KiB)
Trainable params:     424
Non-trainable params:  16
MACs:    11,328  (11.33 K, for the batch of 2)
FLOPs:   22,656  (2 x MACs)
Buffers:     17  (72 B)
---------------------------------------------------------------------------
torchsummary convention, in MB of 2**20 bytes (not a prediction of memory):
Input size: 0.00  Forward/backward: 0.01  Params size: 0.00
Estimated total: 0.01
---------------------------------------------------------------------------
Uncounted ops: they do arithmetic that is not in MACs:
  aten.cumsum    12 x
  aten._fft_r2c   1 x
---------------------------------------------------------------------------
Notice: the weights are random
---------------------------------------------------------------------------
Parameters:  440 (1.72 KiB), 16 of them frozen
MACs:        11.33 K for a batch of 2, without the uncounted ops
"""

FAILED = f"""\
{HEAD}---------------------------------------------------------------------------
Layer                        Output shape                     Params   MACs
===========================================================================
features.0 (Conv2d)          [2, 8, 4, 4]                        224  6,912
features.1 (BatchNorm2d)     [2, 8, 4, 4]                         16      0
features.2 (ReLU)            [2, 8, 4, 4]                          0      0
block (Residual)             [2, 8, 4, 4]                          -      -
block.conv (Conv2d)          [2, 8, 4, 4]                         64  2,048
block.conv (Conv2d)          [2, 8, 4, 4]                   (reused)  2,048
fc (Linear)                  failed; input [2, 8, 4, 4]           90      0
tied (Linear)                not executed                10 (shared)      0
aux (Linear)                 not executed                         36      0
===========================================================================
The forward did not finish: MACs and sizes are those of the layers that ran.
Params are complete.
---------------------------------------------------------------------------
Total params:         440  (1.72 KiB)
Trainable params:     424
Non-trainable params:  16
MACs:    11,008  (11.01 K, of the layers that ran)
FLOPs:   22,016  (2 x MACs)
Buffers:     17  (72 B)
---------------------------------------------------------------------------
torchsummary convention, in MB of 2**20 bytes (not a prediction of memory):
Input size: 0.00  Forward/backward: 0.01  Params size: 0.00
Estimated total: 0.01
"""

FITTED_TO_60 = """\
Model:    nets.py:TinyNet (imported, class TinyNet), float32
Input:    [2, 3, 4, 4] float32
Forward:  eval mode, batch 2, on meta (computed from shapes,
          nothing was run)
------------------------------------------------------------
Layer                     Output shape         Params   MACs
============================================================
features.0 (Conv2d)       [2, 8, 4, 4]            224  6,912
features.1 (BatchNorm2d)  [2, 8, 4, 4]             16      0
features.2 (ReLU)         [2, 8, 4, 4]              0      0
block (Residual)          [2, 8, 4, 4]              -      -
block.conv (Conv2d)       [2, 8, 4, 4]             64  2,048
block.conv (Conv2d)       [2, 8, 4, 4]       (reused)  2,048
\u2026ck.spatial_pyramid.pool  ([2, 8, 1, 1],            0      0
                          [2, 8, 2, 2],
                          \u2026 5 tensors
fc (Linear)               [2, 10]                  90    160
tied (Linear)             [2, 10]         10 (shared)    160
aux (Linear)              not executed             36      0
============================================================
Total params:         440  (1.72 KiB)
Trainable params:     424
Non-trainable params:  16
MACs:    11,328  (11.33 K, for the batch of 2)
FLOPs:   22,656  (2 x MACs)
Buffers:     17  (72 B)
------------------------------------------------------------
torchsummary convention, in MB of 2**20 bytes (not a
prediction of memory):
"""

# The unit of the columns is that of the largest figure: 10,152 bytes are 9.91 KiB. The saved bytes of a
# module that ran twice stand on the row of its first call.
WITH_MEMORY = f"""\
{HEAD}---------------------------------------------------------------------------
                                                              Training, KiB
Layer                       Output shape       Params   MACs    Saved  Peak
===========================================================================
features.0 (Conv2d)         [2, 8, 4, 4]          224  6,912     1.50  8.79
features.1 (BatchNorm2d)    [2, 8, 4, 4]           16      0     1.06  9.91
features.2 (ReLU)           [2, 8, 4, 4]            0      0     0.00     -
block (Residual)            [2, 8, 4, 4]            -      -        -  9.28
block.conv (Conv2d)         [2, 8, 4, 4]           64  2,048     2.00  9.28
block.conv (Conv2d)         [2, 8, 4, 4]     (reused)  2,048        -     -
pool (AdaptiveAvgPool2d)    [2, 8, 1, 1]            0      0     0.00     -
fc (Linear)                 [2, 10]                90    160     0.12  7.81
tied (Linear)               [2, 10]       10 (shared)    160     0.00     -
aux (Linear)                not executed           36      0     0.00     -
===========================================================================
Total params:         440  (1.72 KiB)
Trainable params:     424
Non-trainable params:  16
MACs:    11,328  (11.33 K, for the batch of 2)
FLOPs:   22,656  (2 x MACs)
Buffers:     17  (72 B)
---------------------------------------------------------------------------
Memory predicted for cuda, computed from shapes:
Saved for backward:   4.69 KiB
Inference peak:       4.16 KiB  (at block.conv)
Training peak:        9.91 KiB  (in the backward pass, at features.1)
  KiB: optimizer state 3.31, saved activations 2.56, weights 1.72, temporaries
  1.00, gradients 0.88, inputs 0.38, buffers 0.07
First step's peak:    6.60 KiB
Allocated in blocks: 10.00 KiB  (the caching allocator reserves 2.00 MiB)
Assumed: optimizer: adamw (foreach, default settings); else as usual
Notice: an example of a notice
---------------------------------------------------------------------------
torchsummary convention"""

ANSWER = """\
Parameters:  440 (1.72 KiB), 16 of them frozen
MACs:        11.33 K for a batch of 2
Inference:   4.16 KiB of live tensors, at block.conv
Training:    300.00 MiB to 1.76 GiB of device memory with adamw, float32, batch
             2; 9.91 KiB of live tensors at the peak, in the backward pass, at
             features.1
"""

DIFFERENCE = Baseline(
    "changed",
    "documented table of Tiny at 3x4x4",
    (
        Difference("params", 1441, 440),
        Difference("trainable_params", 424, 424),
        Difference("input_mb", 4.12, 4.12),
        Difference("forward_backward_mb", 2069.0, 2070.5),
        Difference("hooked_calls", 8, 9),
    ),
)

CHANGED = """\
Estimated total: 0.01
Baseline: differs from the documented table of Tiny at 3x4x4
Figure                 Documented      Now  Difference
Total params                1,441      440      -1,001
Trainable params              424      424           0
Input size (MB)              4.12     4.12           0
Forward/backward (MB)     2069.00  2070.50       +1.50
Hooked calls                    8        9          +1
-----"""

SEVERAL = tuple([(2, 8, size, size) for size in (1, 2, 3, 4, 6)])
PYRAMID = replace(
    LAYERS[8], path="neck.spatial_pyramid.pool", class_name="AveragePool", output_shapes=list(SEVERAL)
)


def text(summary: Summary, **options: object) -> str:
    return render(summary, "text", RenderOptions(**options))  # type: ignore[arg-type]


def with_layers(*layers: object) -> Summary:
    return replace(TINY, layers=layers)


def quiet(summary: Summary) -> Summary:
    return replace(summary, uncounted_ops={}, notices=())


def test_the_whole_text_in_a_pipe():
    assert text(TINY) == WHOLE


def test_a_terminal_that_is_wide_enough_shows_the_same():
    assert text(TINY, width=120) == WHOLE


def test_on_a_narrow_terminal_paths_keep_their_end_and_long_outputs_are_cut():
    summary = with_layers(*LAYERS[:8], PYRAMID, *LAYERS[9:])
    assert text(summary, width=60).startswith(FITTED_TO_60)


def test_in_a_pipe_nothing_is_cut():
    whole = text(with_layers(*LAYERS[:8], PYRAMID, *LAYERS[9:]))
    assert "neck.spatial_pyramid.pool (AveragePool)" in whole
    assert "([2, 8, 1, 1], [2, 8, 2, 2], [2, 8, 3, 3], [2, 8, 4, 4], [2, 8, 6, 6])" in whole


def test_where_there_is_no_room_for_both_the_class_goes_and_the_path_stays():
    long = replace(LAYERS[9], path="encoder.attention.output", class_name="A" * 40)
    shown = text(with_layers(*LAYERS[:9], long), width=60)
    assert "AAA" not in shown
    (line,) = [line for line in shown.splitlines() if "attention.output" in line]
    assert len(line) <= 60


def test_memory_has_two_columns_and_a_block_of_its_own():
    assert text(replace(TINY, memory=MEMORY)).startswith(WITH_MEMORY)


def test_the_text_ends_with_the_answer():
    """The process first, with what is assumed, then the live tensors and where they peak."""
    assert text(replace(quiet(TINY), memory=MEMORY)).endswith(ANSWER)


def test_the_answer_of_a_bound_says_at_least_and_that_of_the_cpu_has_no_process():
    bound = replace(MEMORY, unmeasured={"aten.grid_sampler_2d": 1})
    assert "at least 300.00 MiB of device memory with adamw" in text(replace(TINY, memory=bound))
    cpu = replace(MEMORY, target="cpu", process_bytes=None)
    last = "Training:    9.91 KiB of live tensors with adamw, float32, batch 2, in the\n"
    assert last in text(replace(TINY, memory=cpu))


def test_what_is_assumed_as_usual_is_named_with_all_alone():
    memory = replace(TINY, memory=MEMORY)
    assert "else as usual" in text(memory)
    assert "adamw (foreach, default settings); attention: not used" in text(memory, every=True)


def test_a_large_peak_is_shown_in_a_unit_in_which_layers_differ():
    """1.5 GiB as 1,536.00 MiB: what single layers save would be 0.00 GiB; 200 GiB are in GiB."""
    for peak, shown in ((3 << 29, "1,536.00"), (200 << 30, "200.00")):
        memory = replace(MEMORY, training=replace(MEMORY.training, bytes=peak))
        memory = replace(memory, modules={"": ModuleMemory(0, 0, peak)})
        assert shown in text(replace(TINY, memory=memory), depth=0).splitlines()[7]


def test_memory_without_training_is_that_of_inference():
    memory = replace(MEMORY, saved_for_backward_bytes=None, training=None, first_step=None)
    shown = text(replace(TINY, memory=memory))
    assert "Training peak" not in shown
    assert "Saved for backward" not in shown
    assert "Inference, KiB\n" in shown
    assert "  KiB: temporaries 2.00, weights 1.72, inputs 0.38, buffers 0.07\n" in shown
    assert "Inference:   300.00 MiB to 1.76 GiB of device memory; 4.16 KiB of live tensors\n" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("depth", [None, 1])
def test_no_line_is_wider_than_the_terminal_and_every_figure_is_there(width: int, depth: int | None):
    big = [
        replace(
            layer,
            path=f"{layer.path}.a_rather_long_name_for_a_layer",
            counted_params=layer.counted_params * 1_000_003,
            own_macs=layer.own_macs * 1_000_003,
        )
        for layer in LAYERS[1:]
    ]
    summary = with_layers(LAYERS[0], *big)
    lines = text(summary, width=width, depth=depth).splitlines()
    assert max(map(len, lines)) <= width
    table = "\n".join(
        lines[: next(place for place, line in enumerate(lines) if line.startswith("Total params"))]
    )
    for row in folded_at(summary.layers, depth):
        assert not row.params or f"{row.params:,}" in table
        assert not row.macs or f"{row.macs:,}" in table


def test_the_sentences_below_are_wrapped_on_a_terminal_and_whole_in_a_pipe():
    notice = "ran on the CPU: the model looks at the values of a tensor, which the meta device does not have"
    summary = replace(TINY, notices=(notice,))
    assert (
        "\nNotice: ran on the CPU: the model looks at the values of a tensor, which the\n"
        "        meta device does not have\n"
    ) in text(summary, width=80)
    assert f"\nNotice: {notice}\n" in text(summary)


def test_colour_changes_no_character():
    coloured = text(TINY, width=80, color=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == WHOLE.splitlines()


def test_without_colour_there_are_no_escape_codes():
    assert "\x1b" not in text(TINY, width=80)


def test_a_forward_that_did_not_finish_is_said_below_the_rows_that_ran():
    assert text(failing(), width=80).startswith(FAILED)


def test_a_changed_baseline_lists_every_figure():
    assert CHANGED in text(replace(quiet(TINY), baseline=DIFFERENCE))


def test_a_matching_baseline_is_one_line():
    match = Baseline("match", "documented table of Tiny at 3x4x4", (Difference("params", 440, 440),))
    said = "Estimated total: 0.01\nBaseline: matches the documented table of Tiny at 3x4x4\n-----"
    assert said in text(replace(quiet(TINY), baseline=match))


def test_a_table_for_another_input_is_mentioned_with_the_command_that_compares():
    other = Baseline("none", "documented table of Tiny at 3x600x600", input="3x600x600")
    said = (
        "Baseline: none for this input; `modelsum show nets.py:TinyNet --input 3x600x600`\n"
        "          compares with the documented table of Tiny at 3x600x600\n"
    )
    assert said in text(replace(quiet(TINY), baseline=other))


def test_without_a_table_the_text_has_no_baseline():
    assert "Baseline" not in text(TINY)


def test_where_the_figures_come_from_when_the_model_really_ran():
    ran = replace(
        TINY,
        model=Model(None, "object", "TinyNet"),
        inputs=(Input("image", (3, 4, 4), "float16"), Input("steps", (), "int64")),
        mode="train",
        device="cuda:0",
        dtype="float16",
        batch=None,
    )
    assert text(ran).startswith("""\
Model:    TinyNet (module object), float16
Input:    image: [3, 4, 4] float16
Input:    steps: [] int64
Forward:  train mode, batch in the shapes as given, on cuda:0 (really run)
""")


def test_the_macs_of_one_sample_and_those_below_a_thousand_need_no_note():
    one = replace(TINY, batch=1, totals=replace(TINY.totals, macs=432))
    assert "MACs:    432\n" in text(one)


def test_packed_params_are_said_where_there_are_any():
    packed = replace(TINY, totals=replace(TINY.totals, packed_params=1200))
    assert "Packed params:        1,200  (of quantised modules, not in params)\n" in text(packed)
