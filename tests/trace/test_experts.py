"""Parameters that a token meets, where experts share them out, and what a token costs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import modelsum

IDS = torch.zeros(2, 10, dtype=torch.int64)
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128}


def test_a_token_meets_two_of_eight_experts() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        **SMALL, num_key_value_heads=2, intermediate_size=96, num_local_experts=8, num_experts_per_tok=2
    )
    model = transformers.MixtralForCausalLM(config).eval()
    summary = modelsum.summarize(model, IDS, memory=False)
    experts = 2 * 8 * 3 * 64 * 96  # layers, experts, matrices of each
    assert sum(p.numel() for name, p in model.named_parameters() if "experts" in name) == experts
    if not summary.macs_by_op.keys() & {"aten._grouped_mm", "transformers.grouped_mm_fallback"}:
        pytest.skip("this version of transformers goes from expert to expert")
    assert summary.totals.active_params == summary.totals.params - experts * 6 // 8
    assert summary.totals.tokens == 20
    assert "Active params:" in str(summary)


def test_without_experts_there_is_no_such_figure() -> None:
    totals = modelsum.summarize(nn.Embedding(8, 4), IDS, memory=False).totals
    assert (totals.tokens, totals.active_params) == (20, None)
    assert modelsum.summarize(nn.Linear(4, 4), torch.rand(2, 4), memory=False).totals.tokens is None
