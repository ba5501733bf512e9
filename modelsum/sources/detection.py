"""What torchvision's detectors train on: a target for each image, and what matches it on shapes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher

from modelsum.trace.call import Targets
from modelsum.trace.values.known_values import value_of

if TYPE_CHECKING:
    from torch import nn

# Left, top, right and bottom of the boxes, as parts of the image's width and height.
_BOXES = ((0.1, 0.1, 0.5, 0.6), (0.3, 0.4, 0.9, 0.9))
_PERSON = 1  # the first class: that of COCO, and the only one with keypoints
_KEYPOINT_PARTS = (0.4, 0.5)  # where all keypoints are: in both boxes


def targets_of(model: nn.Module, args: tuple[Any, ...]) -> Targets:
    """A target for each image of the call: two boxes with their labels, masks and keypoints.

    A mask or keypoints where the model has a head for them, as torchvision.models.detection describes them:
    boxes float32 [2, 4], labels int64 [2], masks uint8 [2, height, width], keypoints float32 [2, K, 3].
    """
    heads = getattr(model, "roi_heads", None)
    targets = [_target(heads, image) for image in args[0]]
    names = ", ".join(targets[0]) if targets else "none"
    return Targets((targets,), f"{len(_BOXES)} boxes an image ({names})")


def _target(heads: Any, image: Tensor) -> dict[str, Tensor]:
    (height, width), device = image.shape[-2:], image.device
    boxes = [[left * width, top * height, right * width, low * height] for left, top, right, low in _BOXES]
    target = {
        "boxes": torch.tensor(boxes, device=device),
        "labels": torch.tensor([_PERSON] * len(boxes), device=device),
    }
    if heads is not None and heads.has_mask():
        target["masks"] = torch.ones(len(boxes), height, width, dtype=torch.uint8, device=device)
    if heads is not None and heads.has_keypoint():
        keypoints = heads.keypoint_predictor.kps_score_lowres.out_channels
        across, down = _KEYPOINT_PARTS
        place = [across * width, down * height, 1.0]
        target["keypoints"] = torch.tensor([[place] * keypoints] * len(boxes), device=device)
    return target


def match_on_shapes(model: nn.Module) -> None:
    """Have the heads of regions know which proposals match a target where no values are: see `_Matching`."""
    heads = getattr(model, "roi_heads", None)
    if heads is not None:
        sampler = heads.fg_bg_sampler
        heads.proposal_matcher = _Matching(
            heads.proposal_matcher, int(sampler.batch_size_per_image * sampler.positive_fraction)
        )


class _Matching(Matcher):  # type: ignore[misc]
    """On shapes as many proposals match as are sampled at most: the step that takes the most."""

    def __init__(self, matcher: Any, sampled: int) -> None:
        super().__init__(matcher.high_threshold, matcher.low_threshold, matcher.allow_low_quality_matches)
        self.sampled = sampled

    def __call__(self, quality: Tensor) -> Tensor:
        if not quality.is_meta or value_of(quality) is not None:
            matched: Tensor = super().__call__(quality)
            return matched
        matched = torch.full((quality.shape[1],), self.BELOW_LOW_THRESHOLD, device=quality.device)
        matched[: self.sampled] = 0
        return matched
