"""Functions that are one kernel on CUDA: what they keep for the backward pass, on meta as there."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from every_day import slow_unless
from real_cpu import inference_peak, real_peaks, saved_bytes
from torch import Tensor, nn
from torch.nn import functional

import modelsum
from modelsum.memory.options import MemoryOptions
from modelsum.trace.call import Call
from modelsum.trace.step.fused_functions import fused_functions
from modelsum.trace.step.training import record_training

META = torch.device("meta")
DTYPES = torch.float32, torch.bfloat16, torch.float64


def saved(model: nn.Module, target: str) -> int:
    """Bytes that a training step of a model keeps, besides its input and its parameters."""
    x = torch.empty(4, 256, device=META)
    recording, why = record_training(Call(model.to(META), (x,)), options=MemoryOptions("sgd"), target=target)
    assert recording is not None, why
    return sum(recording.saved.values())


def test_dropout_keeps_a_byte_for_each_value_on_cuda() -> None:
    """On the CPU it keeps the noise, 4 x 256 floats, on CUDA 4 x 256 truth values."""
    model = nn.Sequential(nn.Linear(256, 256), nn.Dropout(0.1))
    assert saved(model, "cpu") == 4096
    assert saved(model, "cuda") == 1024


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything_is_as_elsewhere(p: float) -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.Dropout(p))
    assert saved(model, "cuda") == saved(model, "cpu")


def test_rms_norm_keeps_its_input_and_a_number_for_every_row_on_cuda() -> None:
    """4 x 256 floats of the layer before, and 4; taken apart, a normalised copy and a product more."""
    if not hasattr(torch.ops.aten, "_fused_rms_norm"):
        pytest.skip("this torch has no fused kernel")
    model = nn.Sequential(nn.Linear(256, 256), nn.RMSNorm(256))
    assert saved(model, "cuda") == 4096 + 16
    assert saved(model, "cpu") > 2 * 4096


def test_rms_norm_has_the_gradients_of_its_input_and_weight() -> None:
    norm = nn.RMSNorm(256).to(META)
    x = torch.empty(4, 256, device=META, requires_grad=True)
    with fused_functions("cuda"):
        norm(x).sum().backward()
    assert x.grad is not None
    assert norm.weight.grad is not None
    assert (x.grad.shape, norm.weight.grad.shape) == (x.shape, (256,))


def test_values_are_right_where_they_are_real() -> None:
    x = torch.rand(4, 256)
    expected = functional.rms_norm(x, (256,))
    with fused_functions("cuda"):
        assert torch.equal(functional.rms_norm(x, (256,)), expected)


def test_torchs_functions_are_put_back_also_after_an_exception() -> None:
    before = torch._VF.dropout, torch.rms_norm

    def fail() -> None:
        with fused_functions("cuda"):
            assert torch._VF.dropout is not before[0]
            raise RuntimeError("in the model")

    with pytest.raises(RuntimeError, match="in the model"):
        fail()
    assert (torch._VF.dropout, torch.rms_norm) == before


class Bags(nn.Module):
    """Bags of embeddings, with trained weights of samples where there are to be some."""

    def __init__(self, ids: Tensor, weighted: bool, **options: Any) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(64, 8, **options)
        self.weight = nn.Parameter(torch.rand(ids.shape)) if weighted else None

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.bag(ids, per_sample_weights=self.weight)
        return result


BAGS: dict[str, dict[str, Any]] = {
    **{
        f"{mode}, padding {padding}": {"mode": mode, "padding_idx": padding}
        for mode in ("sum", "mean", "max")
        for padding in (None, 0)
    },
    "sparse sum": {"mode": "sum", "sparse": True},
    "sparse mean": {"mode": "mean", "sparse": True},
    "by frequency": {"mode": "mean", "scale_grad_by_freq": True},
    "weighted": {"mode": "sum", "weighted": True},
    "weighted and sparse": {"mode": "sum", "weighted": True, "sparse": True},
    "weighted, padding 0": {"mode": "sum", "weighted": True, "padding_idx": 0},
}


@pytest.mark.parametrize("size", [(4, 200), (200, 1)], ids=str)
@pytest.mark.parametrize("dtype", slow_unless(DTYPES, lambda dtype: dtype == torch.float32))
@pytest.mark.parametrize("name", BAGS)
def test_bags_of_embeddings_keep_on_the_cpu_what_their_kernel_keeps(
    name: str, dtype: torch.dtype, size: tuple[int, ...]
) -> None:
    ids = torch.randint(1, 64, size)
    options = {"weighted": False, **BAGS[name]}
    model = Bags(ids, **options).to(dtype)
    memory = modelsum.summarize(model, ids, target="cpu", optimizer="sgd").memory
    gc.collect()  # tensors that the tests before have left in cycles are not to end while it runs
    real = real_peaks(model, (ids,), torch.sum, lambda p: torch.optim.SGD(p, lr=0.0, foreach=False))
    assert memory is not None
    assert memory.bound == "exact"
    assert memory.inference_peak_bytes == real.inference
    assert memory.training_peak_bytes == pytest.approx(real.training, abs=8)  # the loss itself
    assert memory.saved_for_backward_bytes == saved_bytes(model, ids)


def test_ids_of_32_bits_and_offsets_of_64_are_brought_together() -> None:
    model = nn.EmbeddingBag(64, 8, mode="mean", include_last_offset=True)
    arguments = torch.randint(64, (200,)).int(), torch.tensor([0, 5, 100, 200])
    memory = modelsum.summarize(model, *arguments, target="cpu", optimizer="sgd").memory
    real = real_peaks(model, arguments, torch.sum, lambda p: torch.optim.SGD(p, lr=0.0, foreach=False))
    assert memory is not None
    assert memory.inference_peak_bytes == real.inference
    assert memory.training_peak_bytes == pytest.approx(real.training, abs=8)


def test_how_much_of_a_sparse_gradient_is_padding_is_not_known() -> None:
    model = nn.EmbeddingBag(64, 8, mode="sum", sparse=True, padding_idx=0)
    memory = modelsum.summarize(model, torch.randint(64, (4, 20)), target="cpu", optimizer="sgd").memory
    assert memory is not None
    assert memory.training is None
    assert "is padding is not known" in memory.notices[0]


POOLS = {
    "ceil": nn.MaxPool1d(3, 1, ceil_mode=True),
    "behind a layer": nn.Sequential(nn.Conv1d(16, 16, 3), nn.MaxPool1d(4)),
    "before one": nn.Sequential(nn.MaxPool1d(4), nn.Conv1d(16, 16, 3)),
    "with indices": nn.MaxPool1d(3, return_indices=True),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_keeps_indices_only_for_a_derivative(name: str) -> None:
    model, x = POOLS[name], torch.rand(8, 16, 500)
    memory = modelsum.summarize(model, x, target="cpu", optimizer="none").memory
    assert memory is not None
    assert memory.inference_peak_bytes == inference_peak(model, (x,))
    if memory.training is not None:
        assert memory.training_peak_bytes == real_peaks(model, (x,), torch.sum, None).training
