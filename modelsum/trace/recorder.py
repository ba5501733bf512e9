"""The hooked forward pass: which module ran when, with what shapes, and which ops it did.

Hooks follow the modules, a dispatch mode sees every op below autograd; an op belongs to the module
whose call is innermost at that moment. Nothing here looks at the data of a tensor, so the same recorder
works on the meta device, the CPU and CUDA.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from modelsum.summary import ShapeTree
from modelsum.trace import census
from modelsum.trace.call import Call
from modelsum.trace.higher_order import as_written
from modelsum.trace.holders import tensors_in
from modelsum.trace.isolation import SharedTensors
from modelsum.trace.leaves import followed
from modelsum.trace.ops import Verdict, registered, rule_for, spelled
from modelsum.trace.rules import Rule, grouped_mm
from modelsum.trace.shapes import call_tree, shape_tree
from modelsum.trace.torch_private import (
    DispatchMode,
    HigherOrderOperator,
    below_functions,
    show_higher_order,
)
from modelsum.trace.values.known_values import MetaFactories, run
from modelsum.trace.values.op_facts import facts_of


class Execution:
    """One execution of a module while the forward runs; mutable until the pass ends."""

    __slots__ = (
        "children",
        "exception_at_entry",
        "exit_order",
        "input_shapes",
        "module",
        "number",
        "output_bytes",
        "output_elements",
        "output_shapes",
        "own_macs",
        "path",
    )

    def __init__(self, path: str, module: nn.Module, number: int) -> None:
        self.path = path
        self.module = module
        self.number = number  # 1 for the first call of this module object, 0: never called
        self.children: list[Execution] = []
        self.exit_order: int | None = None
        self.input_shapes: ShapeTree = None
        self.output_shapes: ShapeTree = None
        self.output_elements = 0
        self.output_bytes = 0
        self.own_macs = 0
        self.exception_at_entry: BaseException | None = None

    def walk(self) -> Iterator[Execution]:
        """This call and all calls inside it, in the order in which they began."""
        pending = [self]
        while pending:
            call = pending.pop()
            yield call
            pending.extend(reversed(call.children))


class _Done(NamedTuple):
    """What a call of a layer did: shapes as an `Execution` has them, and the work of its ops, in order."""

    input_shapes: ShapeTree
    output_shapes: ShapeTree
    output_elements: int
    output_bytes: int
    work: tuple[tuple[str, int | None], ...]


class Recorder(DispatchMode):
    """Records the executions of modules and the work of one call.

    Attributes:
        root: the execution of the model itself; all others are inside it.
        failure: the innermost execution whose forward raised, or None.
        uncounted: ops without a rule, by name, with how often they ran.
        macs_by_op: multiply-accumulates by the name of the op.
        scripted: paths of the outermost TorchScript modules, whose insides take no hooks.
        experts: matmuls of tokens with one expert each, by the storage of all their weights: elements of
            these, experts, and tokens that the experts have together.
        lazy_output: the model returned a generator, so that part of its work was not done.
    """

    supports_higher_order_operators = True
    #: Calls that are like an earlier one may be taken for that one, and their ops are not seen.
    repeats = True

    def __init__(self, call: Call, device: torch.device) -> None:
        super().__init__()
        model = call.model
        self._call = call
        self.on_meta = device.type == "meta"
        self.root = Execution("", model, 0)
        self.failure: Execution | None = None
        self.uncounted: Counter[str] = Counter()
        self.macs_by_op: Counter[str] = Counter()
        self._modules = census.modules_of(model)
        self.scripted = _outermost_scripted(self._modules)
        self.lazy_output = False
        self.experts: dict[int, tuple[int, int, int]] = {}
        self._shared = SharedTensors(() if self.on_meta else model.parameters())
        self._stack: list[Execution] = []
        self._numbers: Counter[int] = Counter()
        self._exits = 0
        self._noted: list[tuple[str, int | None]] = []

    def __enter__(self) -> Recorder:
        show_higher_order(Recorder, _shown)
        super().__enter__()
        return self

    @property
    def calls(self) -> int:
        """How many executions of modules began, the model's own included."""
        return self._numbers.total()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole pass."""
        return sum(call.own_macs for call in self.root.walk())

    def run(self) -> Any:
        """Make the call and record everything that happens; leaves no hook behind. Raises what it raises."""
        modes = MetaFactories() if self.on_meta else nullcontext()
        try:
            with modes, self, self._following(self._call.model):
                self._enter(self.root, self._call.taken, self._call.kwargs)
                try:
                    output = self._call.renewed()()
                except BaseException:
                    self.leave(self.root.module, None)
                    raise
                self.leave(self.root.module, output)
        finally:
            self._shared.restore()
        self.lazy_output = isinstance(output, Generator)
        return output

    # ---- modules

    @contextmanager
    def _following(self, model: nn.Module) -> Iterator[None]:
        context = ("counts", len(registered)) if self.on_meta and self.repeats else None
        handles = self._hooks_of_scripted(model)
        try:
            with followed(census.hookable(self._modules), self, context):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _hooks_of_scripted(self, model: nn.Module) -> list[Any]:
        """TorchScript takes no hooks of its own; hooks for every module there is see its outer calls."""
        paths = {id(model.get_submodule(path)): path for path in self.scripted if path}
        if not paths:
            return []

        def entering(module: nn.Module, args: Any) -> None:
            if id(module) in paths:
                self.enter(paths[id(module)], module, args, {})

        def leaving(module: nn.Module, args: Any, output: Any) -> None:
            if id(module) in paths:
                self.leave(module, output)

        return [
            register_module_forward_pre_hook(entering),
            register_module_forward_hook(leaving, always_call=True),
        ]

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A call begins."""
        execution = Execution(path, module, 0)
        self._stack[-1].children.append(execution)
        self._enter(execution, args, kwargs)

    def _enter(self, execution: Execution, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._numbers[id(execution.module)] += 1
        execution.number = self._numbers[id(execution.module)]
        with below_functions():
            execution.input_shapes = call_tree(args, kwargs)
        execution.exception_at_entry = sys.exc_info()[1]
        self._stack.append(execution)

    def leave(self, module: nn.Module, output: Any) -> None:
        """A call ends, perhaps because an exception passes through the module; then there is no output."""
        execution = self._stack.pop()
        if sys.exc_info()[1] is not execution.exception_at_entry:
            self.failure = self.failure or execution
            return
        self._leave(execution)
        with below_functions():
            execution.output_shapes = shape_tree(output)
            for tensor in (output,) if isinstance(output, torch.Tensor) else tensors_in(output):
                execution.output_elements += tensor.numel()
                execution.output_bytes += tensor.numel() * tensor.element_size()

    def _leave(self, execution: Execution) -> None:
        self.failure = None  # whoever caught an earlier exception went on
        execution.exit_order = self._exits
        self._exits += 1

    # ---- calls that are repeated

    def begin(self) -> None:
        """From now on the work of ops is noted."""
        self._noted.clear()

    def done_since(self, mark: None, output: Tensor | None) -> _Done:
        """What the call that has just ended did; a new tensor or none is the same to it."""
        execution = self._stack[-1].children[-1]
        shapes = execution.input_shapes, execution.output_shapes
        return _Done(*shapes, execution.output_elements, execution.output_bytes, tuple(self._noted))

    def repeat(self, done: _Done, path: str, module: nn.Module, output: Tensor) -> None:
        """A call of a module did this."""
        self._numbers[id(module)] += 1
        execution = Execution(path, module, self._numbers[id(module)])
        execution.input_shapes, execution.output_shapes = done.input_shapes, done.output_shapes
        execution.output_elements, execution.output_bytes = done.output_elements, done.output_bytes
        self._stack[-1].children.append(execution)
        self._leave(execution)
        for name, macs in done.work:
            self._add(execution, name, macs)

    # ---- ops

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = rule_for(func)
        if isinstance(func, HigherOrderOperator):
            if rule is Verdict.COMPOSITE:
                plain: Any = as_written(func)
                with self:
                    return plain(*args, **kwargs)
            return self._counted(func, rule, func(*args, **kwargs), args, kwargs)
        if isinstance(rule, Verdict) and rule is not Verdict.IGNORED:
            if types:
                return NotImplemented  # a tensor subclass: let it unfold into ops, and see those
            if rule is Verdict.COMPOSITE:
                with self:
                    return func.decompose(*args, **kwargs)
        if not self.on_meta and (writes := facts_of(func).written(args, kwargs)):
            self._shared.keep(writes)
        out = run(func, args, kwargs)
        return out if rule is Verdict.IGNORED else self._counted(func, rule, out, args, kwargs)

    def _counted(
        self, func: Any, rule: Rule | Verdict, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The result of an op, after its work was put down."""
        if rule is Verdict.UNKNOWN:
            self._add(self._stack[-1], spelled(func), None)
        elif not isinstance(rule, Verdict):
            # The result, also where the caller named its place.
            macs = rule(*args, **{**kwargs, "out": out}) if kwargs else rule(*args, out=out)
            if rule is grouped_mm and args[0].dim() == 2 and args[1].dim() == 3:
                weights = args[1]
                key = id(weights.untyped_storage())
                self.experts[key] = (weights.numel(), weights.shape[0], args[0].shape[0])
            self._add(self._stack[-1], spelled(func), macs)
        return out

    def _add(self, execution: Execution, op: str, macs: int | None) -> None:
        """An op did so many multiply-accumulates; None is work without a rule."""
        self._noted.append((op, macs))
        if macs is None:
            self.uncounted[op] += 1
        else:
            execution.own_macs += macs
            self.macs_by_op[op] += macs


def _outermost_scripted(modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    found: list[str] = []
    for path, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule) and not any(
            not outer or path.startswith(f"{outer}.") for outer in found
        ):
            found.append(path)
    return tuple(found)


def _shown(operator: HigherOrderOperator) -> Callable[..., Any]:
    """How a recorder is shown a higher-order operator by a torch that has to be told for each of them."""

    def show(recorder: Recorder, *args: Any, **kwargs: Any) -> Any:
        return recorder.__torch_dispatch__(operator, (), args, kwargs)

    return show
