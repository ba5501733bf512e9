"""A model's inference and training steps, gone through once and logged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from modelsum.memory.log import (
    BACKWARD,
    BUFFERS,
    COMMUNICATION,
    EMA,
    FORWARD,
    GRADIENTS,
    INPUTS,
    OPTIMIZER_STATE,
    OPTIMIZER_STEP,
    SETUP,
    TEMPORARIES,
    WEIGHTS,
    Event,
    Log,
    of_storages,
)
from modelsum.memory.options import MemoryOptions
from modelsum.memory_values import Traffic
from modelsum.trace.call import Call
from modelsum.trace.census import hookable, modules_of, parameters_in
from modelsum.trace.copying import tensors_of, unwrapped
from modelsum.trace.holders import holds_itself, stored_tensors, tensors_held
from modelsum.trace.leaves import Trained
from modelsum.trace.modes import set_mode
from modelsum.trace.step.gradient_scaler import GradientScaler
from modelsum.trace.step.held import held_by
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.step.losses import Loss
from modelsum.trace.step.optimizing import Update
from modelsum.trace.step.plans import KernelRule, SearchKey
from modelsum.trace.step.presuming import Choosing, Presuming
from modelsum.trace.step.trained_layers import TrainedLayer
from modelsum.trace.torch_private import local_of, telling_after_backward


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of inference, or of training up to its steady state.

    Attributes:
        categories: the category of each storage.
        setup: allocations of what is there before anything runs.
        first: the pass without gradients, or the first training step.
        between: what is given back when the gradients are set to None.
        steady_setup: allocations of what is there before a step in steady state.
        steady: such a step.
        saved: bytes that each module itself saved for backward, by path; the loss left out.
        presumed: what was presumed of values, in words.
        unmeasured: as `Lifetimes.unmeasured`.
        macs: multiply-accumulates of a step by phase.
        uncounted: as `Lifetimes.uncounted`, of one forward and backward pass.
        streams: as `Log.streams`.
        hosted: as `Log.hosted`.
        traffic: of a step in steady state, by collective.
    """

    categories: list[str]
    setup: list[Event]
    first: list[Event]
    between: list[Event]
    steady_setup: list[Event]
    steady: list[Event]
    saved: Mapping[str, int]
    presumed: frozenset[str] = frozenset()
    unmeasured: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    uncounted: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[int, str] = field(default_factory=dict)
    hosted: Set[int] = frozenset()
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shared:
    """What one of several processes runs.

    Attributes:
        call: of its part of the model.
        stepped: the parameters that its optimizer steps; None for all that have gradients.
        after_step: what it does once they are stepped.
        prefix: what stands before the paths of the call's modules in the whole model.
        passes: runs all passes of a step in place of the call: it tells the phases that begin, and asks for
            the loss of an output.
        stays: tensors that these make the first time and keep; each time they are otherwise alike.
        around: a pass, forward and backward, runs in it.
        on_host: its weights are held by the host, and so are their gradients and the optimizer.
    """

    call: Call
    stepped: Sequence[nn.Parameter] | None = None
    after_step: Callable[[], None] | None = None
    prefix: str = ""
    passes: Callable[[Callable[[str], None], Callable[[Any], Tensor | None]], None] | None = None
    stays: Callable[[], Iterable[Tensor]] = tuple
    on_host: bool = False
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


class Stage:
    """A call, to be followed on the device that it is on.

    Its model has to be the caller's own: its mode is changed, and gradients are left behind.
    """

    def __init__(
        self,
        call: Call,
        *,
        held: Iterable[Tensor] | None = None,
        kernels: Mapping[str, KernelRule] | None = None,
        searches: Mapping[str, SearchKey] | None = None,
        round_to: int = 1,
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
        share: Callable[[Call], Shared] = Shared,
        stream: Callable[[], str] | None = None,
        answers: bool = True,
        copies: tuple[str, int] | None = None,
        random_states: bool = False,
    ) -> None:
        """Set up a stage.

        Args:
            call: what is run.
            held: what the model's modules held before anything ran, where that was before.
            kernels: memory inside them, by op.
            searches: what an algorithm is searched for, by op.
            round_to: the allocator's granularity in bytes.
            precision: what the model and the loss are called in, like torch.autocast.
            share: makes of the call what this process runs of it, where it is one of several.
            stream: names the stream of CUDA that is current, where there is more than one.
            answers: layers in training that are like an earlier one need not be called.
            copies: path of a block of the model, and how many more there are like it: the optimizer steps
                those too.
            random_states: those of the CPU's generator are in the memory that is followed.
        """
        self._precision = precision
        self._device = call.device_type
        self._factories = Choosing() if call.targets else Presuming()
        self.log = Log(round_to, stream)
        self.lifetimes = Lifetimes(self.log, self._device, kernels, searches, _answering if answers else None)
        self._is_shared = stream is not None
        self._random_states = random_states
        self._modules: Collection[tuple[str, nn.Module]] = ()
        with self._followed() if self._is_shared else nullcontext():
            self._shared = share(call)
        self._call = call = self._shared.call
        model = unwrapped(call.model)
        if self._shared.passes is not None:
            model = unwrapped(next(model.children()))
        prefix = self._shared.prefix
        modules = modules_of(model)
        self._modules = [(prefix + path, module) for path, module in hookable(modules)]
        self._parameters = list(parameters_in(modules.values()))
        self._copies = copies
        weights = self.lifetimes.watch(_stored(self._parameters), WEIGHTS)
        if self._shared.on_host:
            self.log.hosted.update(weights)
        there = set(map(id, self._parameters))
        now = held_by(model) if held is None or self._is_shared else held
        # Not held on to: the forward may put others in their place.
        others = (tensor for tensor in now if id(tensor) not in there)
        self.lifetimes.watch(_stored(others), BUFFERS)
        if self._shared.passes is None:
            self.lifetimes.watch(call.inputs(), INPUTS)
        self._setup = self.log.cut()
        if self._is_shared:
            self._setup = self._made(prefix, modules)

    def inference(self, kept: Callable[[], Iterable[Tensor]] | None = None) -> Recording:
        """A forward pass in evaluation mode without gradients. Raises what the model raises.

        It may follow on a training, whose gradients are gone; its optimizer's state is not counted.

        `kept`: the tensors of an object among the arguments that the pass writes to, a cache of text. It is
        then the call's own object that is written to, and what is put in counts as input from the start.
        """
        set_mode(self._call.model, train=False)
        self._begin(SETUP)
        self.lifetimes.watch(self._call.inputs(), INPUTS)  # of a stage: what comes from the one before
        setup = [*self._setup, *self.log.cut()]
        self._begin(FORWARD)
        # Alive to the end, as a batch is in the hands of who makes the step.
        call = self._call.renewed() if kept is None else self._call
        with torch.no_grad(), self._shared.around(), self._followed(), self._precision():
            output = call()
        events = self.log.cut()
        for number in filter(None, map(self.lifetimes.number_of, kept() if kept else ())):
            self.log.categories[number] = INPUTS
        del output
        return Recording(
            categories=self.log.categories,
            setup=setup,
            first=events,
            between=[],
            steady_setup=setup,
            steady=events,
            saved={},
            unmeasured=self.lifetimes.unmeasured,
            streams=self.log.streams,
            hosted=self.log.hosted,
        )

    def training(self, options: MemoryOptions, target: str) -> Recording | None:
        """Steps of training until it is in steady state; None where nothing can be trained.

        Raises what the model raises.
        """
        set_mode(self._call.model, train=True)
        if self._call.targets is not None:
            self._begin(SETUP)
            self.lifetimes.watch(tensors_held(self._call.targets.values), INPUTS)
            self._setup += self.log.cut()
        self._prefetch(options.prefetch)
        if options.ema:
            self._average()
        if options.offload == "optimizer":
            self._copy_to_host()
        update = Update(self._call.model, self.lifetimes, options, target)
        self._setup += self.log.cut()
        given_at_once = options.accumulate if self._shared.passes else 1
        loss = Loss(options.loss, lambda tensor: self._add_input(tensor, given_at_once), self._call.model)
        scaler = GradientScaler(self.lifetimes) if options.amp == "fp16" else None
        saved = self._accumulated(loss, scaler, options.accumulate)
        if saved is None:
            return None
        passes = self.log.cut()
        macs = {phase: n * options.accumulate for phase, n in self.lifetimes.macs.items()}
        uncounted = dict(self.lifetimes.uncounted)
        trained = self._label_gradients()

        def step(first: bool) -> list[Event]:
            self._begin(OPTIMIZER_STEP)
            self.lifetimes.macs.clear()
            with scaler.stepping() if scaler and options.optimizer != "none" else nullcontext():
                update(self._with_copies(trained), first=first, stepped=self._shared.stepped)
            if self._shared.after_step is not None:
                with self._followed(), torch.no_grad():
                    self._shared.after_step()
            return self.log.cut()

        sent = [self.log.take_traffic()]
        first = [*passes, *step(first=True)]
        self.log.take_traffic()
        steady_step = step(first=False)
        macs |= self.lifetimes.macs
        sent.append(self.log.take_traffic())
        between = self._zero_grad()
        # Its buckets are made anew in the second pass, in the order in which gradients came.
        replicated = any(
            isinstance(module, nn.parallel.DistributedDataParallel)
            for module in modules_of(self._call.model).values()
        )
        if replicated:
            self._accumulated(loss, scaler, 1)
            between += self.log.cut()
            self._label_gradients()
            between += self._zero_grad()
            self.log.take_traffic()
            for number, size in enumerate(self.log.sizes):
                if size and self.log.categories[number] == TEMPORARIES:
                    self.log.categories[number] = COMMUNICATION
        steady_setup = self._live()
        stays = {self.lifetimes.number_of(tensor) for tensor in self._shared.stays()}
        if replicated or self._something_is_left(stays):
            # Caches of the model: the next step finds them there, and may replace them.
            self._accumulated(loss, scaler, options.accumulate)
            sent[0] = self.log.take_traffic()
            passes = self.log.cut()
            self._label_gradients()
            self._zero_grad()
        else:
            passes = [event for event in passes if event.storage not in stays]
        return Recording(
            categories=self.log.categories,
            setup=self._setup,
            first=first,
            between=between,
            steady_setup=steady_setup,
            steady=[*of_storages(passes), *steady_step],
            saved=saved,
            presumed=frozenset(self._factories.presumed),
            unmeasured=self.lifetimes.unmeasured,
            macs=macs,
            uncounted=uncounted,
            streams=self.log.streams,
            hosted=self.log.hosted,
            traffic=_added(sent[0], 1 if self._shared.passes else options.accumulate, sent[1]),
        )

    # ---- parts of a step

    def _made(self, prefix: str, modules: Mapping[str, nn.Module]) -> list[Event]:
        """What is there once the model is shared, of each module: memory is only taken for these parts then.

        torch's wrappers are put around a model on meta, whose parts get memory afterwards (to_empty).
        """
        own = {
            number: prefix + path
            for path, module in modules.items()
            for tensor, _ in tensors_of([module])
            for number in map(self.lifetimes.number_of, _stored([tensor]))
            if number is not None
        }
        return [Event(n, size, SETUP, own.get(n, "")) for n, size in enumerate(self.log.sizes) if size]

    def _with_copies(self, trained: list[Tensor]) -> list[Tensor]:
        """The parameters of all blocks: one block's stand for those of others too."""
        if self._copies is None:
            return trained
        path, more = self._copies
        modules = [module for name, module in self._modules if name == path or name.startswith(f"{path}.")]
        inside = set(map(id, parameters_in(modules)))
        places = [place for place, parameter in enumerate(trained) if id(parameter) in inside]
        end = places[-1] + 1 if places else 0
        return [*trained[:end], *(trained[place] for place in places * more), *trained[end:]]

    def _begin(self, phase: str) -> None:
        self.log.phase, self.log.module, self.log.op = phase, "", ""

    @contextmanager
    def _followed(self) -> Iterator[None]:
        factories = self._factories if self._device == "meta" else nullcontext()
        following = self.lifetimes.following(self._modules, alone=not self._is_shared)
        states = self.lifetimes.random_states() if self._random_states else nullcontext()
        with self._sharing(), factories, states, self.lifetimes, following:
            yield

    @contextmanager
    def _sharing(self) -> Iterator[None]:
        """What happens to storages otherwise than by ops, and what is done for a module after its call."""
        if not self._is_shared:
            yield
            return
        paths = {id(module): path for path, module in self._modules}
        log, before = self.log, ""

        def tell(module: nn.Module | None) -> None:
            nonlocal before
            if module is None:
                log.module = before
            else:
                before, log.module = log.module, paths.get(id(module), "")

        with self.lifetimes.resizes(), telling_after_backward(tell):
            yield

    def _accumulated(
        self, loss: Loss, scaler: GradientScaler | None, passes: int
    ) -> Mapping[str, int] | None:
        """Forward and backward passes whose gradients add up; from the second on they are all alike."""
        if self._shared.passes is not None:
            return self._scheduled(self._shared.passes, loss)
        saved = self._pass(loss, scaler)
        if saved is not None and passes > 1:
            self._pass(loss, scaler)
        return saved

    def _pass(self, loss: Loss, scaler: GradientScaler | None) -> Mapping[str, int] | None:
        """A forward and a backward pass; returns what the model saved in between."""
        self._begin(FORWARD)
        self.lifetimes.macs.clear()
        self.lifetimes.uncounted.clear()
        call = self._call.renewed()
        with self._shared.around(), self._followed():
            with self.lifetimes.saving():
                with self._precision(), loss.without_head():
                    output = call()
                    saved = self.lifetimes.saved(output)
                    value = loss.of(output)
                    del output
                if value is not None and scaler:
                    value = scaler.scale(value)
            if value is None:
                return None
            self._begin(BACKWARD)
            value.backward()
            del value
            self.lifetimes.take_apart()
        return saved

    def _scheduled(self, passes: Callable[..., None], loss: Loss) -> Mapping[str, int]:
        """All passes of a step, in the order of a schedule; what was saved before the first derivative."""
        saved: list[Mapping[str, int]] = []

        def tell(phase: str) -> None:
            if phase == BACKWARD and not saved:
                saved.append(self.lifetimes.saved())
            self._begin(phase)

        self._begin(FORWARD)
        with self._followed(), self.lifetimes.saving(), self._precision():
            passes(tell, loss.of)
        with self._followed():
            self.lifetimes.take_apart()
        return saved[0]

    def _prefetch(self, batches: int) -> None:
        """The data loader has put more batches on the device: there before the step."""
        for tensor in self._call.inputs():
            for _ in range(batches):
                self.log.allocate(tensor.nbytes, INPUTS)
        self._setup += self.log.cut()

    def _average(self) -> None:
        """A copy of what the model's modules hold, there before the step; it is updated in place."""
        held = sum(
            size
            for size, category in zip(self.log.sizes, self.log.categories, strict=True)
            if category in (WEIGHTS, BUFFERS)
        )
        self.log.allocate(held, EMA)
        self._setup += self.log.cut()

    def _copy_to_host(self) -> None:
        """The optimizer of the host has a copy of weights and gradients, there before the step."""
        own = self._parameters if self._shared.stepped is None else self._shared.stepped
        with self.log.on_host():
            for parameter in own:
                if parameter.requires_grad:
                    self.log.allocate(2 * local_of(parameter).nbytes)
        self._setup += self.log.cut()

    def _add_input(self, tensor: Tensor, passes: int) -> None:
        """Something that the loss takes from the data: there before the step, for so many passes."""
        phase, self.log.phase = self.log.phase, SETUP
        self.lifetimes.watch([tensor], INPUTS)
        self._setup.append(self.log.events.pop())
        if passes > 1:
            self.log.allocate((passes - 1) * tensor.nbytes, INPUTS)
            self._setup.append(self.log.events.pop())
        self.log.phase = phase

    def _label_gradients(self) -> list[Tensor]:
        """The parameters with gradients."""
        trained: list[Tensor] = []
        for parameter in self._parameters:
            if parameter.grad is None:
                continue
            number = self.lifetimes.number_of(parameter.grad)
            if number is not None:
                self.log.categories[number] = GRADIENTS
            trained.append(parameter)
        return trained

    def _zero_grad(self) -> list[Event]:
        self._begin(SETUP)
        for parameter in self._parameters:
            parameter.grad = None
        return self.log.cut()

    def _live(self) -> list[Event]:
        return [Event(n, size, SETUP, "") for n, size in enumerate(self.log.sizes) if size]

    def _something_is_left(self, stays: Set[int | None]) -> bool:
        there = {event.storage for event in self._setup} | stays
        return any(
            size and number not in there and self.log.categories[number] != OPTIMIZER_STATE
            for number, size in enumerate(self.log.sizes)
        )


def _added(
    passes: Mapping[str, Traffic], accumulated: int, step: Mapping[str, Traffic]
) -> dict[str, Traffic]:
    """The traffic of a step: of its passes, of which two stand for more, and of what comes after them."""
    factor = accumulated / min(accumulated, 2)
    traffic: dict[str, Traffic] = {}
    for name in {**passes, **step}:
        a, b = passes.get(name, Traffic(0, 0, 0)), step.get(name, Traffic(0, 0, 0))
        traffic[name] = Traffic(
            int(a.calls * factor) + b.calls,
            int(a.sent_bytes * factor) + b.sent_bytes,
            int(a.received_bytes * factor) + b.received_bytes,
        )
    return traffic


def _answering(lifetimes: Lifetimes) -> Trained:
    return lambda path, module, known: TrainedLayer(lifetimes, path, module, known)


def _stored(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors that hold their elements, but for those of a lazy layer that was never called."""
    for tensor in tensors:
        if holds_itself(tensor):
            yield tensor
        elif not isinstance(tensor, UninitializedTensorMixin):
            yield from stored_tensors(tensor)
