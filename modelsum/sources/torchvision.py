"""`torchvision/NAME`: the models that torchvision registers, without weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelsum.errors import UnknownModelError, did_you_mean
from modelsum.sources import installed
from modelsum.sources.arguments import checked_arguments, refusals
from modelsum.sources.base import Loaded
from modelsum.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modelsum.trace.call import Targets

_FRAMES = 16  # of a clip, where the weights do not say: the Kinetics-400 recipes take 16
_FLOW_SIZE = 512  # RAFT takes any size divisible by 8 from 128
_DETECTION_SIZE = 800  # the side that the detection models resize an image's shorter side to


class Torchvision:
    """Classification, segmentation, detection, video and optical flow models of torchvision."""

    name = "torchvision"

    def knows(self, spec: ModelSpec) -> bool:
        """Whether torchvision registers the name; its source files are read, it is not imported."""
        return spec.kind == "name" and (spec.provider == self.name or spec.name.lower() in _names())

    def names(self) -> Collection[str]:
        """All registered names."""
        return _names()

    def load(self, spec: ModelSpec, arguments: Mapping[str, Any], device: torch.device) -> Loaded:
        """Build the model; the input its weights were trained for is the default."""
        installed.require("torchvision")
        name = spec.name.lower()
        if name not in _names():
            raise UnknownModelError(f"torchvision has no model {spec.name!r}", did_you_mean(name, _names()))
        from torchvision import models

        from modelsum.sources.building import build

        builder = models.get_model_builder(name)
        keywords = checked_arguments(spec.text, builder, arguments)
        with refusals(spec.text, arguments):
            model, notice = build(
                lambda: builder(weights=None, **_without_backbone_weights(builder), **keywords), device
            )
        inputs = _default_inputs(model, name)
        return Loaded(
            model,
            self.name,
            default_inputs=inputs,
            example=None if inputs else _image_list,
            targets=None if inputs else _detection_targets(model),
            changed=bool(arguments),
            notices=(notice,) if notice else (),
        )


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return installed.registered_functions("torchvision", "models", "register_model")


def _without_backbone_weights(builder: Any) -> dict[str, None]:
    """Detection and segmentation builders load a backbone's weights unless told not to."""
    import inspect

    return dict.fromkeys({"weights_backbone"} & inspect.signature(builder).parameters.keys())


def _default_inputs(model: nn.Module, name: str) -> tuple[InputSpec, ...] | None:
    """The shape of one sample; None for detection models, which take a list of images."""
    from torchvision import models

    if "detection" in type(model).__module__:
        return None
    if "optical_flow" in type(model).__module__:
        return (InputSpec(None, (3, _FLOW_SIZE, _FLOW_SIZE), None),) * 2
    weights = models.get_model_weights(name).DEFAULT
    keywords = getattr(weights.transforms, "keywords", {})
    size = keywords.get("crop_size") or keywords.get("resize_size") or 224
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    if isinstance(
        getattr(model, "image_size", None), int
    ):  # built for one size alone, by default not the weights'
        height = width = model.image_size
    if "video" in type(model).__module__:
        frames = weights.meta.get("min_temporal_size", _FRAMES)
        return (InputSpec(None, (3, max(frames, _FRAMES), height, width), None),)
    return (InputSpec(None, (3, height, width), None),)


def _image_list(batch: int, _: int | None, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A list of images, as the detection models take them."""
    import torch

    return ([torch.rand(3, _DETECTION_SIZE, _DETECTION_SIZE, device=device) for _ in range(batch)],), {}


def _detection_targets(model: nn.Module) -> Callable[[tuple[Any, ...]], Targets]:
    from functools import partial

    from modelsum.sources.detection import match_on_shapes, targets_of

    match_on_shapes(model)
    return partial(targets_of, model)


source = Torchvision()
