"""LoRA and QLoRA: adapters of peft beside the layers of any module, which alone are trained.

LoRA: arXiv 2106.09685; QLoRA, on a base in nf4: arXiv 2305.14314.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from modelsum.errors import UsageError, did_you_mean
from modelsum.generation.quantizing import store_matrices
from modelsum.raised import brief
from modelsum.spec import Lora
from modelsum.trace import census
from modelsum.trace.values.known_values import MetaFactories

_HALVES = (torch.float16, torch.bfloat16)


def adapt(model: nn.Module, lora: Lora) -> tuple[str, ...]:
    """Put the adapters into a model that is the caller's own, as peft.get_peft_model does; what to say of it.

    Adapters of a model in half precision are in float32, as peft has them.

    Raises UsageError where peft is missing, or no layer is one of the targets.
    """
    try:
        import peft
    except ImportError as error:
        raise UsageError("peft is not installed", "Install it with: pip install 'modelsum[peft]'") from error
    said: tuple[str, ...] = ()
    if lora.base is not None:
        if not all(p.is_meta for p in model.parameters()):
            raise UsageError(f"a base in {lora.base} is known by its shapes alone", "Use --device meta.")
        stored = store_matrices(model, lora.base, double=lora.double)
        said = (f"the base is stored as {stored.words}",)
    targets: Any = list(lora.targets) if len(lora.targets) > 1 else next(iter(lora.targets), None)
    if isinstance(targets, str) and targets != "all-linear":
        targets = [targets]
    config = peft.LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets
    )
    before = {id(parameter) for parameter in model.parameters()}
    try:
        where = MetaFactories() if next(model.parameters()).is_meta else torch.device("cpu")
        with where, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to")  # and then set as it has to be
            peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        names = {
            path.rpartition(".")[2]: None
            for path, m in census.modules_of(model).items()
            if hasattr(m, "weight")
        }
        near = did_you_mean(lora.targets[0], names) if lora.targets else None
        raise UsageError(
            f"no adapter can be put in: {brief(error)}",
            near or f"Layers are called {', '.join(filter(None, names))}.",
        ) from error
    adapters = [parameter for parameter in model.parameters() if id(parameter) not in before]
    for parameter in adapters:
        if parameter.dtype in _HALVES:
            parameter.data = parameter.data.to(torch.float32)
    trained = sum(parameter.numel() for parameter in adapters)
    return (*said, f"LoRA of rank {lora.r}: {trained:,} params are trained")
