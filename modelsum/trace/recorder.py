"""The hooked forward pass: which module ran when, with what shapes, and which ops it did.

Hooks follow the modules, a dispatch mode sees every op below autograd; an op belongs to the module
whose call is innermost at that moment. Nothing here looks at the data of a tensor, so the same recorder
works on the meta device, the CPU and CUDA.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from modelsum.summary import ShapeTree
from modelsum.trace.known_values import MetaFactories, run
from modelsum.trace.ops import Verdict, rule_for
from modelsum.trace.shapes import call_tree, shape_tree, tensors_in


class Call:
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
        self.children: list[Call] = []
        self.exit_order: int | None = None
        self.input_shapes: ShapeTree = None
        self.output_shapes: ShapeTree = None
        self.output_elements = 0
        self.output_bytes = 0
        self.own_macs = 0
        self.exception_at_entry: BaseException | None = None

    def walk(self) -> Iterator[Call]:
        """This call and all calls inside it, in the order in which they began."""
        yield self
        for child in self.children:
            yield from child.walk()


class Recorder(TorchDispatchMode):
    """Records the calls and the work of one forward pass of `model`.

    Attributes:
        root: the call of the model itself; all other calls are inside it.
        failure: the innermost call whose forward raised, or None.
        uncounted: ops without a rule, by name, with how often they ran.
        macs_by_op: multiply-accumulates by the name of the op.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's default wraps __torch_dispatch__ so that it imports torch._dynamo, 0.8 s at the first op.
        return False

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.on_meta = device.type == "meta"
        self.root = Call("", model, 0)
        self.failure: Call | None = None
        self.uncounted: Counter[str] = Counter()
        self.macs_by_op: Counter[str] = Counter()
        self._stack: list[Call] = []
        self._numbers: Counter[int] = Counter()
        self._exits = 0

    @property
    def calls(self) -> int:
        """How many executions of modules began, the model's own included."""
        return self._numbers.total()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole pass."""
        return sum(call.own_macs for call in self.root.walk())

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the model and record everything that happens; leaves no hook behind. Raises what it raises."""
        model = self.root.module
        with self._hooks(model):
            self._enter(self.root, args, kwargs)
            try:
                with MetaFactories() if self.on_meta else nullcontext(), self:
                    output = model(*args, **kwargs)
            except BaseException:
                self._leave(None, failed=True)
                raise
            self._leave(output, failed=False)
        return output

    # ---- modules

    @contextmanager
    def _hooks(self, model: nn.Module) -> Iterator[None]:
        handles = []
        try:
            for path, module in model.named_modules():
                if module is model or isinstance(module, torch.jit.ScriptModule):
                    continue  # TorchScript takes no Python hooks: its work belongs to the module around it
                handles.append(
                    module.register_forward_pre_hook(self._entering(path), prepend=True, with_kwargs=True)
                )
                handles.append(module.register_forward_hook(self._leaving, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, path: str) -> Callable[..., None]:
        def entering(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = Call(path, module, 0)
            self._stack[-1].children.append(call)
            self._enter(call, args, kwargs)

        return entering

    def _enter(self, call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._numbers[id(call.module)] += 1
        call.number = self._numbers[id(call.module)]
        call.input_shapes = call_tree(args, kwargs)
        call.exception_at_entry = sys.exc_info()[1]
        self._stack.append(call)

    def _leaving(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        # The hook is also called while an exception passes through the module; then there is no output.
        self._leave(output, failed=sys.exc_info()[1] is not self._stack[-1].exception_at_entry)

    def _leave(self, output: Any, *, failed: bool) -> None:
        call = self._stack.pop()
        if failed:
            self.failure = self.failure or call
            return
        self.failure = None  # whoever caught an earlier exception went on
        call.exit_order = self._exits
        self._exits += 1
        call.output_shapes = shape_tree(output)
        for tensor in tensors_in(output):
            call.output_elements += tensor.numel()
            call.output_bytes += tensor.numel() * tensor.element_size()

    # ---- ops

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = rule_for(func)
        if isinstance(rule, Verdict):
            if rule is not Verdict.IGNORED:
                if types:
                    return NotImplemented  # a tensor subclass: let it unfold into ops, and see those
                if rule is Verdict.COMPOSITE:
                    with self:
                        return func.decompose(*args, **kwargs)
                self.uncounted[_name(func)] += 1
            return run(func, args, kwargs)
        out = run(func, args, kwargs)
        macs = rule(*args, out=out, **kwargs)
        self._stack[-1].own_macs += macs
        self.macs_by_op[_name(func)] += macs
        return out


def _name(op: Any) -> str:
    """The op as torch spells it: "aten.convolution"."""
    name: str = op._schema.name
    return name.replace("::", ".")
