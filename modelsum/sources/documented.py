"""The documented architectures of `modelsum.zoo`, by bare name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from modelsum import zoo
from modelsum.errors import UnknownModelError
from modelsum.sources.base import Loaded
from modelsum.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import torch


class Documented:
    """`resnet50`, or `documented/resnet50`."""

    name = "documented"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether the name is one of the documented ones."""
        try:
            return spec.kind == "name" and bool(zoo.find(spec.name))
        except UnknownModelError:
            return False

    def names(self) -> Collection[str]:
        """The documented names."""
        return zoo.ARCHITECTURES.keys()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the architecture; its paper's image is the default input."""
        from modelsum.sources.building import build

        architecture = zoo.find(spec.name)
        model, notice = build(lambda: architecture.build(**arguments), device)
        return Loaded(
            model,
            self.name,
            default_inputs=(InputSpec(None, architecture.input_shape, None),),
            changed=any(architecture.options[key] != value for key, value in arguments.items()),
            notices=(notice,) if notice else (),
        )


source = Documented()
