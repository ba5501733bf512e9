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
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modelsum.memory.cpu.machine import AtLeast, machine
from modelsum.memory.log import BACKWARD, COMMUNICATION, GATHERED, SAVED_ACTIVATIONS, TEMPORARIES, Log
from modelsum.trace.higher_order import control_flow
from modelsum.trace.leaves import followed
from modelsum.trace.metakernels import is_plain_meta
from modelsum.trace.ops import Verdict, registered
from modelsum.trace.parallel.collectives import traffic_of
from modelsum.trace.rules import Rule
from modelsum.trace.step.plans import (
    COMMUNICATES,
    DECOMPOSES,
    LEAVES,
    WAITS,
    KernelRule,
    Plan,
    SearchKey,
    plan_of,
)
from modelsum.trace.torch_private import (
    STORAGE_RESIZE,
    DispatchMode,
    below_dispatch,
    current_node,
    is_distributed,
    is_view,
    local_of,
    nodes_made,
    number_of_node,
)
from modelsum.trace.values.contents import is_unknown
from modelsum.trace.values.known_values import run_with

_aten = torch.ops.aten
_DETACH, _DETACHED = _aten.detach.default, "aten.detach"


class _Mark(NamedTuple):
    """How many ops, events and storages there are, and what is counted."""

    ops: int
    events: int
    storages: int
    macs: Counter[str]
    uncounted: Counter[str]
    unmeasured: Counter[str]


class _Done(NamedTuple):
    """What a call did.

    Attributes:
        events: storage, counted from the first that it made, change in bytes, and op.
        made: the storage of its result, counted so; None where that was there before.
        op: the last one; None where none ran.
        work: multiply-accumulates, and uncounted and unmeasured ops with how often they ran.
    """

    events: tuple[tuple[int, int, str], ...]
    made: int | None
    op: str | None
    work: tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]


class Lifetimes(DispatchMode):
    """Logs the storages of one device.

    Attributes:
        log: where it all goes.
        unmeasured: ops whose kernels allocate what is not known, by name, with how often they ran.
        macs: multiply-accumulates by phase, of ops that have a rule.
        uncounted: ops that do arithmetic and have no rule, by name, with how often they ran.
    """

    supports_higher_order_operators = True  # so far as to say that they cannot be followed

    def __init__(
        self,
        log: Log,
        device: str,
        kernels: Mapping[str, KernelRule] | None = None,
        searches: Mapping[str, SearchKey] | None = None,
    ) -> None:
        """Follow a type of device, "meta" or "cpu"; `kernels` and `searches` by op, like "add.Tensor"."""
        super().__init__()
        self.log = log
        self.unmeasured: Counter[str] = Counter()
        self.macs: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self._device = device
        self._is_here: Callable[[Tensor], bool] = attrgetter(f"is_{device}")
        self._kernels = kernels or {}
        self._searches = searches or {}
        self._found: set[Hashable] = set()
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
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
        self._saving = False
        self._ops = 0
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
        storage = tensor.untyped_storage()
        known = self._known.get(id(storage))
        return known[1] if known is not None and known[0]() is storage else None

    def _watch(self, tensor: Tensor, category: str = TEMPORARIES) -> int | None:
        if type(tensor) is not Tensor:
            tensor = local_of(tensor)
        if not self._is_here(tensor) or tensor.layout is not torch.strided:
            return None
        return self._watch_storage(tensor.untyped_storage(), category)

    def _watch_storage(self, storage: torch.UntypedStorage, category: str) -> int:
        known = self._known.get(id(storage))
        if known is not None and known[0]() is storage:
            self.log.resize(known[1], storage.nbytes())
            if category != TEMPORARIES and self.log.categories[known[1]] == TEMPORARIES:
                self.log.categories[known[1]] = category
            return known[1]
        number = self.log.allocate(storage.nbytes(), category)
        self._know(storage, number)
        return number

    def _know(self, storage: torch.UntypedStorage, number: int) -> None:
        """Hear of the end of a storage."""
        key = id(storage)

        def gone(reference: weakref.ref[Any]) -> None:
            # A new storage may have got the same id by the time this is called.
            if self._known.get(key, (None,))[0] is reference:
                del self._known[key]
            self.log.release(number)
            if self._sum is not None:
                self._sum_in_place(number)

        self._known[key] = (weakref.ref(storage, gone), number)

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
            written = control_flow(func)
            if written is not None and self._saving:
                raise NotImplementedError(f"the derivative of {func.name()} is known to compiled code alone")
            with self:
                return (written or func.decompose)(*args, **(kwargs or {}))
        self._locate()
        log = self.log
        log.op = name
        self._ops += 1
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
            if nbytes is None or isinstance(nbytes, AtLeast):
                self.unmeasured[name] += 1
            if nbytes is not None and nbytes > 0:
                log.use(nbytes)
        if does & COMMUNICATES:
            log.communicate(*traffic_of(func, args, kwargs or {}, out))
        elif work is not Verdict.IGNORED:
            self._count(name, work, args, kwargs or {}, out)
        return out

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
        with followed(modules, self, account if repeats else None):
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

    def begin(self) -> _Mark:
        """What there is now."""
        return _Mark(self._ops, len(self.log.events), len(self.log.sizes), *map(Counter, self._counters()))

    def done_since(self, mark: _Mark, output: Tensor | None) -> _Done | None:
        """What was done since; None where older storages changed, or others stay than the output's."""
        log, first = self.log, mark.storages
        events = log.events[mark.events :]
        made = None if output is None else self.number_of(output)
        stays = [number for number in range(first, len(log.sizes)) if log.sizes[number]]
        if stays != ([] if output is None else [made]) or any(event.storage < first for event in events):
            return None
        counted = zip(map(Counter, self._counters()), mark[3:], strict=True)
        macs, uncounted, unmeasured = (tuple((now - before).items()) for now, before in counted)
        return _Done(
            tuple((event.storage - first, event.bytes, event.op) for event in events),
            None if made is None else made - first,
            log.op if self._ops > mark.ops else None,
            (sum(n for _, n in macs), uncounted, unmeasured),
        )

    def repeat(self, done: _Done, path: str, module: nn.Module, output: Tensor) -> None:
        """A call of a module did this."""
        log, first = self.log, len(self.log.sizes)
        log.module = path
        for storage, nbytes, op in done.events:
            log.op = op
            if storage + first == len(log.sizes):
                log.allocate(nbytes)
            else:
                log.resize(storage + first, log.sizes[storage + first] + nbytes)
        if done.made is not None:
            self._know(output.untyped_storage(), first + done.made)
        log.module = self._stack[-1]
        if done.op is not None:
            log.op = done.op
        macs, uncounted, unmeasured = done.work
        if macs:
            self.macs[log.phase] += macs
        for counter, found in ((self.uncounted, uncounted), (self.unmeasured, unmeasured)):
            for op, times in found:
                counter[op] += times

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.macs, self.uncounted, self.unmeasured

    # ---- what autograd keeps

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Note which storages autograd saves for the backward pass inside."""
        self._kept.clear()
        self._saving = True
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack):
                yield
        finally:
            self._saving = False

    def saved(self) -> dict[str, int]:
        """Bytes that each module saved for backward, by path: a storage once, and what is still kept."""
        storages: set[int] = set()
        saved: dict[str, int] = {}
        for kept, number, nbytes, module in self._kept:
            if kept() is not None and number not in storages and self.log.categories[number] != GATHERED:
                storages.add(number)
                saved[module] = saved.get(module, 0) + nbytes
        return saved

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


class _Kept:
    """A tensor in the hands of an autograd node, which drops this when it is gone itself."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _unpack(kept: _Kept) -> Tensor:
    return kept.tensor
