"""Whatever carries tensors counts, is copied, and is left alone: objects of any class, in and out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import modelsum
from modelsum.trace.holders import named_tensors_held, rebuilt, tensors_held, tensors_in

NODES, EDGES = 1000, 5000
#: [1000, 64] float32 and [2, 5000] int64.
BYTES = NODES * 64 * 4 + 2 * EDGES * 8


class Plain:
    def __init__(self, x: Tensor, edges: Tensor) -> None:
        self.x, self.edges = x, edges


class Slots:
    __slots__ = ("edges", "x")

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        self.x, self.edges = x, edges


class Stored:
    """As graph libraries do it: attributes stand in a store."""

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        self.__dict__["_store"] = {"x": x, "edges": edges}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._store:
            raise AttributeError(name)
        return self._store[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._store[name] = value


class Callable_(Plain):
    def __call__(self) -> Tensor:
        return self.x


class Locked(Plain):
    """It cannot be copied as a whole."""

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        super().__init__(x, edges)
        self.lock = threading.Lock()


class LockedItself(Locked):
    """It cannot be copied as a whole, and holds itself."""

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        super().__init__(x, edges)
        self.me = self


class Itself(Plain):
    """It holds itself."""

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        super().__init__(x, edges)
        self.me = self


@dataclass
class Data:
    x: Tensor
    edges: Tensor


def namespace(x: Tensor, edges: Tensor) -> SimpleNamespace:
    return SimpleNamespace(x=x, edges=edges)


KINDS = [Plain, Slots, Stored, Callable_, Locked, LockedItself, Itself, Data, namespace]


class Graph(nn.Module):
    """Puts what it computed into its input, as layers of graph libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 16)

    def forward(self, graph: Any) -> Tensor:
        graph.x = self.fc(graph.x)
        return torch.zeros_like(graph.x).index_add(0, graph.edges[1], graph.x[graph.edges[0]])


def tensors() -> tuple[Tensor, Tensor]:
    return torch.randn(NODES, 64), torch.zeros(2, EDGES, dtype=torch.int64)


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_object_is_an_input_and_stays_the_callers_own(kind: Callable[..., Any], device: str) -> None:
    x, edges = tensors()
    graph = kind(x, edges)
    summary = modelsum.summarize(Graph(), graph, device=device, target="cpu")
    assert summary.totals.macs == NODES * 64 * 16
    assert summary.totals.input_bytes == BYTES
    assert {i.name: i.shape for i in summary.inputs} == {"x": (NODES, 64), "edges": (2, EDGES)}
    assert summary.memory is not None
    assert summary.memory.inference.parts["inputs"] == BYTES
    assert graph.x is x
    assert graph.edges is edges
    assert not x.is_meta


def test_an_object_that_refuses_any_copy_is_told() -> None:
    class Refusing(Plain):
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise TypeError("not mine to copy")

    with pytest.raises(modelsum.InputError, match="a Refusing, which cannot be copied"):
        modelsum.summarize(Graph(), Refusing(*tensors()))


def test_the_peaks_with_an_object_are_those_with_its_tensors() -> None:
    class Bare(Graph):
        def forward(self, x: Tensor, edges: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(SimpleNamespace(x=x, edges=edges))

    bare = modelsum.summarize(Bare(), *tensors()).memory
    held = modelsum.summarize(Graph(), Plain(*tensors())).memory
    assert bare is not None
    assert held is not None
    # What the forward put into the object lives as long as the object, which the caller has in hand.
    assert held.inference_peak_bytes == bare.inference_peak_bytes
    assert held.training_peak_bytes is not None
    assert held.training_peak_bytes >= (bare.training_peak_bytes or 0)


def test_an_input_that_the_forward_writes_into_is_new_for_every_pass() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 8)

        def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
            batch["x"] = self.fc(batch["x"])
            batch.setdefault("seen", []).append(1)
            assert len(batch["seen"]) == 1
            return batch

    given = {"x": torch.ones(2, 4)}
    summary = modelsum.summarize(Net(), given)
    assert summary.memory is not None
    assert summary.memory.training_peak_bytes
    assert list(given) == ["x"]


def test_outputs_that_are_objects_can_be_trained() -> None:
    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Any:
            return torch.distributions.Normal(self.fc(x), torch.ones(2, 4, device=x.device))

    memory = modelsum.summarize(Policy(), torch.ones(2, 4)).memory
    assert memory is not None
    assert memory.saved_for_backward_bytes is not None
    assert not memory.notices


# ---- what it is made of


def test_tensors_are_found_in_containers_objects_and_partials() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    value = {"a": [a], "rest": functools.partial(print, b, key=Plain(c, a))}
    assert [t.numel() for t in tensors_held(value)] == [1, 2, 3, 1]
    assert [t.numel() for t in tensors_in(value)] == [1]
    assert [name for name, _ in named_tensors_held(value)] == [
        "a.0",
        "rest.args.0",
        "rest.keywords.key.x",
        "rest.keywords.key.edges",
    ]


def test_functions_classes_modules_and_loggers_hold_nothing() -> None:
    layer = nn.Linear(2, 2)
    for value in (print, Plain, nn, layer, layer.forward, threading.current_thread(), "text", 1, None):
        assert list(tensors_held(value)) == []
        assert rebuilt(value, lambda tensor: tensor) == value


def test_a_tensor_that_is_there_twice_is_changed_once() -> None:
    shared = torch.zeros(2)
    new = rebuilt((Plain(shared, shared), [shared]), lambda tensor: tensor + 1)
    assert new[0].x is new[0].edges is new[1][0]


# ---- modes


@pytest.mark.parametrize("inside", [False, True])
def test_a_train_that_is_no_mode_is_not_called(inside: bool) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def train(self, trainer: Any = None, **options: Any) -> Any:
            raise AssertionError("it starts its trainer")

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    model: nn.Module = Detector()
    summary = modelsum.summarize(nn.Sequential(model) if inside else model, torch.ones(2, 4), mode="train")
    assert summary.totals.macs == 32
    assert summary.memory is not None
    assert summary.memory.training_peak_bytes


def test_a_train_of_its_own_that_takes_a_mode_is_called() -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self[1].eval()
            return self

    class Watched(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            return super().forward(x)

    summary = modelsum.summarize(Frozen(nn.Linear(4, 4), Watched(4)), torch.ones(2, 4), mode="train")
    assert summary.executed
    assert summary.memory is not None
    assert summary.memory.training_peak_bytes
