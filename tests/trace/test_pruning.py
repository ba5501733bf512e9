"""Masks of torch.nn.utils.prune: what they hide is told beside the count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import modelsum


def net() -> nn.Module:
    model = nn.Sequential(nn.Linear(100, 10), nn.ReLU(), nn.Linear(10, 4))
    prune.random_unstructured(model[0], "weight", amount=0.3)
    prune.ln_structured(model[2], "weight", amount=1, n=2, dim=0)
    return model


def test_hidden_elements_are_counted_and_told() -> None:
    summary = modelsum.summarize(net(), torch.rand(2, 100))
    assert summary.totals.params == 100 * 10 + 10 + 40 + 4
    assert summary.totals.macs == 2 * (1000 + 40)
    assert summary.notices[0].startswith("310 params are hidden by masks of torch.nn.utils.prune")


def test_without_masks_nothing_is_said() -> None:
    model = net()
    prune.remove(model[0], "weight")
    prune.remove(model[2], "weight")
    assert not modelsum.summarize(model, torch.rand(2, 100)).notices


def test_a_named_model_that_prunes_itself(
    modelsum_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\nfrom torch.nn.utils import prune\n\n\ndef net():\n"
        "    model = nn.Linear(8, 4)\n"
        "    mask = torch.tensor([[1.0] * 6 + [0.0] * 2] * 4)\n"
        "    prune.custom_from_mask(model, 'weight', mask)\n    return model\n"
    )
    monkeypatch.chdir(tmp_path)
    done = modelsum_cli("show", "nets.py:net", "--input", "8", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["notices"][0].startswith("8 params are hidden")
