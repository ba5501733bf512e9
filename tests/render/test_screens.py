"""Whole screens of a model of equal blocks, at 80 and at 120 columns.

The network, for 2 samples of 16 tokens, float32, without biases:

    embed        Embedding(1000, 64)   64,000 params, no MACs
    layers.N     six blocks of
      attention  Linear(64, 64)        4096 params, 2 * 16 * 4096 = 131,072 MACs
      mlp        Linear(64, 256)       16,384 params, 524,288 MACs
    head         Linear(64, 1000)      64,000 params, 2,048,000 MACs

params 64,000 + 6 * 20,480 + 64,000 = 250,880, of 4 bytes; MACs 6 * 655,360 + 2,048,000 = 5,980,160. Each
Linear saves its input of 2 * 16 * 64 * 4 = 8192 bytes; the first block a mask of 4096 bytes more, so that it
is none of the equal ones. FLOPs are twice the MACs.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made_summary import LAYERS, MEMORY, TINY

from modelsum.memory_values import ModuleMemory, Peak
from modelsum.render import RenderOptions, render
from modelsum.summary import Baseline, Input, Layer, Model, Summary, TorchsummaryTotals, Totals

KIB, MIB = 1 << 10, 1 << 20


def layer(path: str, kind: str, parent: int, params: int = 0, macs: int = 0, out: int = 64) -> Layer:
    figures = {
        "own_params": params,
        "counted_params": params,
        "own_macs": macs,
        "output_shapes": (2, 16, out),
    }
    return replace(LAYERS[9], path=path, class_name=kind, parent=parent, depth=path.count(".") + 1, **figures)


def net() -> Summary:
    layers = [replace(LAYERS[0], class_name="Decoder"), layer("embed", "Embedding", 0, 64_000)]
    layers.append(replace(layer("layers", "ModuleList", 0), container=True, group=True))
    modules = {"embed": ModuleMemory(0, 0, 3000 * KIB)}
    for n in range(6):
        layers.append(layer(f"layers.{n}", "DecoderLayer", 2))
        block = len(layers) - 1
        layers.append(layer(f"layers.{n}.attention", "Linear", block, 4096, 131_072))
        layers.append(layer(f"layers.{n}.mlp", "Linear", block, 16_384, 524_288, out=256))
        saved = 12 * KIB if n == 0 else 8 * KIB
        modules[f"layers.{n}"] = ModuleMemory(saved + 8 * KIB, 0, (3100 + n) * KIB)
        modules[f"layers.{n}.attention"] = ModuleMemory(saved, saved, (3100 + n) * KIB)
        modules[f"layers.{n}.mlp"] = ModuleMemory(8 * KIB, 8 * KIB, (3000 + n) * KIB)
    layers.append(layer("head", "Linear", 0, 64_000, 2_048_000, out=1000))
    modules["head"] = ModuleMemory(8 * KIB, 8 * KIB, 4000 * KIB)
    parts = dict.fromkeys(MEMORY.peak.parts, 0) | {
        "weights": MIB,
        "optimizer_state": 2 * MIB,
        "gradients": MIB,
    }
    memory = replace(
        MEMORY,
        saved_for_backward_bytes=108 * KIB,
        inference=Peak(MIB + 64 * KIB, {"weights": MIB, "temporaries": 64 * KIB}, "forward", "head"),
        training=Peak(4 * MIB, parts, "backward", "layers.5.mlp"),
        first_step=Peak(4 * MIB, parts, "backward", "layers.5.mlp"),
        allocated_bytes=5 * MIB,
        reserved_bytes=20 * MIB,
        modules=modules,
        notices=(),
    )
    return replace(
        TINY,
        model=Model("decoder.py:Decoder", "imported", "Decoder"),
        inputs=(Input("tokens", (2, 16), "int64"),),
        layers=tuple(layers),
        totals=Totals(250_880, 250_880, 4 * 250_880, 0, 0, 0, 5_980_160, 256, 15),
        torchsummary=TorchsummaryTotals(20, 128, 3 * MIB, 4 * 250_880),
        memory=memory,
        baseline=Baseline("none", "documented table of Decoder at 64:int64", input="64:int64"),
        uncounted_ops={},
        notices=(),
    )


AT_80 = """\
Model:    decoder.py:Decoder (imported, class Decoder), float32
Input:    tokens: [2, 16] int64
Forward:  eval mode, batch 2, on meta (computed from shapes, nothing was run)
--------------------------------------------------------------------------------
                                                                   Training, MiB
Layer                            Output shape   Params       MACs    Saved  Peak
================================================================================
embed (Embedding)                [2, 16, 64]    64,000          0     0.00  2.93
layers.0 (DecoderLayer)          [2, 16, 64]         -          -        -  3.03
layers.0.attention (Linear)      [2, 16, 64]     4,096    131,072     0.01  3.03
layers.0.mlp (Linear)            [2, 16, 256]   16,384    524,288     0.01  2.93
layers.[1-5] (5 x DecoderLayer)  [2, 16, 64]         -          -        -  3.03
\u2026s.[1-5].attention (5 x Linear)  [2, 16, 64]    20,480    655,360     0.04  3.03
layers.[1-5].mlp (5 x Linear)    [2, 16, 256]   81,920  2,621,440     0.04  2.93
head (Linear)                    [2, 16, 1000]  64,000  2,048,000     0.01  3.91
================================================================================
8 of 20 rows: equal blocks as one; --all shows every row.
--------------------------------------------------------------------------------
Total params:         250,880  (980.00 KiB)
Trainable params:     250,880
Non-trainable params:       0
MACs:   5,980,160  (5.98 M, for the batch of 2)
FLOPs: 11,960,320  (2 x MACs)
--------------------------------------------------------------------------------
Memory predicted for cuda, computed from shapes:
Saved for backward:  108.00 KiB
Inference peak:        1.06 MiB  (at head)
Training peak:         4.00 MiB  (in the backward pass, at layers.5.mlp)
  MiB: optimizer state 2.00, weights 1.00, gradients 1.00
Allocated in blocks:   5.00 MiB  (the caching allocator reserves 20.00 MiB)
Assumed: optimizer: adamw (foreach, default settings); else as usual
--------------------------------------------------------------------------------
torchsummary convention, in MB of 2**20 bytes (not a prediction of memory):
Input size: 0.00  Forward/backward: 3.00  Params size: 0.96
Estimated total: 3.96
Baseline: none for this input; `modelsum show decoder.py:Decoder --input
          64:int64` compares with the documented table of Decoder at 64:int64
--------------------------------------------------------------------------------
Parameters:  250.9 K (980.00 KiB)
MACs:        5.98 M for a batch of 2
Inference:   1.06 MiB of live tensors, at head
Training:    300.00 MiB to 1.76 GiB of device memory with adamw, float32, batch
             2; 4.00 MiB of live tensors at the peak, in the backward pass, at
             layers.5.mlp
"""

AT_120 = """\
Model:    decoder.py:Decoder (imported, class Decoder), float32
Input:    tokens: [2, 16] int64
Forward:  eval mode, batch 2, on meta (computed from shapes, nothing was run)
------------------------------------------------------------------------------------
                                                                       Training, MiB
Layer                                Output shape   Params       MACs    Saved  Peak
====================================================================================
embed (Embedding)                    [2, 16, 64]    64,000          0     0.00  2.93
layers.0 (DecoderLayer)              [2, 16, 64]         -          -        -  3.03
layers.0.attention (Linear)          [2, 16, 64]     4,096    131,072     0.01  3.03
layers.0.mlp (Linear)                [2, 16, 256]   16,384    524,288     0.01  2.93
layers.[1-5] (5 x DecoderLayer)      [2, 16, 64]         -          -        -  3.03
layers.[1-5].attention (5 x Linear)  [2, 16, 64]    20,480    655,360     0.04  3.03
layers.[1-5].mlp (5 x Linear)        [2, 16, 256]   81,920  2,621,440     0.04  2.93
head (Linear)                        [2, 16, 1000]  64,000  2,048,000     0.01  3.91
====================================================================================
8 of 20 rows: equal blocks as one; --all shows every row.
------------------------------------------------------------------------------------
Total params:         250,880  (980.00 KiB)
Trainable params:     250,880
Non-trainable params:       0
MACs:   5,980,160  (5.98 M, for the batch of 2)
FLOPs: 11,960,320  (2 x MACs)
------------------------------------------------------------------------------------
Memory predicted for cuda, computed from shapes:
Saved for backward:  108.00 KiB
Inference peak:        1.06 MiB  (at head)
Training peak:         4.00 MiB  (in the backward pass, at layers.5.mlp)
  MiB: optimizer state 2.00, weights 1.00, gradients 1.00
Allocated in blocks:   5.00 MiB  (the caching allocator reserves 20.00 MiB)
Assumed: optimizer: adamw (foreach, default settings); else as usual
------------------------------------------------------------------------------------
torchsummary convention, in MB of 2**20 bytes (not a prediction of memory):
Input size: 0.00  Forward/backward: 3.00  Params size: 0.96  Estimated total: 3.96
Baseline: none for this input; `modelsum show decoder.py:Decoder --input 64:int64`
          compares with the documented table of Decoder at 64:int64
------------------------------------------------------------------------------------
Parameters:  250.9 K (980.00 KiB)
MACs:        5.98 M for a batch of 2
Inference:   1.06 MiB of live tensors, at head
Training:    300.00 MiB to 1.76 GiB of device memory with adamw, float32, batch 2;
             4.00 MiB of live tensors at the peak, in the backward pass, at
             layers.5.mlp
"""

TOP = """\
Layer                             Output shape        MACs           Of all MACs
================================================================================
layers.[1-5].mlp (5 x Linear)     [2, 16, 256]   2,621,440   43.8 % \u2588\u2588\u2588\u2588\u2588\u258e
head (Linear)                     [2, 16, 1000]  2,048,000   34.2 % \u2588\u2588\u2588\u2588\u258f
\u2026rs.[1-5].attention (5 x Linear)  [2, 16, 64]      655,360   11.0 % \u2588\u258d
================================================================================
3 of 8 rows, those with the most MACs: 89.0 % of all.
"""


@pytest.mark.parametrize(("width", "screen"), [(80, AT_80), (120, AT_120), (None, AT_120)])
def test_the_screen(width: int | None, screen: str) -> None:
    assert render(net(), "text", RenderOptions(width=width)) == screen


def test_the_screen_of_the_costliest() -> None:
    text = render(net(), "text", RenderOptions(width=80, top=3, sort="macs"))
    assert TOP in text
