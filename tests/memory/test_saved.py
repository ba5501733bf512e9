"""What autograd keeps for the backward pass, predicted, against its own hooks in a real forward on the CPU.

Of all the classification models of torchvision a few are looked at in every run, and all with

    python -m pytest tests/memory/test_saved.py -m slow
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_cpu import saved_bytes
from torch import nn

from modelsum.memory import MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.copying import copy_to
from modelsum.trace.inputs import move
from modelsum.trace.step.training import predict_memory

torchvision = pytest.importorskip("torchvision")

CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)
META = torch.device("meta")
FEW = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_32")
BATCH = 2


def built(name: str) -> tuple[nn.Module, int]:
    """A model with weights that mean nothing, and pixels that are enough for it."""
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    pixels = 299 if name == "inception_v3" else 64
    if name.startswith("vit"):
        pixels = options["image_size"] = 56 if name == "vit_h_14" else 64
    if name == "maxvit_t":
        pixels = 224
    return torchvision.models.get_model(name, weights=None, **options), pixels


def check(name: str) -> None:
    model, pixels = built(name)
    x = torch.rand(BATCH, 3, pixels, pixels)
    args, kwargs = move(((x,), {}), META)
    memory = predict_memory(
        Call(copy_to(model, META), args, kwargs), options=MemoryOptions(optimizer="none"), target="cpu"
    )
    assert memory.saved_for_backward_bytes == saved_bytes(model, x)
    assert memory.modules[""].saved_bytes == memory.saved_for_backward_bytes
    assert sum(m.own_saved_bytes for m in memory.modules.values()) == memory.saved_for_backward_bytes


@pytest.mark.parametrize("name", FEW)
def test_saved_for_backward_is_what_real_hooks_count(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in FEW])
def test_saved_for_backward_of_every_classification_model(name: str) -> None:
    """python -m pytest tests/memory/test_saved.py -m slow"""
    check(name)
