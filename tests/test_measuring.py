"""Real runs: their peaks by hand and by another reading, their time, and what is left as it was found."""

from __future__ import annotations

import copy
import gc
import re
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from real_cpu import real_peaks
from torch import Tensor, nn

import modelsum
from modelsum import measuring
from modelsum.errors import ModelError, UsageError
from modelsum.memory import MemoryOptions
from modelsum.memory.measurement import Measurement
from modelsum.memory.options import IMPLEMENTATIONS, OPTIMIZERS
from modelsum.trace.real.meters import CudaMeter, storage_bytes
from modelsum.trace.real.nvml import ProcessMemory

FLOAT = 4
has_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def measure(model: nn.Module, *inputs: Any, **options: Any) -> Measurement:
    return modelsum.measure(model, *inputs, **{"device": "cpu", "latency": False, **options})


def mlp() -> nn.Sequential:
    """100 -> 1000 -> 10, so 110,000 weights."""
    return nn.Sequential(nn.Linear(100, 1000, bias=False), nn.Linear(1000, 10, bias=False))


def convnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 10),
    )


# ---- memory


def test_the_peaks_of_an_mlp_are_those_worked_out_by_hand() -> None:
    """For 200 samples the input has 20,000 floats, the hidden layer 200,000 and the output 2,000.

    Inference peaks when the output is there as well as its input. Backward peaks when the gradient of the
    hidden layer is computed: beside the hidden layer there are the gradient of the last weight and of the
    output (a copy: the gradient of a sum is one number, and a matmul wants a matrix), the loss and
    the 1 that its derivative begins with. An optimizer step of SGD has weights, gradients and the input.
    """
    measured = measure(mlp(), torch.rand(200, 100), optimizer="sgd").measured
    weights, x, hidden, output = 110_000, 20_000, 200_000, 2_000
    assert measured.inference_peak_bytes == FLOAT * (weights + x + hidden + output)
    backward = weights + x + 2 * hidden + 10 * 1000 + output + 2
    assert measured.phase_peak_bytes["backward"] == FLOAT * backward
    assert measured.phase_peak_bytes["optimizer step"] == FLOAT * (2 * weights + x)
    assert measured.training_peak_bytes == measured.first_step_peak_bytes == FLOAT * backward
    assert measured.reserved_bytes is measured.process_bytes is measured.allocated_bytes is None


def test_adam_has_its_state_from_the_second_step_on() -> None:
    """In the second step two states like the weights, and a counter for each of both, are there all along."""
    measured = measure(mlp(), torch.rand(200, 100), optimizer="adam").measured
    sgd = measure(mlp(), torch.rand(200, 100), optimizer="sgd").measured
    state = 2 * FLOAT * 110_000 + 2 * FLOAT
    assert measured.training_peak_bytes == sgd.training_peak_bytes + state
    assert measured.first_step_peak_bytes < measured.training_peak_bytes


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_peaks_of_a_convnet_are_those_of_an_independent_reading(optimizer: str) -> None:
    x = torch.rand(8, 3, 32, 32)
    make = {
        "momentum": lambda p: torch.optim.SGD(p, momentum=0.9, foreach=False),
        "adam": lambda p: torch.optim.Adam(p, foreach=False),
    }[optimizer]
    real = real_peaks(convnet(), (x,), lambda output: output.sum(), make)
    measured = measure(convnet(), x, optimizer=optimizer).measured
    assert measured.inference_peak_bytes == pytest.approx(real.inference, rel=1e-4)
    assert measured.first_step_peak_bytes == pytest.approx(real.first_step, rel=1e-4)
    assert measured.training_peak_bytes == pytest.approx(real.training, rel=1e-4)
    for phase, peak in real.phases.items():
        assert measured.phase_peak_bytes[phase] == pytest.approx(peak, rel=1e-4)


#: Each optimizer in one of its ways every day, in turn.
EVERY_OPTIMIZER = [
    pytest.param(optimizer, way, marks=() if n % len(IMPLEMENTATIONS) == m else pytest.mark.slow)
    for n, optimizer in enumerate(OPTIMIZERS)
    for m, way in enumerate(IMPLEMENTATIONS)
]


@pytest.mark.parametrize(("optimizer", "implementation"), EVERY_OPTIMIZER)
def test_every_optimizer_takes_real_steps_and_is_near_its_prediction(
    optimizer: str, implementation: str
) -> None:
    if optimizer == "lion":
        pytest.importorskip("timm")
    if optimizer == "muon" or "8bit" in optimizer:
        pytest.skip("its kernels on this CPU are not those of the rules")
    if implementation == "fused" and optimizer not in ("none", "sgd", "momentum", "adam", "adamw"):
        pytest.skip("there is none")
    measured = measure(mlp(), torch.rand(20, 100), optimizer=optimizer, implementation=implementation)
    errors = measured.to_dict()["error_percent"]
    assert errors["training_peak_bytes"] == pytest.approx(0, abs=0.5)
    assert errors["first_step_peak_bytes"] == pytest.approx(0, abs=0.5)
    assert measured.notices == measured.measured.notices == ()


@pytest.mark.parametrize("options", [{"clip": True}, {"ema": True}], ids=str)
def test_clipping_and_averages_are_near_their_prediction(options: dict[str, bool]) -> None:
    for optimizer in ("none", "sgd"):
        errors = measure(mlp(), torch.rand(20, 100), optimizer=optimizer, **options).to_dict()[
            "error_percent"
        ]
        assert errors["training_peak_bytes"] == pytest.approx(0, abs=0.5)
        assert errors["first_step_peak_bytes"] == pytest.approx(0, abs=0.5)


def test_accumulated_passes_freezing_and_checkpoints_happen_for_real() -> None:
    x = torch.rand(200, 100)
    plain = measure(mlp(), x, optimizer="sgd").measured
    # From the second pass on, the gradients of the first are there.
    twice = measure(mlp(), x, optimizer="sgd", accumulate=2).measured
    assert twice.training_peak_bytes == plain.training_peak_bytes + FLOAT * 110_000
    frozen = measure(mlp(), x, optimizer="sgd", freeze=("0",)).measured
    assert frozen.phase_peak_bytes["optimizer step"] == FLOAT * (110_000 + 10_000 + 20_000)

    wide = nn.Sequential(
        *(nn.Sequential(nn.Linear(10, 1000), nn.Tanh(), nn.Linear(1000, 10)) for _ in "1234")
    )
    kept = measure(wide, torch.rand(500, 10), optimizer="sgd").measured
    recomputed = measure(wide, torch.rand(500, 10), optimizer="sgd", checkpoint="?").measured
    # One hidden layer of four, [500, 1000], is there at a time; in the end with the gradients of the others.
    saved = kept.training_peak_bytes - recomputed.training_peak_bytes
    gradients = FLOAT * 3 * sum(p.numel() for p in wide[0].parameters())
    assert saved == pytest.approx(3 * FLOAT * 500_000, abs=gradients + 100_000)


def test_amp_is_that_of_torch() -> None:
    model, x = mlp(), torch.rand(200, 100)

    def under_autocast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).sum()

    real = real_peaks(model, (x,), lambda loss: loss, None, forward=under_autocast)
    measured = measure(mlp(), x, optimizer="none", amp="bf16")
    assert measured.measured.training_peak_bytes == pytest.approx(real.training, rel=1e-4)
    assert measured.step["amp"] == "bf16 autocast, weights in float32"


def test_a_gradient_scaler_leaves_no_step_out() -> None:
    measured = measure(mlp(), torch.rand(20, 100), optimizer="adam", amp="fp16").measured
    assert measured.notices == ()
    assert measured.phase_peak_bytes["optimizer step"] >= 4 * FLOAT * 110_000


def test_steps_that_the_scaler_leaves_out_are_told() -> None:
    class Infinite(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (torch.inf if self.training else 1)

    measured = measure(Infinite(10, 10), torch.rand(2, 10), optimizer="adam", amp="fp16").measured
    assert "left out 2 optimizer steps" in measured.notices[0]


def test_cross_entropy_is_a_loss_of_the_first_output() -> None:
    measured = measure(mlp(), torch.rand(20, 100), optimizer="sgd", loss="cross-entropy")
    assert measured.measured.training_peak_bytes
    assert measured.step["loss"] == "cross-entropy"


def test_memory_of_tied_views_and_sparse_tensors_counts_once() -> None:
    base = torch.zeros(10, 10)
    assert storage_bytes([base, base[0], base.t()]) == 400
    sparse = torch.eye(10).to_sparse()
    assert storage_bytes([sparse]) == sparse._indices().nbytes + sparse._values().nbytes


def test_ids_are_recognised_as_in_a_summary() -> None:
    measured = measure(nn.Embedding(10, 4), input_size=(3,), optimizer="sgd")
    assert measured.inputs[0].dtype == "int64"
    assert measured.measured.inference_peak_bytes == FLOAT * 40 + 3 * 8 + FLOAT * 12


# ---- time


class Sleeping(nn.Linear):
    seconds = 0.02

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            time.sleep(self.seconds)
        return super().forward(x)


def test_the_time_is_that_of_a_run() -> None:
    measured = measure(Sleeping(4, 4), torch.rand(5, 4), latency=True, min_time=0.1).measured
    for latency in (measured.forward, measured.training_step):
        assert Sleeping.seconds <= latency.median_seconds < 0.5
        assert latency.runs >= 1
        assert latency.samples_per_second == pytest.approx(5 / latency.median_seconds)


def test_no_time_is_taken_where_none_is_asked_for() -> None:
    measured = measure(mlp(), torch.rand(2, 100)).measured
    assert measured.forward is measured.training_step is None


# ---- what is left as it was found


def test_the_model_and_torch_are_left_alone() -> None:
    model, x = convnet(), torch.rand(4, 3, 32, 32)
    model[4].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    input_before, random = x.clone(), torch.get_rng_state()
    enabled = gc.isenabled()
    measured = measure(model, x, optimizer="adamw", latency=True, min_time=0.01)
    assert measured.measured.training_peak_bytes
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "0.weight")
    assert torch.equal(x, input_before)
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()
    assert gc.isenabled() == enabled


def test_weights_do_not_move_even_where_the_optimizer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a learning rate the copy would move; the model that was handed in stays."""
    monkeypatch.setattr("modelsum.trace.optimizing._LEARNING_RATE", 1.0)
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    measure(model, torch.rand(2, 100), optimizer="sgd")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_tied_weights_stay_tied_in_the_copy_that_is_trained() -> None:
    model = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False))
    model[1].weight = model[0].weight
    measured = measure(model, torch.rand(1, 100), optimizer="sgd").measured
    assert measured.phase_peak_bytes["optimizer step"] == FLOAT * (2 * 10_000 + 100)


# ---- what cannot be measured


def test_a_model_without_trainable_parameters_has_figures_of_inference_alone() -> None:
    measured = measure(mlp().requires_grad_(False), torch.rand(2, 100)).measured
    assert measured.training_peak_bytes is measured.first_step_peak_bytes is None
    assert measured.phase_peak_bytes == {}
    assert measured.inference_peak_bytes
    assert "nothing can be trained" in measured.notices[0]


class InTraining(nn.Linear):
    """Fails in training, and not on the meta device, where a prediction is made."""

    def __init__(self, error: Exception) -> None:
        super().__init__(4, 4)
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not x.is_meta:
            raise self.error
        return super().forward(x)


def test_a_model_that_cannot_be_trained_says_why() -> None:
    measured = measure(InTraining(ValueError("needs targets\nand more")), torch.rand(2, 4))
    assert measured.measured.training_peak_bytes is None
    (notice,) = measured.measured.notices
    assert re.fullmatch(r"the training step could not be run: \S+\.py:\d+: ValueError: needs targets", notice)
    assert measured.predicted.training_peak_bytes
    assert measured.to_dict()["error_percent"]["training_peak_bytes"] is None


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_an_error_that_says_where(error: Exception) -> None:
    with pytest.raises(
        ModelError, match=r"cpu ran out of memory in the first training step \(forward\)"
    ) as stopped:
        measure(InTraining(error), torch.rand(2, 4))
    assert "smaller --batch" in stopped.value.hint
    assert "modelsum fit" in stopped.value.hint


OUT_OF_MEMORY = """
import resource, torch, modelsum
from torch import nn
from modelsum import measuring

class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, x):
        if self.training:
            for _ in range(64):
                x = (x * self.scale).tanh()  # autograd keeps both: 2 x 8 MiB each time
        return x * self.scale

x = torch.rand(2 * 2**20)
modelsum.measure(nn.Linear(2, 2), torch.rand(1, 2), device="cpu", latency=False)  # everything is imported
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
try:
    modelsum.measure(Hungry(), x, device="cpu", latency=False)
except modelsum.ModelError as error:
    print(error.message)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")
@pytest.mark.slow
def test_memory_really_runs_out() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True)
    assert "cpu ran out of memory in the first training step (forward)" in done.stdout, done.stderr


def test_what_is_larger_than_the_machine_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_memory_here", lambda: 1000)
    with pytest.raises(ModelError, match=r"as predicted, of the 1000 B of memory here"):
        measure(mlp(), torch.rand(2, 100))


def test_a_forward_that_fails_is_an_error_of_the_model() -> None:
    class Fails(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if not x.is_meta:
                raise ValueError("values")
            return super().forward(x)

    with pytest.raises(ModelError, match=r"the forward failed on cpu: \S+\.py:\d+: ValueError: values"):
        measure(Fails(4, 4), torch.rand(2, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "meta"}, "device 'meta'"),
        ({"device": "auto"}, "device 'auto'"),
        ({"device": "gpu"}, "device 'gpu'"),
        ({"optimizer": "adan"}, "optimizer 'adan'"),
        ({"freeze": "head"}, "freeze 'head'"),
        ({"learning_rate": 1}, "unknown option 'learning_rate'"),
    ],
)
def test_wrong_words_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(mlp(), torch.rand(2, 100), **options)


# ---- CUDA, with the parts of torch and NVML that tell played by others


def test_what_others_hold_on_the_device_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([500, 800, 700])
    played: dict[str, Callable[..., Any]] = {
        "is_initialized": lambda: True,
        "empty_cache": lambda: None,
        "synchronize": lambda device: None,
        "reset_peak_memory_stats": lambda device: None,
        "memory_allocated": lambda device: 100,
        "memory_reserved": lambda device: 200,
        "max_memory_allocated": lambda device: next(peaks),
        "max_memory_reserved": lambda device: 2000,
    }
    for name, function in played.items():
        monkeypatch.setattr(torch.cuda, name, function)
    meter = CudaMeter(torch.device("cuda", 0))

    def phases(mark: Callable[[str], Any]) -> None:
        for phase in ("forward", "forward", "backward"):
            with mark(phase):
                pass

    assert meter.peaks([], phases) == {"forward": 700, "backward": 600}
    assert meter.reserved_bytes() == 1800


class Nvml:
    """What NVML says of a machine with one device, in use by this process and others."""

    class NVMLError(Exception):
        pass

    def __init__(self, pid: int | None, used: int) -> None:
        self.pid, self.used = pid, used

    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return "handle"

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return b"GPU-1234"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        assert uuid == "GPU-1234"
        return "handle"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=self.used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=self.pid, usedGpuMemory=700), SimpleNamespace(pid=1, usedGpuMemory=None)]


@pytest.fixture
def process_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], ProcessMemory]:
    def made(nvml: Any, started: bool = False) -> ProcessMemory:
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
        return ProcessMemory(torch.device("cuda", 0))

    return made


def test_the_memory_of_the_process_is_what_nvml_says_of_it(process_memory: Any) -> None:
    import os

    assert process_memory(Nvml(os.getpid(), 5000)).bytes_now() == (700, None)


def test_where_nvml_does_not_know_the_process_it_is_what_the_device_has_more_in_use(
    process_memory: Any,
) -> None:
    nvml = Nvml(None, 5000)
    memory = process_memory(nvml)
    nvml.used = 8000
    assert memory.bytes_now() == (3000, None)


def test_the_memory_of_the_process_is_not_known_if_cuda_ran_before(process_memory: Any) -> None:
    assert process_memory(Nvml(None, 5000), started=True).bytes_now()[0] is None


def test_without_nvml_the_reason_says_how_to_get_it(process_memory: Any) -> None:
    nbytes, reason = process_memory(None).bytes_now()
    assert nbytes is None
    assert "pip install 'modelsum[cuda]'" in reason


@pytest.mark.cuda
@has_cuda
def test_a_real_run_on_cuda() -> None:
    measured = measure(
        mlp(), torch.rand(200, 100), device="cuda", optimizer="adam", latency=True, min_time=0.05
    )
    run = measured.measured
    weights, hidden = FLOAT * 110_000, FLOAT * 200_000
    assert run.inference_peak_bytes >= weights + hidden
    assert run.training_peak_bytes >= 3 * weights + 2 * hidden
    assert run.reserved_bytes >= run.allocated_bytes >= run.training_peak_bytes
    assert run.process_bytes is None or run.process_bytes > run.reserved_bytes
    assert run.forward.median_seconds > 0


@pytest.mark.cuda
@has_cuda
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_statistics_of_cuda_are_those_of_a_step_by_hand(optimizer: str) -> None:
    """The same step, written out here, allocates as much at its peak."""
    model, x = convnet().cuda(), torch.rand(8, 3, 32, 32, device="cuda")
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    stepper = make(model.parameters(), foreach=True)
    torch.cuda.empty_cache()
    peaks = []
    for _ in range(2):
        stepper.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        model(x).sum().backward()
        stepper.step()
        peaks.append(torch.cuda.max_memory_allocated())
    del stepper
    measured = measure(convnet(), x.cpu(), device="cuda", optimizer=optimizer).measured
    assert measured.training_peak_bytes == pytest.approx(peaks[1], rel=0.02)


def test_options_that_nobody_gave_are_the_defaults() -> None:
    assert measure(mlp(), torch.rand(2, 100)).step == MemoryOptions().words("cpu")
