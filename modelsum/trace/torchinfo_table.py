"""torchinfo's own table: its familiar look, and an independent count of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelsum.trace.isolation import isolated, plain_ops


def table(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    mode: str,
    device: torch.device,
    depth: int | None,
) -> str:
    """What `torchinfo.summary` prints for the call; its default depth of 3 where none is given."""
    import torchinfo

    with isolated(), plain_ops():
        statistics = torchinfo.summary(
            model,
            input_data=list(args),
            depth=3 if depth is None else depth,
            device=device,
            mode=mode,
            verbose=0,
            **kwargs,
        )
    return f"{statistics}\n"
