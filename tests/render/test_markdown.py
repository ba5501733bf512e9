"""The Markdown, whole."""

from __future__ import annotations

from dataclasses import replace

from hand_made_summary import MEMORY, TINY, failing

from modelsum.render import RenderOptions, render
from modelsum.summary import Baseline, Difference

WHOLE = """\
## nets.py:TinyNet

- Parameters: 440 (1.72 KiB), 16 of them frozen
- MACs: 11.33 K for a batch of 2, without the uncounted ops

| Layer | Output shape | Params | MACs |
| :--- | :--- | ---: | ---: |
| `features.0` (Conv2d) | [2, 8, 4, 4] | 224 | 6,912 |
| `features.1` (BatchNorm2d) | [2, 8, 4, 4] | 16 | 0 |
| `features.2` (ReLU) | [2, 8, 4, 4] | 0 | 0 |
| `block` (Residual) | [2, 8, 4, 4] | - | - |
| `block.conv` (Conv2d) | [2, 8, 4, 4] | 64 | 2,048 |
| `block.conv` (Conv2d) | [2, 8, 4, 4] | (reused) | 2,048 |
| `pool` (AdaptiveAvgPool2d) | [2, 8, 1, 1] | 0 | 0 |
| `fc` (Linear) | [2, 10] | 90 | 160 |
| `tied` (Linear) | [2, 10] | 10 (shared) | 160 |
| `aux` (Linear) | not executed | 36 | 0 |

| Totals |  |  |
| :--- | ---: | :--- |
| Total params | 440 | 1.72 KiB |
| Trainable params | 424 |  |
| Non-trainable params | 16 |  |
| MACs | 11,328 | 11.33 K, for the batch of 2 |
| FLOPs | 22,656 | 2 x MACs |
| Buffers | 17 | 72 B |

| torchsummary convention, in MB of 2\\*\\*20 bytes (not a prediction of memory) |  |
| :--- | ---: |
| Input size | 0.00 |
| Forward/backward | 0.01 |
| Params size | 0.00 |
| Estimated total | 0.01 |

**Uncounted ops: they do arithmetic that is not in MACs:**

- `aten.cumsum`: 12 x
- `aten._fft_r2c`: 1 x

- Model: nets.py:TinyNet (imported, class TinyNet), float32
- Input: [2, 3, 4, 4] float32
- Forward: eval mode, batch 2, on meta (computed from shapes, nothing was run)

> **Notice:** the weights are random
"""


def test_the_whole_markdown():
    assert render(TINY, "markdown", RenderOptions()) == WHOLE


def test_a_terminal_does_not_change_it():
    assert render(TINY, "markdown", RenderOptions(width=40, color=True)) == WHOLE


def test_a_changed_baseline_is_a_table():
    baseline = Baseline("changed", "table of Tiny", (Difference("params", 441, 440),))
    said = """\
| Estimated total | 0.01 |

**Baseline:** differs from the table of Tiny

| Figure | Documented | Now | Difference |
| :--- | ---: | ---: | ---: |
| Total params | 441 | 440 | -1 |
"""
    assert said in render(replace(TINY, baseline=baseline), "markdown", RenderOptions())


def test_a_forward_that_did_not_finish_is_said_ahead_of_the_table():
    assert render(failing(), "markdown", RenderOptions()).startswith(
        "## nets.py:TinyNet\n\n"
        "**The forward did not finish: MACs and sizes are those of the layers that ran. "
        "Params are complete.**\n\n| Layer |"
    )


def test_what_markdown_would_take_for_markup_is_escaped():
    layers = (replace(TINY.layers[4], parent=None, output_shapes=["<A|B>", "*"]),)
    text = render(replace(TINY, layers=layers), "markdown", RenderOptions())
    assert "| `features.2` (ReLU) | (&lt;A\\|B>, \\*) | 0 | 0 |" in text


def test_memory_is_two_columns_and_a_table():
    text = render(replace(TINY, memory=MEMORY), "markdown", RenderOptions(depth=1))
    assert "| Layer | Output shape | Params | MACs | Saved (training, KiB) | Peak (training, KiB) |\n" in text
    assert "| `block` (Residual) | [2, 8, 4, 4] | 64 | 4,096 | 2.00 | 9.28 |\n" in text
    assert "| Memory predicted for cuda, computed from shapes |  |  |\n" in text
    assert "| Training peak | 9.91 KiB | in the backward pass, at features.1 |\n" in text
    assert "|  |  | KiB: optimizer state 3.31, saved activations 2.56, weights 1.72," in text
    assert "> **Notice:** an example of a notice" in text
    assert "**Assumed:** optimizer: adamw (foreach, default settings); attention: not used" in text
