"""LoRA and QLoRA on a module of any kind: what is trained, and what the base takes, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import modelsum


@pytest.fixture(scope="module", autouse=True)
def peft() -> None:
    """Imported where these tests run: it takes seconds."""
    pytest.importorskip("peft")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(256, 512, bias=False), nn.Linear(512, 256, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)))


SIZE = 256 * 512


def summary(lora: str, **options: object) -> modelsum.Summary:
    return modelsum.summarize(Net(), torch.zeros(4, 256), lora=lora, optimizer="adam", **options)


def test_adapters_alone_are_trained() -> None:
    """Rank 4 beside `up`: 4 * 256 and 512 * 4 numbers; gradients and two states of Adam of these alone."""
    found = summary("r=4,targets=up")
    assert found.totals.trainable_params == 4 * 256 + 512 * 4
    assert found.totals.params == 2 * SIZE + 4 * 256 + 512 * 4
    assert found.memory is not None
    parts = found.memory.training.parts  # type: ignore[union-attr]
    assert parts["optimizer_state"] == pytest.approx(2 * 4 * (4 * 256 + 512 * 4), rel=0.1)


def test_the_base_of_qlora_takes_half_a_byte_and_its_scales() -> None:
    """nf4: 64 values share a float32, each matrix has 16 code words; 512 bytes are a block of CUDA."""
    found = summary("r=4,targets=up|down,base=nf4")
    adapters = 2 * 4 * (4 * 256 + 512 * 4)
    base = 2 * (SIZE // 2 + SIZE // 64 * 4 + 64)
    assert found.memory is not None
    weights = found.memory.training.parts["weights"]  # type: ignore[union-attr]
    assert weights == pytest.approx(base + adapters, abs=2 * 512)
    assert any("stored as nf4" in notice for notice in found.notices)


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ("r=4,targets=upp", "Did you mean up?"),
        ("r=0", "lora r=0 is no rank"),
        ("rank=4", "'rank=4' is not known"),
        ("r=4,base=fp3", "lora base='fp3' is not known"),
    ],
)
def test_wrong_words_are_told(lora: str, words: str) -> None:
    with pytest.raises(modelsum.UsageError) as error:
        summary(lora)
    assert words in f"{error.value} {error.value.hint}"
