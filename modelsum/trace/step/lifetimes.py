"""The log of every storage that a model's ops allocate: when it appears, and when it is gone.

A dispatch mode sees each op and the tensors that it returns; a storage that was not there before was
allocated by it, and a weak reference tells when the last tensor lets go of it. As shapes alone are looked
at, it works for tensors on the meta device (ops done by `modelsum.trace.values`) as for real ones. Memory
that a kernel allocates inside itself is not seen; a table of rules, if there is one, adds it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from modelsum.memory.cpu.machine import AtLeast, machine
from modelsum.memory.log import BACKWARD, COMMUNICATION, GATHERED, SAVED_ACTIVATIONS, TEMPORARIES, Log
from modelsum.trace.higher_order import as_written
from modelsum.trace.leaves import Trained, followed
from modelsum.trace.metakernels import is_plain_meta
from modelsum.trace.ops import Verdict, registered
from modelsum.trace.parallel.collectives import traffic_of
from modelsum.trace.rules import Rule
from modelsum.trace.step.accounts import Account, Ledger, Mark
from modelsum.trace.step.plans import (
    COMMUNICATES,
    DECOMPOSES,
    HIDES,
    LEAVES,
    WAITS,
    KernelRule,
    Plan,
    SearchKey,
    plan_of,
)
from modelsum.trace.step.transforms import saved_in_graph, transformed
from modelsum.trace.torch_private import (
    RANDOM_STATE,
    STORAGE_RESIZE,
    DispatchMode,
    HigherOrderOperator,
    below_dispatch,
    current_node,
    is_distributed,
    is_view,
    local_of,
    nodes_made,
    number_of_node,
    offsets_of,
    saved_hooks,
)
from modelsum.trace.values.contents import is_unknown
from modelsum.trace.values.known_values import run_with
from modelsum.trace.values.op_facts import tensors_among

_aten = torch.ops.aten
_DETACH, _DETACHED = _aten.detach.default, "aten.detach"
_SLIGHT_SHARE = 400  # a quarter of a per cent


class Lifetimes(DispatchMode):
    """Logs the storages of one device.

    Attributes:
        log: where it all goes.
        ledger: the log, and the work that is counted.
        macs: as `Ledger.macs`; `uncounted` and `unmeasured` likewise.
        hooks: what autograd hands over and gets back, where it is noted what it keeps.
    """

    supports_higher_order_operators = True  # so far as to say that they cannot be followed

    def __init__(
        self,
        log: Log,
        device: str,
        kernels: Mapping[str, KernelRule] | None = None,
        searches: Mapping[str, SearchKey] | None = None,
        trained: Callable[[Lifetimes], Trained] | None = None,
    ) -> None:
        """Follow a type of device.

        Args:
            log: is written to.
            device: "meta" or "cpu".
            kernels: memory inside them, by op, like "add.Tensor".
            searches: what an algorithm is searched for, likewise.
            trained: makes what answers calls of layers in training.
        """
        super().__init__()
        self.log = log
        self.ledger = ledger = Ledger(log)
        self.macs, self.uncounted, self.unmeasured = ledger.macs, ledger.uncounted, ledger.unmeasured
        self._device = device
        self._is_here: Callable[[Tensor], bool] = attrgetter(f"is_{device}")
        self._kernels = kernels or {}
        self._trained = trained
        self._searches = searches or {}
        self._found: set[Hashable] = set()
        self._known: dict[int, _Storage] = {}
        self._gone = _telling(weakref.ref(self))
        self._plans: dict[Any, Plan] = {}
        self._stack: list[str] = [""]
        # Where the sequence numbers of the autograd nodes that a module made begin, and which module it is.
        self._starts: list[int] = []
        self._makers: list[str] = []
        self._nodes = nodes_made()
        # Nodes that were asked for in the backward pass, the loss's first.
        self._asked: deque[Any] = deque()
        # With the storage's number, its bytes, and the module that saved it.
        self._kept: list[tuple[weakref.ref[_Kept], int, int, str]] = []
        self.hooks: tuple[Callable[..., Any], Callable[..., Any]] | None = None
        self._transforms: Sequence[None] = ()
        self._imported = len(sys.modules)
        # Of a result that was just made by an op of `plans.IN_PLACE_UNSEEN`: its event's place, and the
        # number of what it would be written to.
        self._sum: tuple[int, int] | None = None

    # ---- storages

    def watch(self, tensors: Iterable[Tensor], category: str = TEMPORARIES) -> list[int]:
        """Log the storages of tensors that are there already; those known to be something stay that."""
        return [number for t in tensors if (number := self._watch(t, category)) is not None]

    def number_of(self, tensor: Tensor) -> int | None:
        """The number of a tensor's storage in the log, or None where it is not followed."""
        tensor = local_of(tensor)
        if not self._is_here(tensor) or tensor.layout is not torch.strided:
            return None
        return self.number_in(tensor.untyped_storage())

    def number_in(self, storage: torch.UntypedStorage) -> int | None:
        """The number of a storage in the log, or None where it is not followed."""
        known = self._known.get(id(storage))
        return known.numbers[0] if known is not None and known() is storage else None

    def _watch(self, tensor: Tensor, category: str = TEMPORARIES) -> int | None:
        if type(tensor) is not Tensor and type(tensor) is not nn.Parameter:
            offsets = offsets_of(tensor)
            if offsets is not None:
                self._watch(offsets, category)
            tensor = local_of(tensor)
        if not self._is_here(tensor) or tensor.layout is not torch.strided:
            return None
        return self._watch_storage(tensor.untyped_storage(), category)

    def _watch_storage(self, storage: torch.UntypedStorage, category: str) -> int:
        known = self._known.get(id(storage))
        if known is not None and known() is storage:
            number = known.numbers[0]
            self.log.resize(number, storage.nbytes())
            if category != TEMPORARIES and self.log.categories[number] == TEMPORARIES:
                self.log.categories[number] = category
            return number
        number = self.log.allocate(storage.nbytes(), category)
        self.know(storage, number)
        return number

    def know(self, storage: torch.UntypedStorage, *numbers: int) -> None:
        """A storage has this number; with its end all of these are released."""
        known = self._known[id(storage)] = _Storage(storage, self._gone)
        known.key, known.numbers = id(storage), numbers

    def release(self, gone: _Storage) -> None:
        """A storage is gone, and so is what goes with it."""
        # A new storage may have got the same id by the time this is called.
        if self._known.get(gone.key) is gone:
            del self._known[gone.key]
        for number in gone.numbers:
            self.log.release(number)
            if self._sum is not None:
                self._sum_in_place(number)

    @contextmanager
    def resizes(self) -> Iterator[None]:
        """Log storages that change their size otherwise than by an op: gathered weights come and go so."""
        resize = STORAGE_RESIZE.value

        def resizing(storage: torch.UntypedStorage, nbytes: int) -> None:
            resize(storage, nbytes)
            if storage.device.type == self._device:
                number = self._watch_storage(storage, GATHERED)
                if self.log.categories[number] in (TEMPORARIES, SAVED_ACTIVATIONS, COMMUNICATION):
                    self.log.categories[number] = GATHERED

        with STORAGE_RESIZE.replaced(resizing):
            yield

    @contextmanager
    def random_states(self) -> Iterator[None]:
        """Log states of the CPU's generator: each checkpoint keeps one until it is recomputed."""
        state_of = RANDOM_STATE.value

        def kept() -> Tensor:
            state: Tensor = state_of()
            self.know(state.untyped_storage(), self.log.allocate(state.nbytes))
            return state

        with RANDOM_STATE.replaced(kept):
            yield

    # ---- ops

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _DETACH and not types and is_plain_meta(tensor := args[0]) and is_unknown(tensor):
            # What torch does with all that was saved when it is needed, and with every gradient.
            self._locate()
            self.log.op, self._sum = _DETACHED, None
            return tensor.detach()
        if types and is_distributed(types):
            return NotImplemented  # unfolds into ops of this rank's part, and collectives
        plan = self._plans.get(func)
        if plan is None:
            plan = self._plans[func] = plan_of(func, self._kernels, self._searches)
        name, does, shortcut, inside, work, is_unseen, searched = plan
        if does & WAITS:
            return args[0]  # as on a device; on meta one of them makes a new tensor
        if does & LEAVES and self.log.hosted and kwargs and str(kwargs.get("device")) == "cpu":
            with self.log.on_host():
                out = run_with(None, func, args, {**kwargs, "device": args[0].device})
                self._watch(out)
            return out
        if does & DECOMPOSES:
            if types:
                return NotImplemented  # a tensor subclass: let it unfold into ops, and see those
            written = as_written(func) if isinstance(func, HigherOrderOperator) else None
            if written is not None:
                self._refuse_derivative(func)
            with self:
                return (written or func.decompose)(*args, **(kwargs or {}))
        if does & HIDES:
            return self._hidden(func, name, work, args, kwargs or {})
        self._locate()
        log = self.log
        log.op = name
        self._sum = None
        before = len(log.events)
        out = run_with(shortcut, func, args, kwargs)
        if len(sys.modules) != self._imported:
            self._imported = len(sys.modules)
            gc.collect()  # torch imported something for the op: frames that did hold on to tensors in a cycle
        if does:
            if isinstance(out, Tensor):
                self._watch(out)
            elif isinstance(out, (tuple, list)):
                for part in out:
                    if isinstance(part, Tensor):
                        self._watch(part)
        if is_unseen and log.phase == BACKWARD and not torch.is_grad_enabled():
            self._note_sum(args, out, before)
        if searched is not None:
            self._search(func, searched(*args))
        if inside is not None:
            nbytes = inside(*args, out=out, **(kwargs or {}))
            if nbytes is None or (isinstance(nbytes, AtLeast) and not self._is_slight(nbytes.spare)):
                self.unmeasured[name] += 1
            if nbytes is not None and nbytes > 0:
                log.use(nbytes)
        if does & COMMUNICATES:
            log.communicate(*traffic_of(func, args, kwargs or {}, out))
        elif work is not Verdict.IGNORED:
            self._count(name, work, args, kwargs or {}, out)
        return out

    def _hidden(self, func: Any, name: str, work: Rule | Verdict, args: Any, kwargs: Any) -> Any:
        """An op of higher order that compiled code does in one kernel: its results, and at least these."""
        self._refuse_derivative(func)
        self._locate()
        self.log.op, self._sum = name, None
        out = func(*args, **kwargs)
        self.watch(tensors_among((out,)))
        self.unmeasured[name] += 1
        self._count(name, work, args, kwargs, out)
        return out

    def _refuse_derivative(self, func: Any) -> None:
        if self.hooks is not None:
            raise NotImplementedError(f"the derivative of {func.name()} is known to compiled code alone")

    def _is_slight(self, spare: int | None) -> bool:
        """Whether what a kernel may take besides makes no difference to a peak, as much as there is now."""
        return spare is not None and spare * _SLIGHT_SHARE <= sum(self.log.sizes)

    def _count(self, name: str, rule: Rule | Verdict, args: Any, kwargs: Any, out: Any) -> None:
        """The multiply-accumulates of an op; as without a rule where that cannot tell."""
        if not isinstance(rule, Verdict):
            try:
                self.macs[self.log.phase] += rule(*args, **{**kwargs, "out": out})
                return
            except NotImplementedError:
                pass
        self.uncounted[name] += 1

    def _search(self, func: Any, key: Hashable | None) -> None:
        """A search for an algorithm ends with an empty cache."""
        if key is not None and (func, key) not in self._found:
            self._found.add((func, key))
            self.log.empty_cache()

    # ---- gradients that are changed in place

    def _note_sum(self, args: tuple[Any, ...], out: Any, before: int) -> None:
        """Where gradients of one tensor meet, autograd adds the second to the first, in place.

        Only not under a dispatch mode: there it makes a new tensor and lets go of the first one. Which of
        the two it is, is seen when that happens; likewise for the others of `plans.IN_PLACE_UNSEEN`.
        A view is not added to: it holds on to its base, so that nobody alone has the memory.
        """
        first = self.number_of(args[0]) if isinstance(args[0], Tensor) and not is_view(args[0]) else None
        made = self.number_of(out)
        if first is None or made is None or len(self.log.events) != before + 1:
            return
        if self.log.events[before].storage == made and self.log.sizes[first] == self.log.sizes[made]:
            self._sum = before, first

    def _sum_in_place(self, released: int) -> None:
        """The first summand is gone right after the sum was made: as if the sum had taken its place."""
        if self._sum is not None and self._sum[1] == released:
            place, _ = self._sum
            if len(self.log.events) == place + 2:
                self.log.events[place:] = reversed(self.log.events[place:])
            self._sum = None

    # ---- modules

    def _locate(self) -> None:
        """Find the module that an op belongs to: in the backward pass, the one whose op is derived."""
        if self.log.phase == BACKWARD and len(self._stack) == 1:
            node = current_node()
            number = -1
            if node is not None:
                number = number_of_node(node)
                self._asked.append(node)
            if self._starts and self._starts[0] <= number < self._nodes:  # not of one that accumulates
                self.log.module = self._makers[bisect_right(self._starts, number) - 1]
        self._own()

    def take_apart(self) -> None:
        """Let go of the graph of the backward pass, once the loss is gone: node by node, beginning there.

        torch frees a graph in a loop, but not nodes that have been asked for: each of these then frees the
        next one from within, and a deep graph is the end of the process.
        """
        while self._asked:
            self._asked.popleft()

    def _own(self) -> None:
        """The autograd nodes that were made since the last time belong to the module that runs."""
        made = nodes_made()
        if made != self._nodes:
            self._starts.append(self._nodes)
            self._makers.append(self.log.module)
            self._nodes = made

    @contextmanager
    def following(self, modules: Collection[tuple[str, nn.Module]], *, alone: bool = True) -> Iterator[None]:
        """Attribute what happens inside to modules, by path; takes its hooks away afterwards.

        The root is not one of them: it is what is left. What one of several processes does (not `alone`) is
        never taken to be what was done before.
        """
        account = tuple(self._kernels.items()), self.log.round_to, machine(), len(registered)
        repeats = alone and self._device == "meta" and not self._searches
        trained = None if self._trained is None else self._trained(self)
        with followed(modules, self, account if repeats else None, trained):
            yield

    def enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A call begins."""
        self._own()
        self._stack.append(path)
        self.log.module = path

    def leave(self, module: nn.Module, output: Any) -> None:
        """A call ends."""
        self._own()
        self._stack.pop()
        self.log.module = self._stack[-1]

    def begin(self) -> Mark:
        """What there is now."""
        return self.ledger.begin()

    def done_since(self, mark: Mark, output: Tensor | None) -> tuple[Account, int | None] | None:
        """What was done since, and the storage of its result, None where that was there before.

        None where older storages changed, or others stay than the output's.
        """
        account = self.ledger.since(mark)
        made = None if output is None else self.number_of(output)
        stays = [number for number in range(mark.storages, len(self.log.sizes)) if self.log.sizes[number]]
        if stays != ([] if output is None else [made]) or not account.is_its_own:
            return None
        return account, None if made is None else made - mark.storages

    def repeat(self, done: tuple[Account, int | None], path: str, module: nn.Module, output: Tensor) -> None:
        """A call of a module did this."""
        account, made = done
        self.log.module = path
        first = self.ledger.repeat(account)
        if made is not None:
            self.know(output.untyped_storage(), first + made)
        self.log.module = self._stack[-1]

    # ---- layers in training that are answered

    def twin(self) -> Lifetimes:
        """One that looks on in the same way, with nothing in its log."""
        return Lifetimes(Log(self.log.round_to), self._device, self._kernels)

    def note_imports(self) -> None:
        """What was imported until now has left nothing in a cycle that is followed here."""
        self._imported = len(sys.modules)

    def answers_in(self, phase: str) -> bool:
        """Whether it is this phase, and nothing else sees what autograd keeps in it."""
        if self.log.phase != phase:
            return False
        return phase == BACKWARD or (self.hooks is not None and saved_hooks() == self.hooks)

    def locate(self, path: str) -> None:
        """What comes next belongs to the derivative of a module."""
        self.log.module, self._sum = path, None

    def keep(self, node: Any, numbers: Iterable[tuple[int | None, int]]) -> None:
        """A node saves storages of so many bytes for the backward pass."""
        categories, path = self.log.categories, self._stack[-1]
        for number, nbytes in numbers:
            if number is not None and categories[number] in (TEMPORARIES, SAVED_ACTIVATIONS):
                categories[number] = SAVED_ACTIVATIONS
                self._kept.append((weakref.ref(node), number, nbytes, path))

    def kept(self) -> list[tuple[int, int]]:
        """The storages that are saved, and their bytes."""
        return [(number, nbytes) for _, number, nbytes, _ in self._kept]

    # ---- what autograd keeps

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Note which storages autograd saves for the backward pass inside."""
        self._kept.clear()
        self.hooks = hooks = self._pack, _unpack
        try:
            with torch.autograd.graph.saved_tensors_hooks(*hooks), transformed(hooks) as self._transforms:
                yield
        finally:
            self.hooks = None

    def saved(self, output: Any = None) -> dict[str, int]:
        """Bytes that each module saved for the backward pass of an output: a storage once, what is kept."""
        storages: set[int] = set()
        saved: dict[str, int] = {}
        here = [(number, nbytes, path) for kept, number, nbytes, path in self._kept if kept() is not None]
        if self._transforms:
            here += self._saved_in_transforms(output)
        for number, nbytes, module in here:
            if number not in storages and self.log.categories[number] != GATHERED:
                storages.add(number)
                saved[module] = saved.get(module, 0) + nbytes
        return saved

    def _saved_in_transforms(self, output: Any) -> Iterator[tuple[int, int, str]]:
        """Storages that nodes save which were made without hooks, with their bytes and the module."""
        for node, tensors in saved_in_graph(output):
            place = bisect_right(self._starts, number_of_node(node)) - 1
            path = self._makers[place] if place >= 0 else ""
            for tensor in tensors:
                number = self.number_of(tensor)
                if number is not None and self.log.categories[number] in (TEMPORARIES, SAVED_ACTIVATIONS):
                    self.log.categories[number] = SAVED_ACTIVATIONS
                    yield number, local_of(tensor).untyped_storage().nbytes(), path

    def _pack(self, tensor: Tensor) -> _Kept:
        number = self.number_of(tensor)
        if tensor.requires_grad:
            # A node that keeps its own result would keep itself alive.
            plain = type(tensor) in (Tensor, nn.Parameter)
            with below_dispatch() if plain else nullcontext():  # a subclass is taken apart there
                tensor = tensor.detach()
        kept = _Kept(tensor)
        if number is not None and self.log.categories[number] in (TEMPORARIES, SAVED_ACTIVATIONS):
            self.log.categories[number] = SAVED_ACTIVATIONS
            nbytes = local_of(tensor).untyped_storage().nbytes()
            self._kept.append((weakref.ref(kept), number, nbytes, self._stack[-1]))
        return kept


class _Storage(weakref.ref[torch.UntypedStorage]):
    """A storage that is followed: its id, and the numbers that are released with its end."""

    __slots__ = ("key", "numbers")

    key: int
    numbers: tuple[int, ...]


def _telling(lifetimes: weakref.ref[Lifetimes]) -> Callable[[Any], None]:
    """What is called at the end of a storage. It does not keep those alive that it tells."""

    def gone(storage: _Storage) -> None:
        told = lifetimes()
        if told is not None:
            told.release(storage)

    return gone


class _Kept:
    """A tensor in the hands of an autograd node, which drops this when it is gone itself."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _unpack(kept: _Kept) -> Tensor:
    return kept.tensor
