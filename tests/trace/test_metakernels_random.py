"""The shape rules on arguments that nobody chose: where a rule answers, the op gives just that.

The cases of test_metakernels are taken and changed at random: other sizes, 0 and 1 among them, another dtype
and another layout for each tensor, other numbers. Many of these calls are wrong, or of a kind that no rule is
meant for. Then the rule has to decline, so that torch's own kernel runs, with its own error.

Ops that autograd alone calls, with arguments that fit each other, are not called with others: some of their
kernels look at nothing and crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from test_metakernels import CASES, LAYOUTS, Case, Make, call, contiguous, described, on_meta, op
from torch import Tensor
from torch_here import skip_unless_group_norm_takes_any_layout

from modelsum.trace.metakernels.table import RULES

FLOATING = (torch.float32, torch.float64, torch.bfloat16)
ANY = (*FLOATING, torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)

# Where rules say more than the CPU: it has no statistics of a batch norm that does not train.
EMPTY_ON_THE_CPU = ("native_batch_norm",)


def permuted(x: Tensor) -> Tensor:
    """The dimensions in another order in memory."""
    order = [*range(1, x.dim()), 0] if x.dim() else []
    back = [order.index(d) for d in range(x.dim())]
    return x.permute(order).contiguous().permute(back)


LAID_OUT = (*LAYOUTS, contiguous, permuted)


class Changes:
    """One way in which the arguments of a case are changed."""

    def __init__(self, draw: Callable[[Any], Any], *, fitting: bool) -> None:
        """`fitting`: what has to fit each other still does."""
        self._draw = draw
        self._fitting = fitting
        self._sizes: dict[int, int] = {}

    def of(self, value: Any) -> Any:
        """An argument, changed."""
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.of, value))
        if isinstance(value, bool):
            return value if self._fitting or self._mostly() else not value
        if isinstance(value, int):
            return self._size(value)
        return value

    def _tensor(self, x: Tensor) -> Tensor:
        shape = [self._size(n) for n in x.shape]
        if not self._fitting and not self._mostly():
            shape = self._draw(st.sampled_from([shape[1:], [1, *shape], [*shape[:-1], 1][: len(shape)]]))
        dtype = x.dtype
        if not self._fitting and not self._mostly():
            dtype = self._draw(st.sampled_from(ANY))
        layout = self._draw(st.sampled_from(LAID_OUT))
        zeros = torch.zeros(shape, dtype=dtype)
        return layout(zeros if dtype is torch.int64 else torch.ones_like(zeros))

    def _size(self, size: int) -> int:
        """The same size is changed into the same everywhere, so that what has to agree still does."""
        if self._fitting:
            return size
        if size not in self._sizes:
            self._sizes[size] = size if self._mostly() else self._draw(st.integers(0, 9))
        return self._sizes[size]

    def _mostly(self) -> bool:
        return bool(self._draw(st.integers(0, 7)))


def storages(value: Any) -> Iterator[int]:
    if isinstance(value, Tensor):
        yield value.untyped_storage()._cdata
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from storages(part)


def aliases(result: Any, arguments: Any) -> list[bool]:
    """For each result, whether its storage is an argument's."""
    given = set(storages(arguments))
    return [storage in given for storage in storages(result)]


def check(name: str, case: Case, dtype: torch.dtype, changes: Changes) -> None:
    try:
        arguments = tuple(map(changes.of, case(Make(dtype, contiguous))))
    except RuntimeError:
        reject()
    meta = on_meta(arguments)
    try:
        result = call(RULES[name], meta)
    except (RuntimeError, IndexError) as error:
        result = error  # of an op that the rule calls
    if result is NotImplemented:
        return
    try:
        expected = call(op(name), arguments)
    except (RuntimeError, IndexError) as error:
        if isinstance(result, Exception) or "not implemented for" in str(error):
            return  # in the other case the CPU's kernel lacks a dtype
        raise AssertionError(f"the rule answers {described(result)}; the op: {error}") from error
    if name in EMPTY_ON_THE_CPU:
        result, expected = result[0], expected[0]
    assert described(result) == described(expected)
    assert aliases(result, meta) == aliases(expected, arguments)


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=8, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_rule_gives_what_the_op_gives_or_declines(name: str, data: st.DataObject) -> None:
    op(name)
    if name.startswith("native_group_norm"):
        skip_unless_group_norm_takes_any_layout()
    case, dtype = data.draw(st.sampled_from(CASES[name])), data.draw(st.sampled_from(FLOATING))
    check(name, case, dtype, Changes(data.draw, fitting="backward" in name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=1000, deadline=None, database=None)
@given(data=st.data())
def test_at_length_and_other_arguments_each_time(name: str, data: st.DataObject) -> None:
    op(name)
    case, dtype = data.draw(st.sampled_from(CASES[name])), data.draw(st.sampled_from(FLOATING))
    check(name, case, dtype, Changes(data.draw, fitting="backward" in name))
