"""Ways to make a training step or an inference take less: what can be changed, and what that costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modelsum.memory.options import MemoryOptions

CHECKPOINT = "checkpoint"
AMP = "amp"
OPTIMIZER = "optimizer"
IMPLEMENTATION = "implementation"
ALLOCATOR = "allocator"
DTYPE = "dtype"
ACCUMULATE = "accumulate"

_SAME_RESULT = (CHECKPOINT, IMPLEMENTATION, ALLOCATOR)

# Those with less state than the optimizer itself, that with the most first.
_LIGHTER = {
    "adam": ("lion", "momentum", "adafactor", "sgd"),
    "adamw": ("lion", "momentum", "adafactor", "sgd"),
    "lion": ("adafactor", "sgd"),
    "momentum": ("adafactor", "sgd"),
    "adafactor": ("sgd",),
}
_IMPLEMENTATIONS = {"for-loop": "slower optimizer steps", "fused": "nothing"}
_PASSES = 4
_EXCLUSIVE = ({OPTIMIZER, IMPLEMENTATION}, {DTYPE, AMP})


@dataclass(frozen=True, slots=True)
class Change:
    """One way, or several together.

    Attributes:
        kinds: what is changed, of the constants of this module.
        words: options of the command line that make the change.
        cost: what it costs, in a few words.
        options: the step after the change.
        dtype: what the model is converted to, or None.
    """

    kinds: tuple[str, ...]
    words: str
    cost: str
    options: MemoryOptions
    dtype: str | None = None

    @property
    def passes(self) -> int:
        """Batches of one optimizer step."""
        return self.options.accumulate

    @property
    def keeps_the_result(self) -> bool:
        """Whether the step computes the same as before, but for rounding."""
        return all(kind in _SAME_RESULT for kind in self.kinds)


def for_training(options: MemoryOptions, target: str, choices: Sequence[tuple[str, ...]]) -> Iterator[Change]:
    """What can be changed in a training step that has these options.

    Args:
        options: the step as it is.
        target: "cpu" or "cuda".
        choices: patterns of modules that are worth checkpointing, one choice or another.
    """

    def change(kind: str, words: str, cost: str, **fields: object) -> Change:
        changed = dataclasses.replace(options, **fields)  # type: ignore[arg-type]
        return Change((kind,), words, cost, changed)

    if not options.checkpoint:
        for patterns in choices:
            words = " ".join(f"--checkpoint '{pattern}'" for pattern in patterns)
            yield change(CHECKPOINT, words, "a second forward pass of these modules", checkpoint=patterns)
    if options.amp is None:
        yield change(AMP, "--amp bf16", "matmuls and convolutions in bfloat16", amp="bf16")
    for name in _LIGHTER.get(str(options.optimizer), ()):
        # An implementation that was asked for is kept where the other optimizer has it.
        implementation = None if options.implementation == "fused" else options.implementation
        fields = {"optimizer": name, "implementation": implementation}
        yield change(OPTIMIZER, f"--optimizer {name}", "another optimizer", **fields)
    if options.optimizer in ("adam", "adamw", "adafactor", "lion"):
        for name, cost in _IMPLEMENTATIONS.items():
            has_it = name != "fused" or options.optimizer in ("adam", "adamw")
            if has_it and name != options.implementation_on(target):
                yield change(IMPLEMENTATION, f"--{name}", cost, implementation=name)
    if target == "cuda" and not options.expandable_segments:
        words, cost = "--expandable-segments", "nothing: PYTORCH_ALLOC_CONF=expandable_segments:True"
        yield change(ALLOCATOR, words, cost, expandable_segments=True)
    if options.accumulate == 1:
        cost = "passes one after another"
        yield change(ACCUMULATE, f"--accumulate {_PASSES}", cost, accumulate=_PASSES)


def for_inference(options: MemoryOptions, target: str, dtype: str) -> Iterator[Change]:
    """What can be changed in an inference; `dtype` is that of the model."""
    if dtype == "float32":
        if options.amp is None:
            changed = dataclasses.replace(options, amp="bf16")
            yield Change((AMP,), "--amp bf16", "matmuls and convolutions in bfloat16", changed)
        cost = "weights and arithmetic in bfloat16"
        yield Change((DTYPE,), "--dtype bfloat16", cost, options, "bfloat16")
    if target == "cuda" and not options.expandable_segments:
        words, cost = "--expandable-segments", "nothing: PYTORCH_ALLOC_CONF=expandable_segments:True"
        yield Change((ALLOCATOR,), words, cost, dataclasses.replace(options, expandable_segments=True))


def keeping_the_result(changes: Iterable[Change]) -> list[Change]:
    """Those after which the step computes the same as before."""
    return [change for change in changes if change.keeps_the_result]


def compatible(changes: Iterable[Change]) -> list[Change]:
    """Those that go together; of two that exclude each other the first one.

    Another optimizer has not every implementation, and a model in bfloat16 needs no autocast to it.
    """
    chosen: list[Change] = []
    for change in changes:
        kinds = {kind for each in (*chosen, change) for kind in each.kinds}
        if not any(pair <= kinds for pair in _EXCLUSIVE):
            chosen.append(change)
    return chosen


def together(changes: Iterable[Change], options: MemoryOptions) -> Change:
    """All changes at once, each to the step as it is (`options`); of one kind the last one holds."""
    changed, dtype = options, None
    changes = list(changes)
    for change in changes:
        fields = {
            field.name: value
            for field in dataclasses.fields(options)
            if (value := getattr(change.options, field.name)) != getattr(options, field.name)
        }
        changed = dataclasses.replace(changed, **fields)
        dtype = change.dtype or dtype
    return Change(
        tuple(kind for change in changes for kind in change.kinds),
        " ".join(change.words for change in changes),
        "all of that",
        changed,
        dtype,
    )
