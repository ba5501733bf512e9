"""QLoRA beside bitsandbytes' own layers on the CPU: the base is unpacked in both passes."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from real_cpu import storage_bytes, training_peaks
from torch import nn

import modelsum

# They load for seconds what this file's tests alone need: in them, then.
pytestmark = pytest.mark.skipif(
    not (find_spec("bitsandbytes") and find_spec("peft")), reason="bitsandbytes or peft is not here"
)

NAMES = ("i", "q", "k", "v")


class Net(nn.Module):
    """Three layers derive one input's gradient, each unpacking its own weight for it."""

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Linear(512, 512, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.i(x))
        return torch.tanh(self.q(y) * self.k(y) + self.v(y))


@pytest.mark.parametrize("double", [False, True])
def test_a_step_takes_what_the_kernels_of_bitsandbytes_take(double: bool) -> None:
    x = torch.randn(16, 512)
    lora = f"r=4,targets={'|'.join(NAMES)},base=nf4,double={double}"
    found = modelsum.summarize(Net(), x, lora=lora, optimizer="adamw", target="cpu")
    real, scales = _real(double)
    took = training_peaks(real, (x,), lambda y: y.sum(), torch.optim.AdamW)
    assert found.memory is not None
    assert found.memory.training is not None
    assert found.memory.training.bytes == pytest.approx(took.training + scales, rel=0.001)
    assert found.memory.training.phase == "backward"
    assert took.phases["backward"] == took.training


def _real(double: bool) -> tuple[nn.Module, int]:
    """The same on bitsandbytes' layers, and the bytes of their scales."""
    import bitsandbytes as bnb
    import peft

    net, scales = Net(), 0
    for name in NAMES:
        layer = bnb.nn.Linear4bit(512, 512, bias=False, quant_type="nf4", compress_statistics=double)
        layer.load_state_dict(getattr(net, name).state_dict())
        layer.to("cpu")
        state = layer.weight.quant_state
        held = [state.absmax, state.code]
        if double:
            held += [state.offset, state.state2.absmax, state.state2.code]
        scales += storage_bytes(held)
        setattr(net, name, layer)
    config = peft.LoraConfig(r=4, target_modules=list(NAMES))
    return peft.inject_adapter_in_model(config, net), scales
