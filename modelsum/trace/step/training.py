"""The memory of inference and of a training step, predicted by going through them on the meta device.

The step is that of the usual loop

    optimizer.zero_grad(set_to_none=True)
    for _ in range(accumulate):
        loss(model(*args, **kwargs)).backward()
    optimizer.step()

in which nothing but the model and the loss holds on to the output. Forward and backward pass really run,
on shapes; the optimizer's step is added in closed form. In steady state the optimizer's state is there
from the start.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from modelsum.errors import ModelsumError
from modelsum.memory import allocator, cuda_kernels
from modelsum.memory.cpu.kernels import KERNELS as CPU_KERNELS
from modelsum.memory.cpu.machine import ISA_OF, ISA_WORDS, OTHER, Machine, on_machine
from modelsum.memory.log import GRADIENTS, OPTIMIZER_STATE, WEIGHTS, Event, of_storages
from modelsum.memory.options import USUAL, MemoryOptions, check_target
from modelsum.memory.peaks import Replay, inclusive_sum, replay
from modelsum.memory_values import Memory, ModuleMemory, Rank
from modelsum.raised import told
from modelsum.trace.call import Call
from modelsum.trace.freezing import frozen
from modelsum.trace.higher_order import conditions_with_derivatives
from modelsum.trace.isolation import isolated, plain_ops, runs_on_meta, uncollected
from modelsum.trace.step import attention as kernels
from modelsum.trace.step.autocast import DTYPES, autocast_for
from modelsum.trace.step.checkpointing import checkpointed
from modelsum.trace.step.fused_functions import fused_functions
from modelsum.trace.step.fused_layers import fused_layers
from modelsum.trace.step.held import Held
from modelsum.trace.step.plans import KernelRule
from modelsum.trace.step.recurrent import recurrent_layers
from modelsum.trace.step.stage import Recording, Shared, Stage
from modelsum.trace.step.trained_layers import Unlike
from modelsum.trace.step.unrolled import Followed, Row, unrolled

_KERNELS: dict[str, Mapping[str, KernelRule]] = {"cpu": CPU_KERNELS, "cuda": cuda_kernels.KERNELS}
_ROUND_TO = {"cpu": 1, "cuda": allocator.BLOCK_BYTES}
_OFFLOADED = "the peaks are at least these: a step with offload was compared with no real run"


def predict_memory(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
    train: bool = True,
    inference: Recording | None = None,
) -> Memory:
    """Predict the memory of a call, without gradients and in a training step.

    Args:
        call: on the meta device, its model the caller's own: its mode is changed. It may be on the CPU too;
            then everything is done for real, and takes that time and memory.
        options: the training step, of one process.
        target: the device to predict for: "cpu" or "cuda".
        train: go through the training step too.
        inference: of the same call elsewhere, where it cannot be followed on this device.

    Raises:
        UsageError: a pattern of the options matches nothing.
        Exception: whatever the forward raises in evaluation mode. Where only training fails, the result
            has no figures for it and says why.
    """
    stage = _stages(call, options, target)
    followed = _followed(lambda: (call, stage), options, target, train, inference=inference)
    return _memory(followed, options, target)


def predict_rank(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
    train: bool = True,
    share: Callable[[Call], Shared],
    stream: Callable[[], str],
    blocks: Row | None = None,
) -> Rank:
    """Predict the memory of one of several processes, as `predict_memory` does, and what it sends a step.

    `call` is of the whole model and stays as it is; `share` and `stream` are as `Stage` has them. Of `blocks`
    that are alike a few are gone through, where it shows that the others do the same.
    """

    def follow(copies: tuple[str, int] | None = None) -> Followed:
        def fresh() -> tuple[Call, Callable[..., Stage]]:
            own = call.on(torch.device("meta"))
            return own, _stages(own, options, target, share=share, stream=stream, copies=copies)

        return _followed(fresh, options, target, train, once=True)

    followed = unrolled(blocks, follow) if blocks is not None and options.in_closed_form else None
    if followed is None:
        followed = follow()
    memory, training = _memory(followed, options, target), followed.training
    values = {field.name: getattr(memory, field.name) for field in dataclasses.fields(Memory)}
    del values["ranks"]
    if training is None:
        return Rank(**values)
    kept = replay(training.categories, training.steady_setup, training.steady).parts
    shards = {category: kept[category] for category in (WEIGHTS, GRADIENTS, OPTIMIZER_STATE)}
    return Rank(**values, shards=shards, communication=dict(sorted(training.traffic.items())))


def _followed(
    fresh: Callable[[], tuple[Call, Callable[..., Stage]]],
    options: MemoryOptions,
    target: str,
    train: bool,
    *,
    once: bool = False,
    inference: Recording | None = None,
) -> Followed:
    """What is done without gradients, and in training.

    Args:
        fresh: makes a call, and what makes its stage.
        once: making a stage takes long: the inference follows on the training, on the same one.
        inference: what is known of it already.
    """
    check_target(target)
    training: Recording | None = None
    notice: str | None = None
    presumed: Set[str] = frozenset()
    call, stage = fresh()
    fused = torch.backends.mha.get_fastpath_enabled()
    with _as_on(target, options, call.device_type) as (chosen, recurrent):
        if inference is None and not (train and once):
            with fused_layers(call.model, target, enabled=fused) as packing:
                inference = stage().inference()
            recurrent.update(packing.unmeasured)
            presumed |= packing.presumed
        in_inference = Counter(recurrent)
        recurrent.clear()
        if train:
            with frozen(call.model, options.freeze), _checkpointed(call.model, options):
                here = stage()
                try:
                    training, notice = _trained(here, options, target)
                except Unlike:
                    call.model.zero_grad()  # those that it had by then
                    here = stage(answers=False)
                    training, notice = _trained(here, options, target)
        if inference is None:
            inference = (here if training else fresh()[1]()).inference()
    assumptions = _assumptions(options, chosen.words, target)
    if call.targets is not None:
        assumptions["targets"] = call.targets.words
    presumed |= training.presumed if training else frozenset()
    if presumed:
        assumptions["values"] = ", ".join(sorted(presumed))
    unmeasured = Counter(inference.unmeasured) + in_inference
    unmeasured |= Counter(training.unmeasured if training else {}) + recurrent
    return Followed(inference, training, unmeasured, assumptions, (notice,) if notice else ())


def _checkpointed(model: torch.nn.Module, options: MemoryOptions) -> AbstractContextManager[Any]:
    return checkpointed(model, options.checkpoint, options.checkpoint_policy)


def record_training(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
) -> tuple[Recording | None, str | None]:
    """The events of training steps as `predict_memory` has them; or None, and why there are none."""
    check_target(target)
    with (
        _as_on(target, options, call.device_type),
        frozen(call.model, options.freeze),
        _checkpointed(call.model, options),
    ):
        return _trained(_stages(call, options, target)(), options, target)


def record_inference(
    call: Call,
    *,
    options: MemoryOptions,
    target: str,
    kept: Callable[[], Iterable[Tensor]] | None = None,
) -> tuple[Recording, str]:
    """The events of a pass without gradients, as `predict_memory` has them, and which attention kernels ran.

    `kept`: as of `Stage.inference`. What recurrent layers take besides is among `Recording.unmeasured`.
    """
    with _as_on(target, options, call.device_type) as (chosen, recurrent):
        recording = _stages(call, options, target)().inference(kept)
    unmeasured = Counter(recording.unmeasured) + recurrent
    return dataclasses.replace(recording, unmeasured=unmeasured), chosen.words


def _stages(call: Call, options: MemoryOptions, target: str, **shared: Any) -> Callable[..., Stage]:
    held = Held(call.model)

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(target, DTYPES[options.amp]) if options.amp else nullcontext()

    return lambda **more: Stage(
        call,
        held=held,
        kernels=_KERNELS[target],
        searches=cuda_kernels.SEARCHES if target == "cuda" and options.cudnn_benchmark else None,
        round_to=_ROUND_TO[target],
        precision=precision,
        random_states=target == "cpu",
        **shared,
        **more,
    )


@contextmanager
def _as_on(target: str, options: MemoryOptions, device: str) -> Iterator[tuple[kernels.Chosen, Counter[str]]]:
    """Have the ops of the block run as on the target; what attention did, and ops that are not known."""
    machine = _machine(options)
    with (
        isolated(),
        uncollected(torch.device(device)),
        plain_ops(),
        runs_on_meta(torch.device(device)),
        autocast_for(target),
        recurrent_layers(target) as unmeasured,
        conditions_with_derivatives(unmeasured),
        fused_functions(target),
        kernels.redirected(target, options.attention) as chosen,
        on_machine(threads=machine.threads, isa=machine.isa),
    ):
        yield chosen, unmeasured


def training_events(recording: Recording) -> Iterator[Event]:
    """All that the allocator gets to see until the second step, which is in steady state, is over."""
    yield from (*recording.setup, *recording.first, *recording.between, *recording.steady)


def _of_device(recording: Recording) -> Recording:
    """The same without what the host holds."""
    if not recording.hosted:
        return recording
    lists = ("setup", "first", "between", "steady_setup", "steady")
    kept: dict[str, Any] = {
        name: [event for event in getattr(recording, name) if event.storage not in recording.hosted]
        for name in lists
    }
    return dataclasses.replace(recording, **kept)


def _trained(stage: Stage, options: MemoryOptions, target: str) -> tuple[Recording | None, str | None]:
    """The steps of training, or None and why there are none."""
    try:
        training = stage.training(options, target)
    except (ModelsumError, Unlike):
        raise
    except Exception as error:
        reason = told(error)
        if "more than 1 value per channel" in reason:  # batch normalisation of a single value
            reason += "; with a batch of 2 or more it can"
        return None, f"the training step could not be predicted: {reason}"
    if training is None:
        return None, "nothing can be trained: no output depends on a parameter that takes gradients"
    return training, None


def _machine(options: MemoryOptions) -> Machine:
    """The CPU that is asked for; what is not said is as here."""
    own = ISA_OF.get(torch.backends.cpu.get_cpu_capability(), OTHER)
    return Machine(options.threads or torch.get_num_threads(), options.isa or own)


def machine_words(options: MemoryOptions) -> str:
    """Whose kernels are taken for those of the CPU."""
    threads, isa = _machine(options)
    counted = "1 thread" if threads == 1 else f"{threads} threads"
    return f"as on {ISA_WORDS[isa]} and oneDNN, {counted}"


def _assumptions(options: MemoryOptions, attention_words: str, target: str) -> dict[str, str]:
    said = {**options.words(target), "attention": attention_words}
    if target == "cuda":
        said["allocator"] = "expandable segments" if options.expandable_segments else USUAL["allocator"]
        said["kernels"] = USUAL["kernels"]
    else:
        said["kernels"] = machine_words(options)
        if options.amp == "fp16":
            said["kernels"] += ", float16 taken for bfloat16"
    return said


def _memory(followed: Followed, options: MemoryOptions, target: str) -> Memory:
    inference, training, notices = followed.inference, followed.training, followed.notices
    unmeasured = dict(sorted(followed.unmeasured.items()))
    points = options.timeline_points
    host_bytes: int | None = None
    if training and training.hosted:
        there = [event for event in training.steady_setup if event.storage in training.hosted]
        meanwhile = [event for event in training.steady if event.storage in training.hosted]
        host_bytes = replay(training.categories, there, meanwhile).peak.bytes
        training = _of_device(training)
    inference = _of_device(inference)
    without = replay(
        *(inference.categories, inference.setup, inference.first),
        0 if training else points,
        by_module=not training,
    )
    step: Replay | None = None
    first: Replay | None = None
    if training:
        step = replay(training.categories, training.steady_setup, training.steady, points)
        once = of_storages(training.first)
        first = replay(training.categories, training.setup, once, by_module=False)
    shown = step or without
    saved = inclusive_sum(training.saved) if training else {}
    allocated = reserved = process = None
    if target == "cuda":
        events = training_events(training) if training else (*inference.setup, *inference.first)
        simulated = allocator.replay(
            events,
            expandable_segments=options.expandable_segments,
            streams=(training or inference).streams,
        )
        allocated, reserved = simulated.allocated_peak, simulated.reserved_peak
        process = allocator.process_bytes(reserved)
    if unmeasured:
        said = ", ".join(f"{op} ({times} x)" for op, times in unmeasured.items())
        notices = (
            *notices,
            f"the peaks are at least these: what {said} allocates in its kernel is not known",
        )
    if options.offload:
        unmeasured, notices = {**unmeasured, "offload": 1}, (*notices, _OFFLOADED)
    return Memory(
        kind="predicted",
        target=target,
        saved_for_backward_bytes=sum(training.saved.values()) if training else None,
        inference=without.peak,
        training=step.peak if step else None,
        first_step=first.peak if first else None,
        phase_macs=dict(training.macs) if training else {},
        uncounted_ops=dict(training.uncounted) if training else {},
        phase_peak_bytes={phase: peak.bytes for phase, peak in shown.phases.items()},
        allocated_bytes=allocated,
        reserved_bytes=reserved,
        process_bytes=process,
        host_bytes=host_bytes,
        modules={
            path: ModuleMemory(
                saved_bytes=saved.get(path, 0),
                own_saved_bytes=training.saved.get(path, 0) if training else 0,
                peak_bytes=shown.modules.get(path, 0),
            )
            for path in sorted({*saved, *shown.modules})
        },
        timeline=shown.timeline,
        assumptions=followed.assumptions,
        notices=notices,
        unmeasured=unmeasured,
    )
