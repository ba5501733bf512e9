"""The copy that is run in place of a model: as copy.deepcopy would make it, on another device."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modelsum import zoo
from modelsum.trace.copying import copy_to

META = torch.device("meta")


class Shares(nn.Module):
    """Two layers that hold one list, one dict that knows its owner, and a layer that is there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.again = self.first
        self.first.notes = self.second.notes = ["a", {"b": (1, 2)}]
        self.known = {"owner": [self], 3: "three"}
        self.settings = ((1, 2), [3], {4})


class Counts(nn.Linear):
    """Says itself what its state is, and what becomes of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "pickled": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.restored = True


class Copies(nn.Linear):
    """Says itself how it is copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Copies:
        twin = Copies(self.in_features, self.out_features, device=META)
        twin.by_itself = True
        return twin


def plain(value: Any) -> Any:
    """What can be compared of something that a module holds."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.requires_grad
    if isinstance(value, nn.Module):
        return type(value)
    if isinstance(value, dict):
        return type(value), {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [plain(item) for item in value]
    return value if isinstance(value, (int, float, str, set, type(None))) else type(value)


@pytest.mark.parametrize(
    "model",
    [zoo.build("mobilenet_v2"), Shares(), Counts(2, 3), nn.LSTM(3, 4), nn.Sequential(Copies(2, 3))],
    ids=lambda m: type(m).__name__,
)
def test_it_holds_what_a_deep_copy_holds(model: nn.Module) -> None:
    ours, theirs = copy_to(model, META), copy.deepcopy(model)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    for mine, other, original in zip(ours.modules(), theirs.modules(), model.modules(), strict=True):
        assert plain(vars(mine)) == plain(vars(other))
        assert mine is not original
        for name, value in vars(mine).items():
            if isinstance(value, (dict, list, set)):
                assert value is not vars(original).get(name)
    assert all(t.is_meta for t in (*ours.parameters(), *ours.buffers()))


def test_what_is_shared_is_shared_in_the_copy() -> None:
    model = Shares()
    ours: Any = copy_to(model, META)
    assert ours.first is ours.again
    assert ours.first.notes is ours.second.notes
    assert ours.first.notes is not model.first.notes
    assert ours.known["owner"] == [ours]
    assert ours.first.notes[1] == {"b": (1, 2)}


def test_classes_have_their_say() -> None:
    counts: Any = copy_to(Counts(2, 3), META)
    assert counts.restored
    copies: Any = copy_to(nn.Sequential(Copies(2, 3)), META)
    assert copies[0].by_itself


def test_a_compiled_call_is_not_copied() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model._compiled_call_impl = lambda *args: None  # what model.compile() sets
    assert copy_to(model, META)._compiled_call_impl is None
