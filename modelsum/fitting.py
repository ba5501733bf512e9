"""`fit`: any model and some memory -> the largest batch that fits, what limits it, and ways to fit more."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from modelsum.arranging import arrange, check_gpus
from modelsum.baselines.quantity import parse_amount
from modelsum.errors import ForwardError, InputError, ModelError, UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.memory.fitting import cards, ways
from modelsum.memory.fitting.blocks import checkpoint_patterns
from modelsum.memory.fitting.fit import INFERENCE, TRAINING, Fit, Need, Room, Way, need_of
from modelsum.memory.fitting.search import MOST, largest
from modelsum.memory.fitting.ways import Change
from modelsum.memory.ranks.arrangements import Arrangements
from modelsum.predicting import Predictor, predictor
from modelsum.request import Request, request_of
from modelsum.spec import OR_LITERALLY
from modelsum.units import binary_bytes

if TYPE_CHECKING:
    from torch import nn


@overload
def fit(model: nn.Module | str, *inputs: Any, gpus: None = None, **options: Any) -> Fit: ...


@overload
def fit(model: nn.Module | str, *inputs: Any, gpus: int, **options: Any) -> Arrangements: ...


def fit(
    model: nn.Module | str,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    gpu: str | None = None,
    gpus: int | None = None,
    train: bool = True,
    batch: int | None = None,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    model_args: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    sequence_length: int | None = None,
    target: str = "cuda",
    more: bool = True,
    **step: Any,
) -> Fit | Arrangements:
    """Say which batch fits into some memory, from shapes; nothing is run.

        >>> fit("resnet50", gpu="rtx4090", optimizer="adamw").batch  # doctest: +SKIP
        202
        >>> fit("transformers/llama", gpu="h100", gpus=8).tried[0].words  # doctest: +SKIP
        '--mesh dp=8 --shard ddp'

    Args:
        model, kwargs, input_size, model_args, dtype, sequence_length: as in `modelsum.summarize`.
        *inputs: the positional arguments of the model's forward, in place of `input_size`: the first size of
            the first tensor in them is their batch, which is changed wherever it is a first size.
        memory: bytes, or a size like "24GiB" (2**30) or "24GB" (10**9; "24G" is the same).
        gpu: a card of `modelsum.memory.fitting.cards`, in its place.
        gpus: so many of it share the step: look for the meshes and ways that fit, not for the largest batch.
        train: a training step shall fit, not only an inference.
        batch: ask about this batch too: `Fit.fits` is about it then. With gpus that of each data parallel
            rank, 1 if there is none.
        target: "cuda" or "cpu".
        more: look for ways to fit more.
        **step: the training step, as in `modelsum.summarize`.

    Raises:
        UsageError: the words are wrong, or the batch of this model's input cannot be changed.
        ModelError: the model could not be built, its forward failed, or its memory cannot be predicted.
    """
    if gpus is not None:
        check_gpus(gpus, train=train)
        for name in ("mesh", "shard", "reshard", "parallelize"):
            if step.get(name) is not None:
                raise UsageError(f"gpus and {name} are both given", "gpus looks for meshes and ways.")
        step["mesh"] = f"dp={gpus}"
    request = request_of(
        model,
        inputs,
        kwargs=kwargs,
        input_size=input_size,
        model_args=model_args,
        dtype=dtype,
        sequence_length=sequence_length,
        target=target,
        **step,
    )
    room = room_for(memory, gpu, target)
    if gpus is not None:
        return arrange(request, room, gpus, batch=batch, more=more)
    return run(request, room, train=train, batch=batch, more=more)


def room_for(memory: int | str | None, gpu: str | None, target: str = "cuda") -> Room:
    """The room that was given as a size or as a card. Raises UsageError for neither, both or other words."""
    if (memory is None) == (gpu is None):
        said = "neither memory nor gpu is given" if gpu is None else "memory and gpu are both given"
        raise UsageError(said, "Give one of them: --memory 24GiB, or --gpu 'RTX 4090'.")
    if gpu is not None:
        if target == "cpu":
            raise UsageError(f"gpu {gpu!r} is given, but the target is the CPU", "Give --memory.")
        card = cards.find(gpu)
        return Room(card.usable_bytes, card.name)
    if isinstance(memory, str) and re.fullmatch(r"\s*[\d_,.]+\s*", memory):
        number = memory.strip()
        raise UsageError(f"memory {memory!r} has no unit", f"Write {number}GiB, {number}GB or {number}B.")
    assert memory is not None
    nbytes = parse_amount(memory, is_bytes=True)
    if not nbytes:
        raise UsageError(f"memory {memory!r} is nothing", "Write 24GiB.")
    if not isinstance(memory, str):
        return Room(nbytes, binary_bytes(nbytes))
    words = memory.strip()
    return Room(nbytes, words, "" if words.endswith("B") else _how_taken(words, nbytes))


def _how_taken(words: str, nbytes: int) -> str:
    """What to say of "24G": who writes it may mean 24 * 2**30."""
    number, prefix = words[:-1].rstrip(), words[-1].upper()
    size = binary_bytes(nbytes)
    return f"{words} is taken as {number} {prefix}B = {size}; for powers of 1024 write {number}{prefix}iB"


def run(
    request: Request,
    room: Room,
    *,
    train: bool = True,
    batch: int | None = None,
    more: bool = True,
    progress: Callable[[str], None] = lambda doing: None,
) -> Fit:
    """Look for what fits. The request's batch, mode and device do not matter.

    Args:
        request: the model, its inputs and the training step.
        room: the memory that there is.
        train: a training step shall fit, not only an inference.
        batch: ask about this batch too.
        more: look for ways to fit more.
        progress: told what goes on.

    Raises as `fit` does.
    """
    if request.batch is None:
        raise InputError(
            "the batch of literal shapes cannot be changed",
            "Give the shape of one sample, like --input 3x224x224.",
        )
    task = TRAINING if train else INFERENCE
    options = dataclasses.replace(request.memory or MemoryOptions(), timeline_points=2)
    progress("building the model")
    search = _Search(dataclasses.replace(request, batch=1, mode="eval"), room, task, progress)
    needs = search.needs(Change((), "", "", options))
    least, memory, notices = _smallest(needs, task)
    found = needs.largest(least)
    asked = needs(batch) if batch is not None else None
    below = needs(found) if found is not None else None
    last, step = needs.batches[-1], needs.batches.step
    above = None if found == last else needs(least if found is None else found + step)
    endless = last + step > MOST
    per_sample = _per_sample(below, above)
    summary = search.first.summary
    result = Fit(
        model=summary.model,
        inputs=summary.inputs,
        dtype=summary.dtype,
        task=task,
        target=request.target,
        room=room,
        batch=found,
        least_batch=least,
        bounded=endless and found == last,
        most_batch=None if endless else last,
        optimistic_batch=needs.largest(least, optimistic=True, near=found, per_sample=per_sample),
        below=below,
        above=above,
        asked=asked,
        fixed_bytes=summary.totals.param_bytes + summary.totals.buffer_bytes,
        assumptions=_assumptions(memory, task),
        notices=(*filter(None, [room.notice, _at_least(search.unmeasured)]), *summary.notices, *notices),
        made_with=summary.made_with,
    )
    if more and result.above is not None:
        changes = _changes(search, options, memory, task)
        result = dataclasses.replace(result, ways=_ways(search, result, options, changes))
    return dataclasses.replace(result, predictions=search.predictions, curve=needs.known)


def _at_least(unmeasured: Iterable[str]) -> str | None:
    """What to say where batches may need more than is known; None where all is known."""
    ops = ", ".join(sorted(unmeasured))
    return f"batches may need more: what {ops} allocates in its kernel is not known" if ops else None


_OF_TRAINING = ("loss", "optimizer", "gradients", "accumulate", "checkpoint", "freeze", "values")


def _assumptions(memory: Memory, task: str) -> Mapping[str, str]:
    said = memory.assumptions
    return said if task == TRAINING else {name: said[name] for name in said if name not in _OF_TRAINING}


class _Search:
    """One model and one room; counts the predictions."""

    def __init__(self, request: Request, room: Room, task: str, progress: Callable[[str], None]) -> None:
        self.room = room
        self.task = task
        self.progress = progress
        self.predictions = 0
        self.unmeasured: set[str] = set()  # ops of any batch whose kernels take more than is known
        try:
            self.first = predictor(request)
        except ForwardError as error:
            # A batch is looked for, so the shapes cannot be literal ones.
            error.hint = (error.hint or "").replace(OR_LITERALLY, "") or None
            raise
        self._by_dtype: dict[str | None, Predictor] = {None: self.first}

    def needs(self, change: Change) -> _Needs:
        """What batches need after a change."""
        if change.dtype not in self._by_dtype:
            request = dataclasses.replace(self.first.request, dtype=change.dtype)
            self._by_dtype[change.dtype] = predictor(request)
        return _Needs(self, self._by_dtype[change.dtype], change)


class _Needs:
    """What batches of one model need with one kind of step; each is predicted once."""

    def __init__(self, search: _Search, predict: Predictor, change: Change) -> None:
        self._search = search
        self._predict = predict
        self._change = change
        self._known: dict[int, Need] = {}

    def __call__(self, batch: int) -> Need:
        if batch not in self._known:
            self._known[batch] = need_of(self.memory(batch), batch, self._search.task)
        return self._known[batch]

    def memory(self, batch: int) -> Memory:
        """The whole prediction. Raises ModelError where a training step is the task and there is none."""
        self._search.progress(f"batch {batch} {self._change.words}".rstrip())
        self._search.predictions += 1
        train = self._search.task == TRAINING
        memory = self._predict(batch, self._change.options, train=train)
        self._search.unmeasured.update(memory.unmeasured)
        if train and memory.training is None:
            raise ModelError(next(iter(memory.notices), "the training step could not be predicted"))
        return memory

    @property
    def batches(self) -> range:
        """Those that the model takes."""
        return self._predict.batches

    @property
    def known(self) -> tuple[Need, ...]:
        """What is known, the smallest batch first."""
        return tuple(self._known[batch] for batch in sorted(self._known))

    def keep(self, batch: int, memory: Memory) -> None:
        """Remember a prediction that was made."""
        self._known[batch] = need_of(memory, batch, self._search.task)

    def largest(
        self, least: int, *, optimistic: bool = False, near: int | None = None, per_sample: int | None = None
    ) -> int | None:
        """The largest batch that fits the room, with the upper or the lower end of the range."""

        def need(batch: int) -> int:
            return self(batch).least_bytes if optimistic else self(batch).bytes

        batches = self.batches
        found = largest(
            lambda place: need(batches[place - 1]),
            self._search.room.bytes,
            least=batches.index(least) + 1,
            near=batches.index(near) + 1 if near is not None and near in batches else None,
            per_sample=per_sample * batches.step if per_sample is not None else None,
            most=len(batches),
        )
        return None if found is None else batches[found - 1]


def _smallest(needs: _Needs, task: str) -> tuple[int, Memory, tuple[str, ...]]:
    """The smallest batch that there is something to predict of, its memory, and what to say about it."""
    first, *others = needs.batches[:2]
    try:
        memory = needs.memory(first)
    except ModelError as error:
        if task != TRAINING or "nothing can be trained" in error.message:
            raise UsageError(error.message, "Ask for --infer.") from error
        for second in others:
            with contextlib.suppress(ModelError):
                memory = needs.memory(second)
                needs.keep(second, memory)
                return second, memory, (f"a batch of {first} cannot be trained: {error.message}",)
        raise
    needs.keep(first, memory)
    return first, memory, ()


# ---- ways to fit more


def _changes(search: _Search, options: MemoryOptions, memory: Memory, task: str) -> Iterator[Change]:
    target = search.first.request.target
    if task == INFERENCE:
        return ways.for_inference(options, target, search.first.summary.dtype)
    saved = {path: module.saved_bytes for path, module in memory.modules.items()}
    return ways.for_training(options, target, checkpoint_patterns(search.first.classes, saved))


def _ways(search: _Search, result: Fit, options: MemoryOptions, changes: Iterable[Change]) -> tuple[Way, ...]:
    """Every change that brings something, and the best of them together; those that bring most first."""
    found: dict[Change, Way] = {}
    for change in changes:
        way = _way(search, result, change)
        if way is not None:
            found[change] = way
    best = _best_of_each_kind(found)
    shown = {c: way for c, way in found.items() if c.kinds != (ways.CHECKPOINT,) or c in best}
    worth_it = [change for change in best if _gains(result, found[change])]
    for members in (ways.keeping_the_result(worth_it), ways.compatible(worth_it)):
        combined = ways.together(members, options)
        if len(members) > 1 and combined not in shown:
            way = _way(search, result, combined)
            if way is not None:
                shown[combined] = way
    return tuple(sorted(shown.values(), key=lambda way: (way.passes > 1, _rank(way))))


def _best_of_each_kind(found: Mapping[Change, Way]) -> list[Change]:
    """Of each kind of change the one that lets most fit; accumulation lets no more fit."""
    best: dict[str, Change] = {}
    for change in sorted(found, key=lambda change: _rank(found[change])):
        (kind,) = change.kinds
        if kind != ways.ACCUMULATE:
            best.setdefault(kind, change)
    return list(best.values())


def _rank(way: Way) -> tuple[int, int]:
    return -(way.batch or 0), way.need.bytes


def _gains(result: Fit, way: Way) -> bool:
    """Whether a way lets 1 % more samples fit, or where nothing fits saves 1 % of the need."""
    if result.batch is None:
        return way.need.bytes <= 0.99 * result.at_reference.bytes
    return (way.batch or 0) >= 1.01 * result.batch


def _way(search: _Search, result: Fit, change: Change) -> Way | None:
    """What a change brings; None where that is nothing, or the model cannot do with it."""
    needs = search.needs(change)
    try:
        need = needs(result.reference)
        if need.bytes >= result.at_reference.bytes and change.passes == 1:
            return None
        per_sample = _per_sample(result.below, result.above)
        batch = needs.largest(result.least_batch, near=result.reference, per_sample=per_sample)
    except (ModelError, InputError):
        return None
    return Way(
        words=change.words,
        cost=change.cost,
        need=need,
        batch=batch,
        passes=change.passes,
        same_result=change.keeps_the_result,
        combined=len(change.kinds) > 1,
    )


def _per_sample(below: Need | None, above: Need | None) -> int | None:
    """By how much the need grows with a sample, where it is known of two batches."""
    if below is None or above is None:
        return None
    return (above.bytes - below.bytes) // (above.batch - below.batch)
