"""Higher-order operators as they are written: ops whose arguments are functions, done without compiling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from modelsum.trace.torch_private import COND, HigherOrderOperator, plain_kernel_of, run_scan
from modelsum.trace.values.known_values import value_of
from modelsum.trace.values.op_facts import tensors_among


def as_written(operator: HigherOrderOperator) -> Callable[..., Any] | None:
    """What does the operator's work in ops that a mode sees; None where it is one op to torch."""
    return control_flow(operator) or plain_kernel_of(operator)


def control_flow(operator: Any) -> Callable[..., Any] | None:
    """What does the work of an operator that chooses or repeats functions; None for any other op."""
    return _CONTROL_FLOW.get(operator.name()) if isinstance(operator, HigherOrderOperator) else None


def cond(pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """torch.cond: the branch that runs."""
    return (true_fn if _holds(pred, "torch.cond") else false_fn)(*operands)


@contextmanager
def conditions_with_derivatives(unmeasured: Counter[str]) -> Iterator[None]:
    """Count each torch.cond with a derivative: torch's has zeros for all that the other branch reads."""

    def counted(*arguments: Any, **named: Any) -> Any:
        result = cond(*arguments, **named)
        if any(tensor.requires_grad for tensor in tensors_among((result,))):
            unmeasured["torch.cond"] += 1
        return result

    with COND.replaced(counted):
        yield


def _while_loop(cond_fn: Any, body_fn: Any, carried: Any, additional: Any) -> Any:
    """torch._higher_order_ops.while_loop: every round."""
    while _holds(cond_fn(*carried, *additional), "while_loop"):
        carried = body_fn(*carried, *additional)
    return carried


def _scan(combine_fn: Any, init: Any, xs: Any, additional: Any, **unused: Any) -> Any:
    """torch._higher_order_ops.scan: every step."""
    return run_scan(combine_fn, init, xs, additional)


def _holds(pred: Any, operator: str) -> bool:
    value = value_of(pred) if isinstance(pred, Tensor) else pred
    if value is None:
        raise NotImplementedError(
            f"what {operator} does depends on values that the meta device does not have"
        )
    return bool(value)


_CONTROL_FLOW: dict[str, Callable[..., Any]] = {"cond": cond, "while_loop": _while_loop, "scan": _scan}
