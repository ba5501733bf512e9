"""A part of a larger tensor given as the input: on the CPU the model is called on it as it lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from real_cpu import real_peaks
from torch import Tensor, nn

import modelsum
from modelsum.trace.inputs import rebatched

BATCH, CHANNELS, SIZE = 4, 8, 16
WIDE = torch.rand(BATCH, 2 * CHANNELS, SIZE, SIZE)
ROWS = torch.rand(SIZE * SIZE, CHANNELS)


class OfTwo(nn.Module):
    """Takes two images."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(CHANNELS, CHANNELS, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.convolution(x) + self.convolution(y)


def images() -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, 3)


def rows() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Linear(SIZE, 4))


VIEWS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "some channels": (rows, (WIDE[:, :CHANNELS],)),
    "some samples": (images, (torch.rand(3 * BATCH, CHANNELS, SIZE, SIZE)[BATCH : 2 * BATCH],)),
    "one sample again and again": (images, (WIDE[:1, :CHANNELS].expand(BATCH, -1, -1, -1),)),
    "transposed": (rows, (torch.rand(SIZE, 64).T,)),
    "windows that overlap": (rows, (torch.rand(512).as_strided((64, SIZE), (4, 1)),)),
    "halves of one": (OfTwo, tuple(WIDE.chunk(2, dim=1))),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_peaks_are_those_of_the_call_on_the_view(name: str) -> None:
    make, views = VIEWS[name]
    model = make()
    predicted = modelsum.summarize(model, *views, target="cpu", optimizer="sgd")
    real = real_peaks(model, views, torch.sum, lambda p: torch.optim.SGD(p, foreach=False))
    assert predicted.memory.inference_peak_bytes == pytest.approx(real.inference, rel=0.001)
    assert predicted.memory.training_peak_bytes == pytest.approx(real.training, rel=0.001)
    assert predicted.totals.input_bytes == sum(view.numel() * 4 for view in views)  # what is read of it
    copies = [view.contiguous() for view in views]
    assert predicted.totals.macs == modelsum.summarize(model, *copies, memory=False).totals.macs


def test_on_another_device_it_is_moved_there_first() -> None:
    """`Tensor.to` takes what is seen of it, in order."""
    make, (view,) = VIEWS["some channels"]
    model = make()
    moved = modelsum.summarize(model, view, target="cuda").memory
    assert moved == modelsum.summarize(model, view.contiguous(), target="cuda").memory


def test_really_run_it_lies_so_too() -> None:
    """A measurement is of the same call, with storages of its own."""
    make, (view,) = VIEWS["some channels"]
    model = make()
    measured = modelsum.measure(model, view, device="cpu", latency=False)
    assert measured.measured.inference_peak_bytes == measured.predicted.inference_peak_bytes
    assert measured.predicted.inference.parts["inputs"] == WIDE.nbytes


def test_another_batch_lies_as_the_example_does() -> None:
    """The samples that fit are those of a call on so many of them, laid out likewise."""
    model = images()
    for name, view in LAYOUTS.items():
        few, many = (
            view(torch.rand(2, 2 * CHANNELS, SIZE, SIZE)),
            view(torch.rand(48, 2 * CHANNELS, SIZE, SIZE)),
        )
        peak = modelsum.summarize(model, many, target="cpu", optimizer="none").memory.inference_peak_bytes
        found = modelsum.fit(model, few, memory=peak, target="cpu", train=False, more=False)
        assert found.batch == 48, name
        assert modelsum.fit(model, few, memory=peak - 1, target="cpu", train=False, more=False).batch == 47


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x[:, :CHANNELS].contiguous(),
    "channels last": lambda x: x[:, :CHANNELS].contiguous(memory_format=torch.channels_last),
    "some channels": lambda x: x[:, :CHANNELS],
    "expanded": lambda x: x[:1, :CHANNELS].clone().expand(len(x), -1, -1, -1),
    "samples behind": lambda x: x[:, :CHANNELS].permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_tensor_of_another_batch_has_the_strides_of_one_so_made(name: str) -> None:
    few, many = (LAYOUTS[name](torch.rand(n, 2 * CHANNELS, SIZE, SIZE)) for n in (3, 7))
    made = rebatched(few, 7)
    assert (made.shape, made.stride(), made.storage_offset()) == (many.shape, many.stride(), 0)
    assert made.untyped_storage().nbytes() == many.untyped_storage().nbytes()


def test_a_single_sample_is_followed_by_others() -> None:
    assert rebatched(torch.rand(5, 1, 4).transpose(0, 1), 3).stride() == (20, 4, 1)
    assert rebatched(torch.rand(1, 4).expand(1, 4), 3).stride() == (4, 1)
