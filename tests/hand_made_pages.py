"""Summaries for the tests of pages: one with a memory over its step, and one with ten thousand layers."""

from __future__ import annotations

from dataclasses import fields, replace

from hand_made_report import block, report, row
from hand_made_summary import LAYERS, MEMORY, TINY

from modelsum.baselines.changes.changes import Diff, compare
from modelsum.baselines.comparison import Comparison, compare_models
from modelsum.baselines.gate.verdict import Cause, Finding, Outcome, Standing, Verdict
from modelsum.memory.fitting.fit import Fit, Need, Room, Way
from modelsum.memory.ranks.arrangements import Arrangement, Arrangements, Refusal
from modelsum.memory_values import ModuleMemory, Point, Rank, Traffic
from modelsum.summary import Summary, Totals

_NOTHING = dict.fromkeys(MEMORY.peak.parts, 0) | {"weights": 1760, "buffers": 72, "inputs": 384}


def _point(event: int, phase: str, module: str, op: str = "", **parts: int) -> Point:
    return Point(event, phase, module, _NOTHING | parts, op)


#: The step of TINY in seven moments; the peak is that of MEMORY, 10,152 bytes.
TIMELINE = (
    _point(0, "forward", "features.0", "aten.convolution", saved_activations=1024),
    _point(1, "forward", "features.1", "aten.native_batch_norm", saved_activations=2048),
    _point(2, "forward", "block.conv", "aten.convolution", saved_activations=2624),
    _point(4, "backward", "block.conv", "aten.convolution_backward", saved_activations=2624, gradients=256),
    Point(6, "backward", "features.1", MEMORY.peak.parts, "aten.add"),
    _point(7, "backward", "features.0", "aten.convolution_backward", gradients=896, optimizer_state=3392),
    _point(9, "optimizer step", "", "", gradients=896, optimizer_state=3392, temporaries=896),
)
WITH_STEP = replace(TINY, memory=replace(MEMORY, timeline=TIMELINE))

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def hostile() -> Summary:
    """A model whose author writes HTML wherever something is written."""
    layers = [replace(LAYERS[0], class_name=HOSTILE), *LAYERS[1:]]
    layers[4] = replace(layers[4], path=f"features.{HOSTILE}", output_shapes=HOSTILE, class_name=HOSTILE)
    model = replace(TINY.model, spec=HOSTILE, class_name=HOSTILE)
    return replace(WITH_STEP, model=model, layers=tuple(layers), notices=(HOSTILE,))


def large(blocks: int = 1000, inside: int = 9) -> Summary:
    """A root and so many blocks of `inside` layers, no two alike, with figures as large as a real model's."""
    layers = [replace(LAYERS[0], own_params=0)]
    modules = {}
    for number in range(blocks):
        path = f"encoder_layers.{number}"
        parent = len(layers)
        layers.append(replace(LAYERS[5], path=path, depth=2, parent=0, class_name="TransformerEncoderLayer"))
        for place in range(inside):
            size = 1_000_000 + 1_000 * number + place
            figures = {"own_params": size, "counted_params": size, "own_macs": 128 * size, "params": size}
            inner = f"{path}.projection{place}"
            layers.append(
                replace(LAYERS[9], path=inner, depth=3, parent=parent, output_shapes=(8, 128, 768), **figures)
            )
            modules[inner] = ModuleMemory(4 * size, 4 * size, 100_000_000_000 - 97 * size)
    points = [
        Point(
            3 * n,
            "forward" if n < 200 else "backward",
            f"encoder_layers.{n % blocks}.projection0",
            _NOTHING | {"saved_activations": 10_000_019 * min(n, 400 - n)},
        )
        for n in range(400)
    ]
    params = sum(layer.counted_params for layer in layers)
    macs = sum(layer.own_macs for layer in layers)
    totals = Totals(params, params, 4 * params, 0, 0, 0, macs, 384, len(layers))
    memory = replace(MEMORY, modules=modules, timeline=tuple(points))
    return replace(TINY, layers=tuple(layers), totals=totals, memory=memory)


# ---- the other kinds of pages


def comparison() -> Comparison:
    """A Linear beside a Conv2d."""
    linear = report(row("a", "Linear", params=1000, macs=2000), training_peak_bytes=3 << 20)
    conv = report(row("a", "Conv2d", params=360, macs=25_000), uncounted={"aten.cumsum": 2})
    return compare_models(("linear", "conv"), (linear, conv))


def diff() -> Diff:
    """Three blocks that become wider and two more of them; the head stays."""
    head = row("head", "Linear", params=10, macs=10)
    old = report(*(r for n in range(3) for r in block(f"blocks.{n}")), head)
    new = report(*(r for n in range(5) for r in block(f"blocks.{n}", width=6)), head)
    return compare(old, new, ("main:net", "net"))


def outcome() -> Outcome:
    """A check that is red, one that is warned of, one that could not be built, and one that is fine."""
    macs = Finding("macs", False, "regressed", "error", 100, 140, most=110, rule="tolerance 10%")
    limits = (Standing("macs", False, 140, 150), Standing("training_peak", True, 3 << 20, 2 << 20))
    causes = (Cause("blocks.0.conv", "stride 2x2 => 1x1", {"macs": 40}),)
    red = Verdict(
        "red", "regressed", "error", findings=(macs,), causes=causes, limits=limits, message="see docs"
    )
    warned = Verdict("warned", "regressed", "warn", findings=(replace(macs, severity="warn"),))
    failed = Verdict("broken", "failed", "error", reason="its constructor failed", exit_code=3)
    return Outcome((red, warned, failed, Verdict("fine", "ok")), "the baselines in reports")


def fit() -> Fit:
    """Batches of TINY in 1 MiB: 10 KiB each and 100 KiB more, of which a tenth may not be needed."""

    def need(batch: int) -> Need:
        most = 102_400 + 10_240 * batch
        return Need(batch, most, most * 9 // 10, replace(MEMORY.peak, bytes=most // 2))

    way = Way("--amp bf16", "matmuls in bfloat16", need(60), 150)
    return Fit(
        *(TINY.model, TINY.inputs, "float32", "training", "cuda", Room(1 << 20, "1MiB")),
        batch=92,
        least_batch=1,
        bounded=False,
        optimistic_batch=103,
        below=need(92),
        above=need(93),
        asked=None,
        fixed_bytes=1832,
        ways=(way,),
        predictions=9,
        curve=tuple(map(need, (1, 8, 92, 93, 103))),
    )


def ranks() -> Summary:
    """TINY as two ranks that hold a half of its weights, and two that hold a quarter."""
    known = {field.name: getattr(MEMORY, field.name) for field in fields(MEMORY) if field.name != "ranks"}
    sent = {"all_gather": Traffic(3, 4096, 4096)}
    shards = {"weights": 880, "gradients": 880, "optimizer_state": 1760}
    first = Rank(**known, ranks=(0, 1), place={"dp": 0}, shards=shards, communication=sent)
    second = replace(first, ranks=(2, 3), place={"dp": 2}, shards={n: s // 2 for n, s in shards.items()})
    return replace(WITH_STEP, memory=replace(MEMORY, timeline=TIMELINE, ranks=(first, second)))


def arrangements() -> Arrangements:
    """Two GPUs of 3 GiB: one way fits, one does not, one cannot."""
    peak = replace(MEMORY.peak, bytes=2 << 30, parts={"weights": 1 << 30, "gathered_weights": 1 << 30})
    need = Need(1, 5 << 29, 5 << 29, peak)
    tried = (
        Arrangement("--mesh dp=2", "dp=2", 2, need, 1 << 30, "exact", True, {"all_gather": Traffic(3, 8, 8)}),
        Arrangement("--mesh dp=2 --shard ddp", "dp=2", 2, None, 9 << 29, "lower", False),
    )
    refused = (Refusal(("--mesh tp=2",), "TINY has no plan for tensor parallelism"),)
    return Arrangements(
        *(TINY.model, TINY.inputs, "float32", "cuda", 2, Room(3 << 30, "3GiB"), 1, tried, refused)
    )


#: A value for each kind of page.
PAGES = {
    "show": lambda: WITH_STEP,
    "diff": diff,
    "compare": comparison,
    "check": outcome,
    "fit": fit,
    "ranks": ranks,
    "arrangements": arrangements,
}
