"""Summaries built by hand, every figure derived here, for the tests of what takes a finished Summary.

The network, for a batch of 2 images of 3x4x4:

    features.0  Conv2d(3, 8, 3, padding=1)   8*3*3*3 + 8 = 224 params, 2*16*8*27 = 6912 MACs; out 2*8*4*4
    features.1  BatchNorm2d(8), frozen       16 params; buffers 8 + 8 + 1 = 17, 8*4 + 8*4 + 8 = 72 bytes
    features.2  ReLU
    block.conv  Conv2d(8, 8, 1, bias=False)  8*8 = 64 params, 2*16*64 = 2048 MACs a call; called twice
    pool        AdaptiveAvgPool2d            out 2*8 = 16
    fc          Linear(8, 10)                8*10 + 10 = 90 params, 2*80 = 160 MACs, out 20
    tied        Linear(8, 10)                the weight is fc's, the bias its own: 10 params of 90; 160 MACs
    aux         Linear(8, 4)                 4*8 + 4 = 36 params, never called

params 224 + 16 + 64 + 90 + 10 + 36 = 440, of which 16 are frozen; MACs 6912 + 2*2048 + 160 + 160 = 11328.
MEMORY is what a training step of it might take: saved by features.0 1536, by features.1 1024 + 64 of its own
statistics, by block.conv 2048 in two calls, by fc 64 + 64: 4800 bytes in all.

torchsummary counts nine calls with 6*256 + 16 + 20 + 20 = 1592 elements: 2*4*1592 = 12736 bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelsum.memory import Memory, ModuleMemory, Peak
from modelsum.summary import Input, Layer, Model, Summary, TorchsummaryTotals, Totals

MAP = (2, 8, 4, 4)


def _layer(path: str, class_name: str, parent: int | None, exit_order: int | None, **given: Any) -> Layer:
    values: dict[str, Any] = {
        "call": 1,
        "depth": path.count(".") + 1 if path else 0,
        "container": class_name == "Sequential",
        "group": False,
        "failed": False,
        "input_shapes": [MAP],
        "output_shapes": MAP,
        "own_params": 0,
        "own_trainable_params": given.get("own_params", 0),
        "own_macs": 0,
        "output_elements": 256,
        "reused": False,
    } | given
    values.setdefault("params", values["own_params"])
    values.setdefault("trainable_params", values["own_trainable_params"])
    values.setdefault("counted_params", values["own_params"])
    values.setdefault("macs", values["own_macs"])
    values.setdefault("output_bytes", 4 * values["output_elements"])
    return Layer(path=path, class_name=class_name, parent=parent, exit_order=exit_order, **values)


_NOT_CALLED = {"call": 0, "input_shapes": None, "output_shapes": None, "output_elements": 0}

LAYERS = (
    _layer(
        "",
        "TinyNet",
        None,
        10,
        input_shapes=[(2, 3, 4, 4)],
        output_shapes={"logits": (2, 10), "tied": [(2, 10), None]},
        params=440,
        trainable_params=424,
        macs=11328,
        output_elements=40,
    ),
    _layer(
        "features",
        "Sequential",
        0,
        3,
        input_shapes=[(2, 3, 4, 4)],
        params=240,
        trainable_params=224,
        macs=6912,
    ),
    _layer("features.0", "Conv2d", 1, 0, input_shapes=[(2, 3, 4, 4)], own_params=224, own_macs=6912),
    _layer("features.1", "BatchNorm2d", 1, 1, own_params=16, own_trainable_params=0),
    _layer("features.2", "ReLU", 1, 2),
    _layer("block", "Residual", 0, 6, params=64, trainable_params=64, macs=4096),
    _layer("block.conv", "Conv2d", 5, 4, own_params=64, own_macs=2048),
    _layer("block.conv", "Conv2d", 5, 5, call=2, own_params=64, counted_params=0, own_macs=2048, reused=True),
    _layer("pool", "AdaptiveAvgPool2d", 0, 7, output_shapes=(2, 8, 1, 1), output_elements=16),
    _layer(
        "fc",
        "Linear",
        0,
        8,
        input_shapes=[(2, 8)],
        output_shapes=(2, 10),
        own_params=90,
        own_macs=160,
        output_elements=20,
    ),
    _layer(
        "tied",
        "Linear",
        0,
        9,
        input_shapes=[(2, 8)],
        output_shapes=(2, 10),
        own_params=90,
        counted_params=10,
        own_macs=160,
        output_elements=20,
    ),
    _layer("aux", "Linear", 0, None, own_params=36, **_NOT_CALLED),
)

#: The whole network; it also did something that has no rule.
TINY = Summary(
    model=Model("nets.py:TinyNet", "imported", "TinyNet"),
    inputs=(Input(None, (2, 3, 4, 4), "float32"),),
    mode="eval",
    device="meta",
    dtype="float32",
    batch=2,
    executed=True,
    totals=Totals(
        params=440,
        trainable_params=424,
        param_bytes=1760,
        buffers=17,
        buffer_bytes=72,
        packed_params=0,
        macs=11328,
        input_bytes=384,
        module_calls=11,
    ),
    torchsummary=TorchsummaryTotals(rows=9, input_bytes=384, forward_backward_bytes=12736, params_bytes=1760),
    layers=LAYERS,
    uncounted_ops={"aten.cumsum": 12, "aten._fft_r2c": 1},
    notices=("the weights are random",),
    made_with={"modelsum": "0.1.0", "torch": "2.14.1", "python": "3.11.2"},
)

_PARTS = {
    "weights": 1760,
    "buffers": 72,
    "gradients": 896,
    "optimizer_state": 3392,
    "saved_activations": 2624,
    "temporaries": 1024,
    "inputs": 384,
}
_WITHOUT_GRADIENTS = dict.fromkeys(_PARTS, 0) | {
    "weights": 1760,
    "buffers": 72,
    "temporaries": 2048,
    "inputs": 384,
}
#: Predicted for CUDA; the parts of the training peak add up to 10,152 bytes, of the inference peak to 4,264.
MEMORY = Memory(
    kind="predicted",
    target="cuda",
    saved_for_backward_bytes=4800,
    inference=Peak(4264, _WITHOUT_GRADIENTS, "forward", "block.conv"),
    training=Peak(10152, _PARTS, "backward", "features.1"),
    first_step=Peak(6760, _PARTS | {"optimizer_state": 0}, "backward", "features.1"),
    phase_peak_bytes={"forward": 9500, "backward": 10152, "optimizer step": 7000},
    allocated_bytes=10240,
    reserved_bytes=2 << 20,
    process_bytes=(300 << 20, 1800 << 20),
    modules={
        "": ModuleMemory(4800, 0, 10152),
        "features": ModuleMemory(2624, 0, 10152),
        "features.0": ModuleMemory(1536, 1536, 9000),
        "features.1": ModuleMemory(1088, 1088, 10152),
        "block": ModuleMemory(2048, 0, 9500),
        "block.conv": ModuleMemory(2048, 2048, 9500),
        "fc": ModuleMemory(128, 128, 8000),
    },
    assumptions={"optimizer": "adamw (foreach, default settings)", "attention": "not used"},
    notices=("an example of a notice",),
)


def failing() -> Summary:
    """TINY where `pool` is missing: `fc` was given the map and raised, and nothing ran after it."""
    raised = {"exit_order": None, "output_shapes": None, "output_elements": 0, "output_bytes": 0}
    root, *inner, _, fc, tied, aux = LAYERS
    not_called = replace(tied, **raised, call=0, input_shapes=None, own_macs=0, macs=0)
    return replace(
        TINY,
        executed=False,
        totals=replace(TINY.totals, macs=6912 + 2 * 2048, module_calls=9),
        torchsummary=replace(TINY.torchsummary, rows=6, forward_backward_bytes=2 * 4 * 6 * 256),
        layers=(
            replace(root, **raised, macs=6912 + 2 * 2048),
            *inner,
            replace(fc, **raised, failed=True, input_shapes=[MAP], own_macs=0, macs=0),
            not_called,
            aux,
        ),
        uncounted_ops={},
        notices=(),
    )
