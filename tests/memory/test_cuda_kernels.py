"""Memory inside CUDA kernels, and the searches of cuDNN, from shapes alone; real runs beside predictions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modelsum.memory.allocator import MIB, measured_process_bytes, process_bytes
from modelsum.memory.cuda_kernels import KERNELS, SEARCHES
from modelsum.memory.log import CACHE, INPUTS, Log
from modelsum.memory.options import MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.step.stage import Stage
from modelsum.trace.step.training import predict_memory

RUNS = Path(__file__).parents[1] / "oracles" / "gpu-training-memory.csv"
META = torch.device("meta")
MOMENTUM = MemoryOptions("momentum")


def workspace(
    x: Tensor, out_channels: int, kernel: int, groups: int = 1, mask: tuple[bool, bool, bool] = (True,) * 3
) -> int:
    """The bytes for the backward pass of a padded convolution with `kernel` x `kernel` positions."""
    weight = torch.empty(out_channels, x.shape[1] // groups, kernel, kernel, device=META)
    grad = torch.empty(x.shape[0], out_channels, *x.shape[2:], device=META)
    padding = [kernel // 2] * 2
    rest = (None, [1, 1], padding, [1, 1], False, [0, 0], groups, mask)
    return KERNELS["convolution_backward"](grad, x, weight, *rest, out=(x, weight, None))


def image(channels: int = 8) -> Tensor:
    return torch.empty(2, channels, 10, 10, device=META)


def test_a_backward_pass_holds_input_gradient_and_weight_with_their_channels_last() -> None:
    """2 x 8 x 10 x 10, 2 x 16 x 10 x 10 and 16 x 8 x 3 x 3 floats."""
    assert workspace(image(), 16, 3) == 4 * (1600 + 3200 + 1152)
    assert workspace(image(), 16, 3, groups=2) == 4 * (1600 + 3200 + 576)


def test_nothing_is_copied_for_one_position_or_by_torchs_own_depthwise_kernel() -> None:
    assert workspace(image(), 16, 1) == 0
    assert workspace(image(), 8, 3, groups=8) == 0


def test_what_has_its_channels_last_is_not_copied() -> None:
    x = image().to(memory_format=torch.channels_last)
    assert workspace(x, 16, 3) == 4 * (3200 + 1152)


def searches(model: nn.Module, x: Tensor) -> int:
    """How often the cache is emptied in two passes of a model, forward and backward."""
    log = Log()
    with Lifetimes(log, "meta", searches=SEARCHES):
        for _ in range(2):
            model(x).sum().backward()
    return sum(event.storage == CACHE for event in log.events)


def test_cudnn_searches_once_for_every_shape_and_direction() -> None:
    """Two equal convolutions are one search forward and one backward, another shape is two more."""
    equal = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)).to(META)
    x = image().requires_grad_()
    assert searches(equal, x) == 2
    assert searches(nn.Sequential(equal, nn.Conv2d(8, 8, 5).to(META)), x) == 4


def test_nothing_is_searched_for_a_depthwise_convolution() -> None:
    assert searches(nn.Conv2d(8, 8, 3, groups=8).to(META), image()) == 0


def test_a_search_belongs_to_the_first_step_only() -> None:
    model = nn.Conv2d(3, 8, 3).to(META)
    recording = Stage(Call(model, (image(3),)), searches=SEARCHES).training(MOMENTUM, "cuda")
    assert recording is not None
    assert sum(event.storage == CACHE for event in recording.first) == 2
    assert not any(event.storage == CACHE for event in recording.steady)


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_prefetched_batches_are_there_from_the_start(batches: int) -> None:
    """An image of 2 x 3 x 10 x 10 floats, and as many again for each batch that waits."""
    recording = Stage(Call(nn.Conv2d(3, 8, 3).to(META), (image(3),))).training(
        MemoryOptions("momentum", prefetch=batches), "cuda"
    )
    assert recording is not None
    for setup in (recording.setup, recording.steady_setup):
        inputs = [event.bytes for event in setup if recording.categories[event.storage] == INPUTS]
        assert inputs == [2400] * (1 + batches)


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("resnet50", 128),  # 3 x 3 convolutions: workspaces
        ("mobilenetv2_110d", 32),  # depthwise ones: none
        ("efficientnet_b0", 64),  # silu is one kernel
        ("swin_s3_tiny_224", 16),
        ("deit3_large_patch16_224", 8),  # weight decay's new gradients are as large as the weights
    ],
)
def test_real_training_processes_took_what_is_predicted(name: str, batch: int) -> None:
    """Runs of timm's training script on an A100 (tests/oracles/README.md); all: benchmarks/memory_gpu.py."""
    timm = pytest.importorskip("timm")
    with RUNS.open(newline="") as file:
        rows = {(row["model"], row["batch_size"]): row for row in csv.DictReader(file)}
    measured = float(rows[name, str(batch)]["measured_max_gpu_mib"]) * MIB
    with META:
        model = timm.create_model(name)
    x = torch.empty(batch, 3, 224, 224, device=META)
    options = MemoryOptions(
        "momentum", loss="cross-entropy", weight_decay=True, prefetch=1, cudnn_benchmark=True
    )
    memory = predict_memory(Call(model, (x,)), options=options, target="cuda")
    assert memory.reserved_bytes is not None
    assert measured_process_bytes(memory.reserved_bytes) == pytest.approx(measured, rel=0.05)
    assert memory.process_bytes == process_bytes(memory.reserved_bytes)
    assert memory.process_bytes[0] < measured < memory.process_bytes[1]
