"""`timm/NAME`: the models that timm registers, without weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelsum.errors import UnknownModelError, did_you_mean
from modelsum.sources import installed
from modelsum.sources.arguments import refusals
from modelsum.sources.base import Loaded
from modelsum.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import torch


class Timm:
    """Image models of timm; a tag of weights (resnet50.a1_in1k) picks that configuration's size."""

    name = "timm"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether timm registers the name; its source files are read, it is not imported."""
        return spec.kind == "name" and (spec.provider == self.name or _architecture(spec.name) in _names())

    def names(self) -> Collection[str]:
        """All registered names, without tags."""
        return _names()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the model; the input size of its configuration is the default."""
        installed.require("timm")
        architecture = _architecture(spec.name)
        if architecture not in _names():
            raise UnknownModelError(f"timm has no model {spec.name!r}", did_you_mean(architecture, _names()))
        import timm

        from modelsum.sources.building import build

        with refusals(spec.text, arguments):
            model, notice = build(lambda: timm.create_model(spec.name, pretrained=False, **arguments), device)
        return Loaded(
            model,
            self.name,
            default_inputs=(InputSpec(None, _input_size(model), None),),
            changed=bool(arguments),
            notices=(notice,) if notice else (),
        )


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return installed.registered_functions("timm", "models", "register_model")


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _input_size(model: Any) -> tuple[int, ...]:
    """(channels, height, width) of the configuration; where it was built for another size, that one."""
    channels, height, width = model.pretrained_cfg.get("input_size", (3, 224, 224))
    channels = getattr(model, "in_chans", channels)
    embedding = getattr(model, "patch_embed", None)
    size = getattr(embedding, "img_size", None)
    if isinstance(size, tuple) and len(size) == 2:
        height, width = size
    return (channels, height, width)


source = Timm()
