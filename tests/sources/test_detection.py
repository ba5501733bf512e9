"""Detectors of torchvision by name: the targets they train on, and a training step beside a real one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_cpu import training_peaks

import modelsum
from modelsum.preparing import prepare
from modelsum.request import request_of
from modelsum.trace.holders import tensors_held

torchvision = pytest.importorskip("torchvision")
CPU = torch.device("cpu")
FEW: dict[str, Any] = {"min_size": 96, "max_size": 96}


def regions(**pools: int) -> dict[str, Any]:
    """What makes a real step of random weights take as many regions as a step takes at most, on one level."""
    return {
        **FEW,
        **{name: torchvision.ops.MultiScaleRoIAlign(["0"], size, 2) for name, size in pools.items()},
        **{"box_batch_size_per_image": 16, "box_fg_iou_thresh": 0.05, "box_bg_iou_thresh": 0.05},
        **{"rpn_nms_thresh": 1.0, "rpn_pre_nms_top_n_train": 100, "rpn_post_nms_top_n_train": 100},
    }


def check(name: str, arguments: dict[str, Any]) -> None:
    spec = f"torchvision/{name}"
    summary = modelsum.summarize(spec, batch=2, model_args=arguments, target="cpu", optimizer="sgd")
    call = prepare(request_of(spec, batch=2, model_args=arguments), CPU).call
    assert call.targets is not None
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **arguments)
    real = training_peaks(
        model,
        tuple(call.args[0]),
        lambda losses: sum(losses.values()),
        lambda parameters: torch.optim.SGD(parameters, foreach=False, lr=0.0),
        targets=tuple(tensors_held(call.targets.values)),
        forward=lambda *images: model(list(images), *call.targets.values),
    )
    assert summary.memory is not None
    assert summary.memory.training_peak_bytes == pytest.approx(real.training, rel=0.005)


def test_a_detector_trains_by_name() -> None:
    check("fasterrcnn_mobilenet_v3_large_320_fpn", regions(box_roi_pool=7))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("maskrcnn_resnet50_fpn", regions(box_roi_pool=7, mask_roi_pool=14)),
        ("keypointrcnn_resnet50_fpn", regions(box_roi_pool=7, keypoint_roi_pool=14)),
        ("retinanet_resnet50_fpn", FEW),
        ("fcos_resnet50_fpn", FEW),
        ("ssdlite320_mobilenet_v3_large", {}),
    ],
)
def test_detectors_of_every_kind_train_by_name(name: str, arguments: dict[str, Any]) -> None:
    check(name, arguments)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ssd300_vgg16", {"boxes", "labels"}),
        ("maskrcnn_resnet50_fpn", {"boxes", "labels", "masks"}),
        ("keypointrcnn_resnet50_fpn", {"boxes", "labels", "keypoints"}),
    ],
)
def test_targets_are_what_the_heads_learn_from(name: str, kinds: set[str]) -> None:
    call = prepare(request_of(f"torchvision/{name}", input_size=(3, 64, 48)), torch.device("meta")).call
    assert call.targets is not None
    (target,) = call.targets.values[0]
    assert set(target) == kinds
    assert target["boxes"].shape == (2, 4)
    assert call.targets.words == f"2 boxes an image ({', '.join(target)})"
