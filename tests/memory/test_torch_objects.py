"""torch's own objects as options: they mean what the words mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import modelsum
from modelsum.errors import UsageError

MODEL = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
X = torch.ones(4, 8)


def made(kind: Any, **settings: Any) -> torch.optim.Optimizer:
    return kind(MODEL.parameters(), **{"lr": 0.1, **settings})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": torch.device("cpu")}, {"device": "cpu"}),
        ({"dtype": torch.float64, "input_size": (8,)}, {"dtype": "float64", "input_size": (8,)}),
        ({"amp": torch.bfloat16}, {"amp": "bf16"}),
        ({"optimizer": torch.optim.Adam}, {"optimizer": "adam"}),
        ({"optimizer": made(torch.optim.SGD)}, {"optimizer": "sgd"}),
        ({"optimizer": made(torch.optim.SGD, momentum=0.9)}, {"optimizer": "momentum"}),
        (
            {"optimizer": made(torch.optim.Adam, weight_decay=0.1)},
            {"optimizer": "adam", "weight_decay": True},
        ),
        ({"optimizer": made(torch.optim.AdamW, foreach=False)}, {"optimizer": "adamw", "foreach": False}),
        ({"optimizer": made(torch.optim.AdamW, fused=True)}, {"optimizer": "adamw", "fused": True}),
        ({"optimizer": torch.optim.Adafactor}, {"optimizer": "adafactor"}),
        ({"loss": nn.CrossEntropyLoss()}, {"loss": "cross-entropy"}),
        ({"loss": nn.CrossEntropyLoss}, {"loss": "cross-entropy"}),
        ({"loss": functional.cross_entropy}, {"loss": "cross-entropy"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_object_means_what_the_word_means(given: dict[str, Any], words: dict[str, Any]) -> None:
    def summary(options: dict[str, Any]) -> dict[str, Any]:
        return modelsum.summarize(MODEL, *([] if "input_size" in options else [X]), **options).to_dict()

    assert summary(given) == summary(words)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": torch.optim.LBFGS}, "LBFGS calls a closure"),
        ({"optimizer": made(torch.optim.Adam, amsgrad=True), "weight_decay": True}, "settings of its own"),
        ({"optimizer": torch.optim.RMSprop, "foreach": True}, "one implementation"),
        ({"optimizer": made(torch.optim.AdamW, fused=True), "foreach": True}, "both given"),
        ({"optimizer": made(torch.optim.Adam), "weight_decay": True}, "has another one"),
        ({"optimizer": 5}, "the optimizer is an int"),
        ({"loss": nn.MSELoss()}, "the loss is an MSELoss"),
        ({"loss": 5}, "the loss is an int"),
        ({"device": torch.device("mps")}, "unknown device 'mps'"),
        ({"dtype": torch.int64}, "unknown dtype"),
        ({"amp": True}, "amp 'True' is not known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_others_are_refused_with_what_is_known(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        modelsum.summarize(MODEL, X, **given)
    assert refused.value.hint


def test_fit_takes_them_too() -> None:
    fits = [
        modelsum.fit(MODEL, memory="1GiB", input_size=(8,), optimizer=o, more=False)
        for o in (torch.optim.SGD, "sgd")
    ]
    assert fits[0].batch == fits[1].batch
