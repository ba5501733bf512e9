"""What a module of the user's says of its own input."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from torch import nn

import modelsum


def test_transformers_stays_as_far_loaded_as_the_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads its parts, and the compiler with them, when it is asked for their names: seconds."""

    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> None:
            asked.append(name)
            raise AttributeError(name)

    asked: list[str] = []
    monkeypatch.setitem(sys.modules, "transformers", Lazy("transformers"))
    monkeypatch.delitem(sys.modules, "transformers.modeling_utils", raising=False)
    assert modelsum.summarize(nn.Linear(8, 2), input_size=(1, 8)).totals.params == 18
    assert not [name for name in asked if not name.startswith("__")]
