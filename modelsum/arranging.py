"""`fit --gpus`: any model and several GPUs -> the meshes and ways that fit, those that send least first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modelsum.errors import ModelError, ModelsumError, UsageError
from modelsum.memory import Memory, MemoryOptions
from modelsum.memory.fitting.blocks import checkpoint_patterns
from modelsum.memory.fitting.fit import TRAINING, Room, need_of
from modelsum.memory.ranks.arrangements import Arrangement, Arrangements, Refusal
from modelsum.memory.ranks.candidates import Candidate, candidates
from modelsum.memory.ranks.mesh import MOST_RANKS
from modelsum.memory_values import Rank
from modelsum.predicting import Predictor, predictor
from modelsum.request import Request

if TYPE_CHECKING:
    from torch import nn


def check_gpus(gpus: int, *, train: bool) -> None:
    """Say what can be said of the number alone. Raises UsageError."""
    if gpus < 2:
        raise UsageError(f"gpus {gpus}: they share a step from 2 on", "For one leave gpus out.")
    if gpus > MOST_RANKS:
        raise UsageError(f"gpus {gpus:,} are too many", f"At most {MOST_RANKS:,} are gone through.")
    if not train:
        raise UsageError("gpus: what they share is a training step", "Leave --infer out, or gpus.")


def arrange(
    request: Request,
    room: Room,
    gpus: int,
    *,
    batch: int | None = None,
    more: bool = True,
    progress: Callable[[str], None] = lambda doing: None,
) -> Arrangements:
    """Try the meshes and ways that are worth a look, each as `show --mesh` predicts it.

    Args:
        request: the model, its inputs and the step, all GPUs data parallel; its batch does not matter.
        room: the memory of each GPU.
        gpus: how many there are.
        batch: of each data parallel rank; 1 where there is none.
        more: where nothing fits, try with activation checkpointing too.
        progress: told what goes on.

    Raises as `modelsum.fit` does.
    """
    batch = batch or 1
    step = request.memory or MemoryOptions()
    search = _Search(request, room, batch, step, progress)
    found = search.tried(candidates(gpus, accumulate=step.accumulate, **_shape(search.predict.model)))
    if not found and search.refused:
        raise search.first_error
    if more and not step.checkpoint and not any(each.fits for each in found):
        found += search.with_checkpoints()
    summary = search.predict.summary
    return Arrangements(
        model=summary.model,
        inputs=summary.inputs,
        dtype=summary.dtype,
        target=request.target,
        gpus=gpus,
        room=room,
        batch=batch,
        tried=tuple(sorted(found, key=_order)),
        refused=tuple(Refusal(tuple(words), reason) for reason, words in search.refused.items()),
        assumptions=search.assumptions,
        notices=(*filter(None, [room.notice]), *summary.notices),
        made_with=summary.made_with,
    )


class _Search:
    """One model, so many samples, and what was found out of it."""

    def __init__(
        self,
        request: Request,
        room: Room,
        batch: int,
        step: MemoryOptions,
        progress: Callable[[str], None],
    ) -> None:
        progress("building the model")
        self.predict: Predictor = predictor(replace(request, batch=batch, mode="eval"))
        self.refused: dict[str, list[str]] = {}
        self.assumptions: dict[str, str] = {}
        self.first_error: ModelsumError = ModelError("nothing was tried")
        self._room, self._batch, self._progress = room, batch, progress
        self._step = replace(step, timeline_points=2)
        self._weights = sum(p.nbytes for p in self.predict.model.parameters() if p.requires_grad)
        self._possible: list[tuple[Candidate, Arrangement]] = []
        self._memory: Memory | None = None

    def tried(self, ways: Iterable[Candidate]) -> list[Arrangement]:
        """What each needs; those that cannot be are among `refused` then."""
        found = []
        for way in ways:
            try:
                found.append(self._tried(way))
            except ModelsumError as error:
                if not self.refused:
                    self.first_error = error
                self.refused.setdefault(error.message, []).append(way.words)
        return found

    def _tried(self, way: Candidate) -> Arrangement:
        options = way.options(self._step)
        held = way.held_bytes(self._weights)
        known = partial(Arrangement, way.words, way.mesh.words, way.samples(self._batch), held_bytes=held)
        if held > self._room.bytes:
            return known(need=None, bound="lower", fits=False)
        self._progress(way.words)
        memory = self.predict(self._batch, options)
        if memory.training is None:
            raise ModelError(next(iter(memory.notices), "the training step could not be predicted"))
        self._memory = memory
        said = memory.assumptions
        self.assumptions = {name: said[name] for name in said if name not in _OF_ONE_WAY}
        need = need_of(memory, self._batch, TRAINING)
        sends_most = max(memory.ranks, key=_sent, default=None)
        found = known(
            need=need,
            bound=memory.bound,
            fits=need.bytes <= self._room.bytes,
            communication=sends_most.communication if sends_most else {},
        )
        self._possible.append((way, found))
        return found

    def with_checkpoints(self) -> list[Arrangement]:
        """Those that could be, once more with the blocks recomputed that save most: where they need less."""
        saved = {path: of.saved_bytes for path, of in self._memory.modules.items()} if self._memory else {}
        patterns = next(iter(checkpoint_patterns(self.predict.classes, saved)), ())
        found = []
        for way, before in [*self._possible] if patterns else []:
            again = self.tried([replace(way, checkpoint=patterns)])
            found += [each for each in again if each.least_bytes < 0.99 * before.least_bytes]
        return found


def _order(each: Arrangement) -> tuple[bool, int]:
    """Those that fit by what they send, the others by what they need."""
    return (False, each.sent_bytes_per_sample) if each.fits else (True, each.least_bytes)


_OF_ONE_WAY = ("mesh", "shard", "accumulate", "checkpoint")


def _sent(rank: Rank) -> int:
    return sum(each.sent_bytes for each in rank.communication.values())


def _shape(model: nn.Module) -> dict[str, Any]:
    """What of a model a mesh has to divide: its heads, as its configuration has them, and its blocks."""
    from modelsum.trace.parallel.pipeline import chain_of
    from modelsum.trace.parallel.tensor_parallel import heads_of

    try:
        blocks: int | None = len(chain_of(model, 1).blocks)
    except UsageError:
        blocks = None
    return {"heads": tuple(heads_of(model).values()), "blocks": blocks}
