"""Control flow and compiled code inside a model: what runs is counted, as it is written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_cpu import inference_peak, real_peaks, storage_bytes, training_peaks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import modelsum

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.ones(2, 4)
#: [2, 4] times [4, 4].
MACS = 32


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)


class Cond(Net):
    """One of two branches, by a value that is known."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, self.a, self.b, (x,))


class Computed(Net):
    """By one that depends on parameters: only a real device has it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(self.a(x).sum() > 0, self.a, self.b, (x,))


class While(Net):
    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.while_loop import while_loop

        rounds = while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, self.a(x)), (torch.tensor(0), x))
        return rounds[1]


class Map(Net):
    """A row at a time."""

    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.map import map as mapped

        return mapped(lambda row: self.a(row).tanh(), x)


class Scan(Net):
    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.scan import scan

        return scan(lambda carry, row: (carry + self.a(row), carry * 2), torch.zeros_like(x[0]), x)[1]


class Flex(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        return flex_attention(x, x, x)


class Compiled(Net):
    """It compiles a part of itself while it runs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.compile(self.a)(x)


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("kind", "macs"),
    [(Cond, MACS), (Computed, 2 * MACS), (While, 3 * MACS), (Map, MACS), (Scan, MACS), (Compiled, MACS)],
)
def test_what_runs_is_counted(kind: Any, macs: int, mode: str, device: str) -> None:
    if kind is While and not hasattr(TorchDispatchMode, "supports_higher_order_operators"):
        pytest.skip("this torch looks into a loop once more before it runs it")
    summary = modelsum.summarize(kind(), X, mode=mode, device=device, memory=False)
    assert summary.totals.macs == macs
    assert not summary.uncounted_ops
    assert summary.device == ("cpu" if kind is Computed or device == "cpu" else "meta")


@pytest.mark.parametrize("kind", [Cond, Compiled])
def test_the_memory_is_that_of_the_branch_as_it_is_written(kind: Any) -> None:
    class Branch(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.a(x)

    plain = modelsum.summarize(Branch(), X, target="cpu", optimizer="none").memory
    memory = modelsum.summarize(kind(), X, target="cpu", optimizer="none").memory
    assert plain is not None
    assert memory is not None
    condition = 1 if kind is Cond else 0  # a bool, in the hands of the forward
    assert memory.inference_peak_bytes == plain.inference_peak_bytes + condition
    assert memory.training_peak_bytes == plain.training_peak_bytes
    assert memory.saved_for_backward_bytes == plain.saved_for_backward_bytes


def test_of_a_condition_the_training_step_is_a_lower_bound() -> None:
    """Parameters that only the other branch reads get gradients of zeros."""
    model = Cond()
    memory = modelsum.summarize(model, X, target="cpu", optimizer="sgd").memory
    assert memory is not None
    assert (memory.bound, dict(memory.unmeasured)) == ("lower", {"torch.cond": 1})
    real = real_peaks(model, (X,), torch.sum, lambda p: torch.optim.SGD(p, lr=0.0, foreach=False))
    assert memory.training_peak_bytes is not None
    assert memory.training_peak_bytes < real.training


@pytest.mark.parametrize("kind", [Map, Scan])
def test_what_is_repeated_has_its_inference(kind: Any) -> None:
    model = kind()
    memory = modelsum.summarize(model, X, target="cpu").memory
    assert memory is not None
    real = inference_peak(model, (X,))
    assert real - 16 <= memory.inference_peak_bytes <= real
    assert memory.training is None
    assert "the derivative of" in memory.notices[0]


def test_what_is_fused_where_it_is_compiled_is_a_lower_bound() -> None:
    x = torch.rand(1, 2, 128, 16)
    memory = modelsum.summarize(Flex(), x, target="cpu").memory
    assert memory is not None
    assert (memory.bound, dict(memory.unmeasured)) == ("lower", {"higher_order.flex_attention": 1})
    assert memory.inference_peak_bytes >= 2 * x.nbytes


def test_where_compiled_code_alone_has_a_derivative_the_training_step_is_not_known() -> None:
    summary = modelsum.summarize(While(), X)
    memory = summary.memory
    assert (
        memory is None or memory.training_peak_bytes is None
    )  # before 2.9 torch shows it to no mode of ours
    assert "while_loop" in (summary.notices[0] if memory is None else memory.notices[0])


def test_torch_is_as_it_was_afterwards() -> None:
    before = torch.compile, torch.cond
    modelsum.summarize(Cond(), X)
    assert (torch.compile, torch.cond) == before


def test_jagged_tensors_made_inside_are_counted() -> None:
    class Jagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4, bias=False), nn.Linear(4, 2, bias=False)

        def forward(self, rows: list[Tensor]) -> Tensor:
            nested = torch.nested.nested_tensor(list(rows), layout=torch.jagged)
            return self.b(torch.nested.to_padded_tensor(self.a(nested), 0.0).mean(1))

    summary = modelsum.summarize(Jagged(), [torch.randn(3, 6), torch.randn(5, 6)])
    assert summary.totals.macs == (3 + 5) * 6 * 4 + 2 * 4 * 2
    assert summary.layers[1].input_shapes == [(2, "*", 6)]
    assert summary.memory is not None


@pytest.mark.parametrize("layers", [[nn.Linear(8, 2)], [nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16)]])
def test_jagged_tensors_have_memory(layers: list[nn.Module]) -> None:
    """Their values and where the rows begin, told 72 bytes for 3,296 once."""
    model = nn.Sequential(*layers)
    rows = torch.nested.nested_tensor([torch.rand(30, 8), torch.rand(50, 8)], layout=torch.jagged)
    own = 80 * 8 * 4 + 3 * 8
    real = training_peaks(model, (rows,), torch.sum, lambda p: torch.optim.SGD(p, lr=0.0, foreach=False))
    memory = modelsum.summarize(model, rows, target="cpu", optimizer="sgd").memory
    assert memory is not None
    assert memory.training_peak_bytes == real.training - storage_bytes([rows]) + own
