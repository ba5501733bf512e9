"""torchinfo's own table: its familiar look, and an independent count of the parameters."""

from __future__ import annotations

import torch

from modelsum.errors import ModelError
from modelsum.trace.call import Call
from modelsum.trace.isolation import isolated, plain_ops


def table(call: Call, mode: str, device: torch.device, depth: int | None) -> str:
    """What `torchinfo.summary` prints for the call; its default depth of 3 where none is given.

    Raises ModelError where torchinfo cannot do it; of a model that ran, that is torchinfo's own limit.
    """
    import torchinfo

    try:
        with isolated(), plain_ops():
            statistics = torchinfo.summary(
                call.model,
                input_data=list(call.args),
                depth=3 if depth is None else depth,
                device=device,
                mode=mode,
                verbose=0,
                **call.kwargs,
            )
            return f"{statistics}\n"
    except Exception as error:
        cause = error.__cause__ or error  # torchinfo says which layers ran, and leaves the reason behind it
        raise ModelError(
            f"torchinfo cannot show this model on {device.type}, which is a limit of torchinfo's: "
            f"{type(cause).__name__}: {cause}",
            "modelsum's own table has it: --format text.",
            device_limit=device.type == "meta",
        ) from error
