"""Calls of older tools, so that a script can change its import and nothing else.

from modelsum.compat import summary      # was: from torchsummary import summary
summary(model, (3, 224, 224))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelsum.api import summarize
from modelsum.render import RenderOptions, render

if TYPE_CHECKING:
    from torch import nn


def summary(
    model: nn.Module,
    input_size: tuple[int, ...] | Sequence[tuple[int, ...]],
    batch_size: int = -1,
    device: str = "auto",
) -> None:
    """Print what torchsummary 1.5.1 prints for the call; the model is left as it was found.

    Args:
        model: any module, on any device.
        input_size: the shape of one sample, or one shape for each input.
        batch_size: what is printed as the first size; the sizes in MB are for that batch.
        device: where the forward runs; unlike torchsummary's "cuda", the default needs no GPU.

    Raises as `modelsum.summarize` does.
    """
    result = summarize(
        model,
        input_size=input_size,
        batch=max(batch_size, 1),
        mode="train" if getattr(model, "training", False) else "eval",
        device=device,
    )
    print(render(result, "torchsummary", RenderOptions(torchsummary_batch=batch_size)), end="")
