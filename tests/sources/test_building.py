"""Construction on meta: the model that the CPU makes, without its values; the CPU where that fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_day import every_nth, slow_unless
from torch import Tensor, nn
from torch_here import skip_unless_zeros_do_without_sympy

from modelsum.errors import ArgumentError
from modelsum.sources.building import build, on_meta
from modelsum.zoo import registry

META = torch.device("meta")
CPU = torch.device("cpu")


def described(model: nn.Module) -> dict[str, Any]:
    """What a summary depends on, by state_dict key."""
    return {
        name: (tuple(t.shape), t.dtype, t.stride(), t.requires_grad, type(t))
        for name, t in model.state_dict(keep_vars=True).items()
    }


def assert_built_alike(factory: Callable[[], nn.Module], notice: str | None = None) -> nn.Module:
    model, told = build(factory, META)
    real, nothing = build(factory, CPU)
    assert described(model) == described(real)
    assert all(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert (told, nothing) == (notice, None)
    return model


def test_an_import_that_fails_on_meta_begins_anew_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch's own compiler, which reads a value while it is imported, does in torch 2.6."""
    (tmp_path / "reads_a_value").mkdir()
    (tmp_path / "reads_a_value" / "part.py").write_text("SIZE = 2\n")
    (tmp_path / "reads_a_value" / "__init__.py").write_text(
        "import reads_a_value.part\nimport torch\ntorch.ones(3).nonzero()\nSIZE = reads_a_value.part.SIZE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def make() -> nn.Module:
        import reads_a_value

        return nn.Linear(3, reads_a_value.SIZE)

    model, told = build(make, META)
    assert model.weight.shape == (2, 3)
    assert told is not None
    assert told.endswith("; built on the CPU")


DOCUMENTED = (
    *("resnet18", "resnet20", "preact_resnet110", "vgg11_bn", "mobilenet_v1", "mobilenet_v2", "mnasnet_a1"),
    *("mnasnet0_5", "densenet121", "densenet100bc_k12", "squeezenet1_0", "squeezenet1_0_complex_bypass"),
)
TORCHVISION = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet"),
    *("inception_v3", "maxvit_t", "mnasnet0_75", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t"),
    *("swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2"),
)


@pytest.mark.parametrize("name", every_nth(DOCUMENTED, 2))
def test_documented_architectures(name: str) -> None:
    assert_built_alike(registry.ARCHITECTURES[name].build)


#: Built of the same parts as others here, of many times their weights.
LARGE = (
    *("vgg11", "wide_resnet50_2", "efficientnet_v2_s", "regnet_y_400mf", "swin_v2_t", "densenet121"),
    *("resnext50_32x4d", "mnasnet0_75", "googlenet"),
)


@pytest.mark.parametrize(
    "name", slow_unless(TORCHVISION, set(TORCHVISION[::2]).difference(LARGE).__contains__)
)
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_torchvision_models(name: str) -> None:
    """RegNet computes its widths with tensors and reads them: their values are known on meta."""
    models = pytest.importorskip("torchvision").models
    assert_built_alike(lambda: getattr(models, name)(weights=None))


class Initialised(nn.Module):
    """Everything that torch.nn.init has, and what constructors do by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(6, 6))
        self.kernel = nn.Parameter(torch.empty(6, 6, 3, 3))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.small = nn.Parameter(torch.zeros(3, dtype=torch.float16))
        self.drawn = nn.Parameter(torch.randn(4, 2) * 0.02)
        self.filled = nn.Parameter(torch.full((2,), 0.5))
        self.register_buffer("positions", torch.arange(8).unsqueeze(0))
        self.register_buffer("mask", torch.tril(torch.ones(4, 4)).bool())
        self.register_buffer("table", torch.linspace(0, 1, 5).outer(torch.tensor([1.0, 2.0])))
        self.register_buffer("hidden", torch.eye(3), persistent=False)
        self.lstm = nn.LSTM(4, 4, bidirectional=True)
        for initialise in (
            nn.init.uniform_,
            nn.init.normal_,
            nn.init.trunc_normal_,
            nn.init.ones_,
            nn.init.zeros_,
            nn.init.eye_,
            nn.init.xavier_uniform_,
            nn.init.xavier_normal_,
            nn.init.kaiming_uniform_,
            nn.init.kaiming_normal_,
            nn.init.orthogonal_,
        ):
            assert initialise(self.weight) is self.weight
        nn.init.constant_(self.weight, 0.3)
        nn.init.sparse_(self.weight, sparsity=0.1)
        nn.init.dirac_(self.kernel)
        with torch.no_grad():
            self.kernel.mul_(0.5).add_(0.1).clamp_(0, 1)
            self.kernel[0].fill_(0)
            self.weight.copy_(torch.rand(6, 6))
        self.weight.data.normal_(0, 0.02)


def test_initialisers_return_the_tensor_and_change_nothing_else() -> None:
    assert_built_alike(Initialised)


def test_the_default_dtype_is_the_constructors() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = assert_built_alike(lambda: nn.Linear(2, 3))
    finally:
        torch.set_default_dtype(before)
    assert model.weight.dtype is torch.float64


def test_a_device_that_the_constructor_names_ends_on_meta_too() -> None:
    class OnCpu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, device="cpu"))
            self.linear = nn.Linear(3, 3)

    assert_built_alike(OnCpu)


class Tied(nn.Module):
    def __init__(self, *, reading: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = torch.ones(3)  # neither parameter nor buffer
        if reading:
            self.width = int(self.embedding.weight.abs().max().item() + 1)


@pytest.mark.parametrize("reading", [False, True], ids=("built on meta", "built on the CPU"))
def test_tied_weights_stay_tied(reading: bool) -> None:
    model, notice = build(lambda: Tied(reading=reading), META)
    assert model.head.weight is model.embedding.weight
    assert len(list(model.parameters())) == 1
    assert model.scale.is_meta
    assert (notice is not None) == reading


def test_tables_keep_their_values() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("index", torch.arange(4)[None] - torch.arange(4)[:, None])
            self.largest = int(self.index.max())

    model = assert_built_alike(Table)
    assert model.largest == 3


@pytest.mark.parametrize(
    "fill",
    [
        lambda t: t.fill_(1),
        lambda t: t.data.fill_(1),
        lambda t: nn.init.ones_(t),
        lambda t: t.view(-1).fill_(1),
        lambda t: t.zero_().add_(1),
    ],
    ids=("itself", "data", "init", "view", "zero"),
)
def test_a_table_that_is_filled_again_has_its_new_values(fill: Callable[[Tensor], Any]) -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.tensor([[5.0, 7.0]]))
            fill(self.table)
            self.total = self.table.sum().item()

    model, _ = build(Table, META)
    assert model.total == 2
    assert model.table.is_meta


def reads(value: Callable[[Tensor], Any]) -> Callable[[], nn.Module]:
    class Reading(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 3)
            value(self.weight)

    return Reading


@pytest.mark.parametrize(
    "value",
    [
        lambda w: w.sum().item(),
        lambda w: w.tolist(),
        lambda w: w.detach().numpy(),
        lambda w: bool((w > 0).any()),
        lambda w: w.nonzero(),
        lambda w: torch.allclose(w, w),
        lambda w: w.detach().cpu().numpy(),
    ],
    ids=("item", "tolist", "numpy", "bool", "nonzero", "allclose", "cpu"),
)
def test_a_constructor_that_reads_parameters_is_built_on_the_cpu(value: Callable[[Tensor], Any]) -> None:
    model, notice = build(reads(value), META)
    assert model.weight.is_meta
    assert notice is not None


def test_a_cpu_tensor_among_meta_tensors_is_no_obstacle() -> None:
    assert_built_alike(reads(lambda w: w + torch.ones(3, device="cpu")))


def test_the_notice_gives_the_reason() -> None:
    _, notice = build(reads(lambda w: w.sum().item()), META)
    assert notice is not None
    assert notice.startswith("could not be built on the meta device (")
    assert "meta tensors" in notice
    assert notice.endswith("); built on the CPU")
    assert "\n" not in notice


class Counted:
    """A factory that counts how often it is called."""

    def __init__(self, factory: Callable[[], nn.Module]) -> None:
        self.factory = factory
        self.calls = 0

    def __call__(self) -> nn.Module:
        self.calls += 1
        return self.factory()


def refuse(arguments: Any) -> nn.Module:
    raise ArgumentError("no", "yes")


def missing_package() -> nn.Module:
    import a_package_that_does_not_exist  # noqa: F401

    raise AssertionError


@pytest.mark.parametrize(
    ("factory", "error"),
    [
        (lambda: nn.Linear(3, 4, widht=5), TypeError),  # type: ignore[call-arg]
        (lambda: nn.Linear(3), TypeError),  # type: ignore[call-arg]
        (lambda: nn.Linear(3, 4, True, None, None, 6), TypeError),  # type: ignore[call-arg]
        (lambda: refuse(None), ArgumentError),
        (missing_package, ImportError),
        (lambda: registry.build("resnet18", depth=3), ArgumentError),
    ],
    ids=("unknown argument", "missing argument", "too many arguments", "refused", "no package", "zoo"),
)
def test_wrong_arguments_are_reported_at_once(
    factory: Callable[[], nn.Module], error: type[Exception]
) -> None:
    counted = Counted(factory)
    with pytest.raises(error):
        build(counted, META)
    assert counted.calls == 1


def test_an_error_of_the_constructor_is_the_cpus_own() -> None:
    """It fails on both: what comes out is not chained to the attempt on meta."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            raise ValueError(f"broken on {torch.empty(1).device.type}")

    with pytest.raises(ValueError, match="broken on cpu") as caught:
        build(Broken, META)
    assert caught.value.__context__ is None


def test_an_error_under_autograd_is_still_raised() -> None:
    def factory() -> nn.Module:
        model = nn.Linear(3, 3)
        model.weight.normal_()
        return model

    with pytest.raises(RuntimeError, match="leaf Variable"):
        build(factory, META)


def test_wrong_arguments_of_an_initialiser_are_still_raised() -> None:
    def factory() -> nn.Module:
        model = nn.Linear(3, 3)
        nn.init.kaiming_uniform_(model.bias)
        return model

    with pytest.raises(ValueError, match=r"[Ff]an in and fan out"):
        build(factory, META)


@pytest.mark.parametrize("failing", [False, True])
def test_nothing_is_left_behind(failing: bool) -> None:
    def factory() -> nn.Module:
        if failing:
            raise MemoryError("once, and again on the CPU")
        return nn.Linear(3, 3)

    before = dict(vars(nn.init)), torch.get_rng_state()
    try:
        build(factory, META)
    except MemoryError:
        assert failing
    assert vars(nn.init) == before[0]
    assert torch.empty(1).device == CPU
    if not failing:
        assert torch.equal(torch.get_rng_state(), before[1])
    weight = torch.ones(4)
    assert weight.zero_().sum() == 0


def test_on_meta_nests_in_another_default_device() -> None:
    with torch.device("cpu"):
        with on_meta():
            assert nn.Linear(2, 2).weight.is_meta
        assert nn.Linear(2, 2).weight.device == CPU


def test_a_default_device_that_was_set_is_left_as_it_was() -> None:
    torch.set_default_device("cpu")
    try:
        with on_meta():
            assert nn.Linear(2, 2).weight.device == META
        assert (torch.get_default_device(), torch.empty(1).device) == (CPU, CPU)
    finally:
        torch.set_default_device(None)


@pytest.mark.slow  # the command itself: tests/test_process.py
def test_building_imports_neither_sympy_nor_dynamo() -> None:
    skip_unless_zeros_do_without_sympy()
    program = """
import sys, torch
from modelsum.sources.building import build
from modelsum.zoo import registry
for name in ("resnet50", "vgg16", "mobilenet_v2", "densenet121", "mnasnet1_0", "squeezenet1_1"):
    build(registry.ARCHITECTURES[name].build, torch.device("meta"))
build(lambda: torch.nn.TransformerEncoderLayer(16, 2), torch.device("meta"))
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
