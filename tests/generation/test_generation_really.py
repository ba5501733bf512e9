"""Caches and peaks of generated text against real runs on the CPU, of a type for every kind of cache."""

from __future__ import annotations

import pytest
import torch

import modelsum
from modelsum.preparing import built
from modelsum.request import request_of

pytest.importorskip("transformers")

from tiny import TYPES, really

EVERY_DAY = ("llama", "gemma2", "mamba", "t5")


@pytest.mark.parametrize(
    "type_", [pytest.param(t, marks=() if t in EVERY_DAY else pytest.mark.slow) for t in TYPES]
)
def test_what_a_real_generation_takes(type_: str) -> None:
    """The cache to a byte, both peaks within 0.5 %: 48 tokens and 20 more of 2 sequences, windows of 16."""
    name, arguments = f"transformers/{type_}", TYPES[type_]
    said = modelsum.generate(name, model_args=arguments, prompt=48, new=20, batch=2, target="cpu")
    request = request_of(name, model_args=arguments, task="generation")
    real = really(built(request, torch.device("cpu")).loaded.model, 48, 20, 2)
    assert said.cache_bytes == real.cache
    assert said.prefill_peak_bytes == pytest.approx(real.prefill_peak, rel=0.005)
    assert said.decode_peak_bytes == pytest.approx(real.decode_peak, rel=0.005)
