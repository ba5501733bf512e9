"""What is said around the table: where the figures come from, totals, memory, and the answer in a few lines.

Plain words and figures, without a format: `text` and `markdown` lay them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelsum.memory.options import USUAL
from modelsum.memory_values import Memory, Peak
from modelsum.render.summary.cells import given, model_name
from modelsum.summary import Difference, Summary
from modelsum.units import binary_bytes, binary_unit, count, short_count, torchsummary_mb

CONVENTION = "torchsummary convention, in MB of 2**20 bytes (not a prediction of memory)"
ASSUMED = "Assumed"
TRAINING_MACS = "Training MACs"
UNCOUNTED = "Uncounted ops: they do arithmetic that is not in MACs"
UNFINISHED = (
    "The forward did not finish: MACs and sizes are those of the layers that ran. Params are complete."
)

_SOURCES = {"documented": "documented architecture", "imported": "imported", "object": "module object"}

_FIGURES = {
    "params": "Total params",
    "trainable_params": "Trainable params",
    "input_mb": "Input size (MB)",
    "forward_backward_mb": "Forward/backward (MB)",
    "params_mb": "Params size (MB)",
    "total_mb": "Estimated total (MB)",
    "hooked_calls": "Hooked calls",
}


class Fact(NamedTuple):
    """A figure or statement with its label, and what is said about it."""

    label: str
    value: str
    note: str = ""


def unfinished(summary: Summary) -> str | None:
    """What is said where the forward began and did not reach its end."""
    return UNFINISHED if summary.called and not summary.executed else None


def totals(summary: Summary) -> list[Fact]:
    """Params, buffers and MACs; exact, with what they come to."""
    total = summary.totals
    facts = [
        Fact("Total params", count(total.params), binary_bytes(total.param_bytes)),
        Fact("Trainable params", count(total.trainable_params)),
        Fact("Non-trainable params", count(total.frozen_params)),
    ]
    if total.packed_params:
        facts.append(Fact("Packed params", count(total.packed_params), "of quantised modules, not in params"))
    if total.active_params is not None:
        facts.append(Fact("Active params", count(total.active_params), "a token's, of all experts"))
    size = binary_bytes(total.buffer_bytes)
    buffers = [Fact("Buffers", count(total.buffers), size)] if total.buffers else []
    if total.macs is None or total.flops is None:
        return [*facts, *buffers]
    if not summary.executed:
        of_what = "of the layers that ran"
    elif summary.batch is not None and summary.batch > 1:
        of_what = f"for the batch of {count(summary.batch)}"
    else:
        of_what = ""
    facts += [
        Fact("MACs", count(total.macs), _note(_short(total.macs), of_what)),
        Fact("FLOPs", count(total.flops), _note("2 x MACs", _a_token(total.flops, total.tokens))),
        *buffers,
    ]
    if total.training_macs is not None:
        facts.append(_training_macs(summary, total.training_macs))
    return facts


def _training_macs(summary: Summary, macs: int) -> Fact:
    backward = f"a step, {short_count(summary.totals.backward_macs or 0)} of it backward"
    of_step = summary.memory.uncounted_ops if summary.memory else {}
    more = ", ".join(sorted(of_step.keys() - summary.uncounted_ops.keys()))
    return Fact(TRAINING_MACS, count(macs), _note(_short(macs), backward, more and f"without {more}"))


def _a_token(flops: int, tokens: int | None) -> str:
    return f"{short_count(round(flops / tokens))} a token" if tokens else ""


def _note(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _short(figure: int) -> str:
    return short_count(figure) if figure >= 1000 else ""  # below that the exact figure is as short


def convention(summary: Summary) -> list[Fact]:
    """The sizes of `CONVENTION`."""
    sizes = summary.torchsummary
    return [
        Fact("Input size", torchsummary_mb(sizes.input_bytes)),
        Fact("Forward/backward", torchsummary_mb(sizes.forward_backward_bytes)),
        Fact("Params size", torchsummary_mb(sizes.params_bytes)),
        Fact("Estimated total", torchsummary_mb(sizes.total_bytes)),
    ]


def memory_title(memory: Memory) -> str:
    """Which memory it is."""
    how = "computed from shapes" if memory.kind == "predicted" else "of a real run"
    return f"Memory {memory.kind} for {memory.target}, {how}"


def memory(memory: Memory) -> list[Fact]:
    """Peaks of inference and of a training step, the parts of that, and what they take of the device."""
    facts = [Fact("Inference peak", _peak(memory, memory.inference.bytes), _place(memory.inference))]
    if memory.training is not None and memory.saved_for_backward_bytes is not None:
        facts.insert(0, Fact("Saved for backward", binary_bytes(memory.saved_for_backward_bytes)))
        facts.append(Fact("Training peak", _peak(memory, memory.training.bytes), _place(memory.training)))
    facts.append(Fact("", "", _parts(memory.peak)))
    first = memory.first_step_peak_bytes
    if first is not None and first != memory.training_peak_bytes:
        facts.append(Fact("First step's peak", _peak(memory, first)))
    if memory.host_bytes is not None:
        note = "up to twice that where it is pinned"
        facts.append(Fact("Held by the host", _peak(memory, memory.host_bytes), note))
    facts += [Fact(f"Sent by {fact.label}", fact.value, fact.note) for fact in communication(memory)]
    if memory.allocated_bytes is not None and memory.reserved_bytes is not None:
        reserved = f"the caching allocator reserves {_peak(memory, memory.reserved_bytes)}"
        facts.append(Fact("Allocated in blocks", _peak(memory, memory.allocated_bytes), reserved))
    return facts


RANKS_HEADER = ("Ranks", "At", "Weights", "Gradients", "State", "Peak", "Reserved", "Sent a step")


def ranks(memory: Memory) -> list[tuple[str, ...]]:
    """A row for every distinct rank, under `RANKS_HEADER`; none without a mesh."""
    return [
        (
            _numbers(rank.ranks),
            ",".join(f"{name}={place}" for name, place in rank.place.items()),
            *(
                binary_bytes(rank.shards[part]) if part in rank.shards else ""
                for part in ("weights", "gradients", "optimizer_state")
            ),
            binary_bytes(rank.peak.bytes),
            binary_bytes(rank.reserved_bytes) if rank.reserved_bytes is not None else "",
            binary_bytes(sum(each.sent_bytes for each in rank.communication.values())),
        )
        for rank in memory.ranks
    ]


def communication(memory: Memory) -> list[Fact]:
    """What the rank that takes the most sends in a step, by collective."""
    if not memory.ranks:
        return []
    return [
        Fact(name.replace("_", "-"), binary_bytes(each.sent_bytes), f"{count(each.calls)} x")
        for name, each in memory.ranks[0].communication.items()
    ]


def _numbers(ranks: Sequence[int]) -> str:
    """The first and the last of ranks that follow each other; else the first, and how many there are."""
    if len(ranks) == 1 or ranks[-1] - ranks[0] + 1 != len(ranks):
        return f"{ranks[0]}" + (f" and {len(ranks) - 1} more" if len(ranks) > 1 else "")
    return f"{ranks[0]}-{ranks[-1]}"


def _peak(memory: Memory, size: int) -> str:
    return f">= {binary_bytes(size)}" if memory.bound == "lower" else binary_bytes(size)


def _parts(peak: Peak) -> str:
    """What is live at a peak, the most first, in one unit."""
    size, unit = binary_unit(peak.bytes)
    parts = sorted(peak.parts.items(), key=lambda part: -part[1])
    said = ", ".join(f"{name.replace('_', ' ')} {part / size:,.2f}" for name, part in parts if part)
    return f"{unit}: {said}"


def assumptions(memory: Memory, *, whole: bool = False) -> str:
    """What the memory figures take for granted; not what is as usual, unless it shall be `whole`."""
    said = [f"{n}: {v}" for n, v in memory.assumptions.items() if whole or USUAL.get(n) != v]
    return "; ".join(said if len(said) == len(memory.assumptions) else [*said, "else as usual"])


def _place(peak: Peak, phase: str = "") -> str:
    words = {"forward": phase, "backward": "in the backward pass"}.get(peak.phase, f"in the {peak.phase}")
    return _note(words, f"at {peak.module}" if peak.module else "")


def provenance(summary: Summary) -> list[Fact]:
    """Of which model, for what input, and how the figures were reached."""
    model = summary.model
    said = [_SOURCES.get(model.source, f"from {model.source}")]
    if model.spec is not None:
        said.append(f"class {model.class_name}")
    facts = [Fact("Model", f"{model_name(model)} ({', '.join(said)}), {summary.dtype}")]
    facts += [Fact("Input", given(each)) for each in summary.inputs]
    if not summary.called:
        return facts
    batch = "batch in the shapes as given" if summary.batch is None else f"batch {count(summary.batch)}"
    meta = summary.device == "meta"
    how = "computed from shapes, nothing was run" if meta else "really run"
    return [*facts, Fact("Forward", f"{summary.mode} mode, {batch}, on {summary.device} ({how})")]


# ---- the answer


def answer(summary: Summary) -> list[Fact]:
    """What a person repeats: parameters, MACs, and what inference and training take; empty without a call."""
    if not summary.called or not summary.executed:
        return []
    total, memory = summary.totals, summary.memory
    frozen = f", {short_count(total.frozen_params)} of them frozen" if total.frozen_params else ""
    facts = [Fact("Parameters", f"{short_count(total.params)} ({binary_bytes(total.param_bytes)}){frozen}")]
    given = "these inputs" if summary.batch is None else f"a batch of {count(summary.batch)}"
    missing = ", without the uncounted ops" if summary.uncounted_ops else ""
    step = f"; {short_count(total.training_macs)} for a training step" if total.training_macs else ""
    facts.append(Fact("MACs", f"{short_count(total.macs or 0)} for {given}{step}{missing}"))
    if memory is None:
        return facts
    facts.append(Fact("Inference", _needs(memory, memory.inference, memory.training is None)))
    if memory.training is None:
        return facts
    return [*facts, Fact("Training", _needs(memory, memory.training, True, _assumed(summary, memory)))]


def _needs(memory: Memory, peak: Peak, of_process: bool, assumed: str = "") -> str:
    """What it takes of the device, what for, and where that is."""
    at_least = "at least " if memory.bound == "lower" else ""
    where = _place(peak, "in the forward pass" if assumed else "")
    live = f"{at_least}{binary_bytes(peak.bytes)} of live tensors"
    if not of_process or memory.process_bytes is None:
        return _note(f"{live}{assumed}", where)
    least, most = map(binary_bytes, memory.process_bytes)
    if memory.ranks:  # NCCL's buffers come on top, which nobody has measured here
        at_least = "at least "
    device = f"{at_least}{least}" if at_least else f"{least} to {most}"
    return f"{device} of device memory{assumed}; {_note(f'{live} at the peak', where)}"


def _assumed(summary: Summary, memory: Memory) -> str:
    """How it is trained, in words."""
    said = memory.assumptions
    step = [said.get("optimizer", "").partition(" (")[0], said.get("amp", summary.dtype)]
    step += [f"{name} {said[name]}" for name in ("accumulate", "checkpoint", "freeze") if name in said]
    if summary.batch is not None:
        step.append(f"batch {count(summary.batch)}")
    return f" with {', '.join(filter(None, step))}"


def notices(summary: Summary) -> tuple[str, ...]:
    """What the reader should know about how the figures were reached, those of the memory first."""
    return (*(summary.memory.notices if summary.memory else ()), *summary.notices)


def uncounted(summary: Summary) -> list[Fact]:
    """The ops without a rule, and how often each ran."""
    return [Fact(op, f"{count(times)} x") for op, times in summary.uncounted_ops.items()]


class Comparison(NamedTuple):
    """One line of the diff against a stored table."""

    figure: str
    documented: str
    now: str
    difference: str


def baseline_line(summary: Summary) -> str | None:
    """How the summary stands to the stored table of its model, in one line; None where there is no table."""
    baseline = summary.baseline
    if baseline.source is None:
        return None
    if baseline.status == "none":
        if baseline.input is None:
            return f"none for this input ({baseline.source})"
        command = f"modelsum show {summary.model.spec} --input {baseline.input}"
        return f"none for this input; `{command}` compares with the {baseline.source}"
    return f"{'matches' if baseline.status == 'match' else 'differs from'} the {baseline.source}"


def comparisons(summary: Summary) -> list[Comparison]:
    """Every figure of a stored table that the summary differs from; none where it matches or has no table."""
    if summary.baseline.status != "changed":
        return []
    return [_comparison(figure) for figure in summary.baseline.figures]


def _comparison(figure: Difference) -> Comparison:
    form = ".2f" if figure.figure.endswith("_mb") else ",.0f"  # sizes as torchsummary prints them
    return Comparison(
        _FIGURES.get(figure.figure, figure.figure),
        format(figure.documented, form),
        format(figure.now, form),
        format(figure.now - figure.documented, f"+{form}") if figure.now != figure.documented else "0",
    )
