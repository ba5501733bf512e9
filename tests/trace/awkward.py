"""What the tests of awkward models share: small layers, and the figures of one summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import modelsum

X = torch.arange(8.0).reshape(2, 4)
#: Multiply-accumulates of one call of `layer()` on X, and its params.
MACS, PARAMS = 2 * 4 * 5, 4 * 5 + 5


def layer() -> nn.Linear:
    return nn.Linear(4, 5)


class Net(nn.Module):
    """A model that is one function of itself and its inputs, and holds what it is given."""

    def __init__(self, function: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


@dataclass(frozen=True)
class Case:
    """A model, its call, and what a summary has to say of them.

    Attributes:
        build: makes the model anew.
        args: what it is called with; a function that makes them where they cannot be made twice.
        calls: executions of modules.
        out: the output's shapes.
        cpu: why device "auto" ends on the CPU, a part of the notice; None: it does not.
        notice: a part of another notice that has to be there.
        uncounted: names of ops without a rule.
        devices: those that are asked for.
    """

    build: Callable[[], nn.Module]
    args: tuple[Any, ...] = (X,)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    params: int = PARAMS
    macs: int = MACS
    calls: int = 2
    out: Any = (2, 5)
    cpu: str | None = None
    notice: str | None = None
    uncounted: frozenset[str] = frozenset()
    buffers: int = 0
    train_macs: int | None = None
    devices: tuple[str, ...] = ("auto", "cpu")


def check(case: Case, device: str, mode: str) -> modelsum.Summary:
    """Summarise the case and compare; the summary, for what else is to be said of it."""
    model = case.build()
    summary = modelsum.summarize(model, *case.args, kwargs=case.kwargs, device=device, mode=mode)
    totals = summary.totals
    macs = case.macs if mode == "eval" or case.train_macs is None else case.train_macs
    assert (totals.params, totals.buffers, totals.macs) == (case.params, case.buffers, macs)
    assert sum(row.own_macs for row in summary.layers) == summary.layers[0].macs == macs
    assert sum(row.counted_params for row in summary.layers) == case.params
    assert (totals.module_calls, summary.layers[0].output_shapes) == (case.calls, case.out)
    assert set(summary.uncounted_ops) == case.uncounted
    fell_back = [n for n in summary.notices if n.startswith("the meta device could not run it")]
    if device == "auto" and case.cpu is not None:
        assert (summary.device, len(fell_back)) == ("cpu", 1)
        assert case.cpu in fell_back[0]
    else:
        assert (summary.device, fell_back) == ("meta" if device == "auto" else device, [])
    others = [n for n in summary.notices if n not in fell_back]
    assert len(others) == (case.notice is not None)
    assert case.notice is None or case.notice in others[0]
    return summary


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
