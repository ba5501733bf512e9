"""Several sequences in one row: their places begin anew, and no sequence sees another one."""

from __future__ import annotations

import pytest
import torch
from real_cpu import training_peaks
from small_llama import LLAMA
from torch import Tensor, nn

import modelsum

transformers = pytest.importorskip("transformers")

LENGTHS = (64, 96, 32)


class Packed(nn.Module):
    """The logits of one row of ids; places that begin anew tell the sequences apart."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.LlamaConfig(**{**LLAMA, "dtype": "float32"})
        self.net = transformers.LlamaForCausalLM(config)

    def forward(self, ids: Tensor, places: Tensor | None = None) -> Tensor:
        logits: Tensor = self.net(input_ids=ids, position_ids=places, use_cache=False).logits
        return logits


def test_a_step_on_packed_sequences_takes_what_a_real_one_takes() -> None:
    ids = torch.randint(512, (1, sum(LENGTHS)))
    places = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    peaks = {}
    for what, args in {"one": (ids,), "packed": (ids, places)}.items():
        found = modelsum.summarize(Packed(), *args, target="cpu", mode="train", optimizer="adamw").memory
        assert found is not None
        took = training_peaks(Packed(), args, lambda y: y.sum(), torch.optim.AdamW)
        assert found.training_peak_bytes == pytest.approx(took.training, rel=0.001)
        peaks[what] = found.phase_peak_bytes
        for phase, real in took.phases.items():
            assert peaks[what][phase] == pytest.approx(real, rel=0.005), phase
    assert peaks["packed"] != peaks["one"], "a mask is made and kept"
