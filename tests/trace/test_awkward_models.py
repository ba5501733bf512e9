"""Models of every build, through `summarize`, on meta and on the CPU: their figures, derived by hand."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from awkward import MACS, PARAMS, Case, Net, X, check, layer
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import modelsum

pytestmark = pytest.mark.filterwarnings("ignore")


class Parent(nn.Module):
    """Holds a child that others may hold too."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.child = child

    def forward(self, x: Tensor) -> Tensor:
        return self.child(x)


def shared() -> nn.Module:
    child = layer()
    return Net(lambda self, x: self.a(x) + self.b(x), a=Parent(child), b=Parent(child))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
    model[1][0].weight = model[0].weight
    return model


def parameter_containers() -> nn.Module:
    return Net(
        lambda self, x: x @ self.listed[0] @ self.named["k"] + self.modules_["q"](x).sum(),
        listed=nn.ParameterList([nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(3))]),
        named=nn.ParameterDict({"k": nn.Parameter(torch.ones(3, 2))}),
        modules_=nn.ModuleDict({"q": layer()}),
    )


def views() -> nn.Module:
    whole = torch.ones(10, 4)
    model = Net(lambda self, x: F.linear(x, self.a) + F.linear(x, self.b))
    model.a, model.b, model.again = nn.Parameter(whole[:5]), nn.Parameter(whole[5:]), nn.Parameter(whole[:5])
    model.register_buffer("flat", whole.view(-1)[:3])
    return model


def partly_lazy() -> nn.Module:
    model = nn.Sequential(nn.LazyLinear(5), nn.LazyLinear(3))
    model[0](X)
    return model


def pruned() -> nn.Module:
    module = layer()
    prune.l1_unstructured(module, "weight", 0.5)
    return nn.Sequential(module)


class Packed(nn.Parameter):
    """A weight of 4 bits, two in a byte, and how it is quantised: as bitsandbytes keeps it."""

    def __new__(cls, data: Tensor, quant_state: Any) -> Packed:
        packed = torch.Tensor._make_subclass(cls, data, False)
        packed.quant_state = quant_state
        return packed


class Linear4bit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        state = {"shape": (5, 4), "scale": torch.ones(1)}
        self.weight = Packed(torch.zeros(10, 1, dtype=torch.uint8), state)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.weight, Packed)
        state = self.weight.quant_state
        weight = torch.cat((self.weight >> 4, self.weight & 15), 1).reshape(state["shape"])
        return F.linear(x, weight.to(x.dtype) * state["scale"])


def with_parameter(data: Tensor, forward: Any) -> nn.Module:
    return Net(forward, w=nn.Parameter(data))


def hooked(*hooks: Any) -> nn.Module:
    module = layer()
    for kind, hook in hooks:
        getattr(module, f"register_{kind}")(hook)
    return nn.Sequential(module)


class Uncopyable(nn.Module):
    """What no deepcopy takes: a lock, a generator, a file, a lambda; and lists that lead back to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.l, self.norm = layer(), nn.BatchNorm1d(5)
        self.lock, self.numbers = threading.Lock(), (i for i in range(3))
        self.file = Path(__file__).open()  # noqa: SIM115
        self.double = lambda x: x * 2
        self.scale, self.tables = torch.ones(4), {"a": [torch.ones(4)]}
        self.me, self.children_, self.by_name = [self], [self.l], {"l": self.l}
        self.register_buffer("count", torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        assert self.me[0] is self
        assert self.by_name["l"] is self.l is self.children_[0]
        with self.lock:
            self.count += 1
        self.tables["a"][0] += 1
        return self.norm(self.double(self.children_[0](x * self.scale * self.tables["a"][0])))


def on_two_devices() -> nn.Module:
    return nn.Sequential(layer(), nn.Linear(5, 3).to("meta"))


def compiled_in_place() -> nn.Module:
    module = layer()
    module.compile()
    return nn.Sequential(module)


def compiled_function() -> nn.Module:
    product = torch.compile(lambda x, w: x @ w.t())
    return Net(lambda self, x: product(x, self.l.weight), l=layer())


def exported() -> nn.Module:
    return torch.export.export(nn.Sequential(layer(), nn.ReLU(), nn.Dropout()), (X,)).module()


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(layer(), nn.ReLU()), {nn.Linear}, torch.qint8)


def nested(depth: int) -> nn.Module:
    model: nn.Module = nn.Linear(4, 4)
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


SCRIPTED = {"cpu": "holds TorchScript", "notice": "take no hooks"}
HOOKS = (
    ("forward_pre_hook", lambda module, args: None),
    ("forward_hook", lambda module, args, out: out * 2),
    ("full_backward_hook", lambda module, before, after: None),
    ("full_backward_pre_hook", lambda module, grads: None),
)
ON_META = ("auto", "meta")
V = 5 * 4  # the vectors of a spectral norm: u of 5, v of 4; one product with the weight takes 20

CASES: dict[str, Case] = {
    # ---- modules that are there more than once, or in odd places
    "reused": Case(lambda: Net(lambda self, x: self.l(self.l(x)[:, :4]), l=layer()), macs=2 * MACS, calls=3),
    "shared by two parents": Case(shared, macs=2 * MACS, calls=5),
    "tied": Case(tied, params=16 + 4 + 4, macs=2 * 2 * 16, calls=4, out=(2, 4)),
    "never called": Case(
        lambda: Net(lambda self, x: self.a(x), a=layer(), b=nn.ModuleList([layer()])), params=2 * PARAMS
    ),
    "parameter containers": Case(
        parameter_containers, params=12 + 3 + 6 + PARAMS, macs=2 * 12 + 2 * 6 + MACS, out=(2, 2)
    ),
    "views of one storage": Case(views, params=20 + 20, macs=2 * MACS, calls=1, buffers=3),
    "plain tensors": Case(
        lambda: Net(lambda self, x: self.l(x * self.scale[0]), l=layer(), scale=[torch.ones(4)])
    ),
    "uncopyable": Case(Uncopyable, params=PARAMS + 10, calls=3, buffers=5 + 11),
    "data parallel": Case(lambda: nn.DataParallel(layer()), calls=1),
    "data parallel inside": Case(lambda: nn.Sequential(nn.DataParallel(layer()))),
    # ---- lazy, parametrised, pruned
    "lazy": Case(
        lambda: nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.LazyLinear(3)),
        params=PARAMS + 10 + 18,
        macs=MACS + 2 * 15,
        calls=4,
        out=(2, 3),
        buffers=11,
    ),
    "partly lazy": Case(partly_lazy, params=PARAMS + 18, macs=MACS + 2 * 15, calls=3, out=(2, 3)),
    "weight_norm": Case(lambda: nn.Sequential(nn.utils.weight_norm(layer())), params=PARAMS + 5),
    "weight_norm, new": Case(
        lambda: nn.Sequential(parametrizations.weight_norm(layer())), params=PARAMS + 5, calls=4
    ),
    # u @ W @ v for the norm, and in training W @ v and u @ W before it.
    "spectral_norm": Case(
        lambda: nn.Sequential(nn.utils.spectral_norm(layer())),
        macs=MACS + 20 + 5,
        train_macs=MACS + 3 * 20 + 5,
        buffers=9,
    ),
    "spectral_norm, new": Case(
        lambda: nn.Sequential(parametrizations.spectral_norm(layer())),
        macs=MACS + 20 + 5,
        train_macs=MACS + 3 * 20 + 5,
        buffers=9,
        calls=4,
    ),
    "pruned": Case(pruned, buffers=20, notice="hidden by masks of torch.nn.utils.prune"),
    # ---- dtypes and layouts of weights
    "half": Case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).half(),
        (torch.ones(2, 3, 5, 5).half(),),
        params=112 + 8,
        macs=2 * 4 * 9 * 27,
        calls=3,
        out=(2, 4, 3, 3),
        buffers=9,
    ),
    "bfloat16": Case(
        lambda: nn.Sequential(layer(), nn.LayerNorm(5)).bfloat16(), (X.bfloat16(),), params=35, calls=3
    ),
    "quantised": Case(quantised, params=0, calls=3, cpu="quantized::linear_dynamic"),
    "packed in bytes": Case(
        lambda: nn.Sequential(Linear4bit()),
        params=10,
        notice="10 params are integers, as of quantised weights",
    ),
    "complex weight": Case(
        lambda: with_parameter(torch.ones(4, 5) + 1j, lambda self, x: x.to(torch.cfloat) @ self.w),
        params=20,
        calls=1,
    ),
    "sparse weight": Case(
        lambda: with_parameter(
            torch.eye(5, 4).to_sparse(), lambda self, x: torch.sparse.mm(self.w, x.t()).t()
        ),
        params=20,
        macs=4 * 2,
        calls=1,
        cpu="'SparseMeta' backend",
    ),
    "sparse CSR weight": Case(
        lambda: with_parameter(
            torch.eye(5, 4).to_sparse_csr(), lambda self, x: torch.sparse.mm(self.w, x.t()).t()
        ),
        params=20,
        macs=4 * 2,
        calls=1,
        cpu="'SparseCsrMeta' backend",
    ),
    "on meta": Case(lambda: layer().to("meta"), calls=1, devices=ON_META),
    "on two devices": Case(
        on_two_devices, params=PARAMS + 18, macs=MACS + 30, calls=3, out=(2, 3), devices=ON_META
    ),
    # ---- hooks of the model's own
    "hooks": Case(lambda: hooked(*HOOKS)),
    "hook that replaces the output": Case(
        lambda: hooked(("forward_hook", lambda module, args, out: out[:, :3])), out=(2, 3)
    ),
    "hook that replaces the input": Case(
        lambda: hooked(("forward_pre_hook", lambda module, args: (torch.cat((args[0], args[0])),))),
        macs=2 * MACS,
        out=(4, 5),
    ),
    # ---- scripted, compiled, traced, exported
    "scripted": Case(lambda: torch.jit.script(nn.Sequential(layer())), calls=1, **SCRIPTED),
    "scripted inside": Case(lambda: Parent(torch.jit.script(nn.Sequential(layer(), nn.ReLU()))), **SCRIPTED),
    "traced": Case(lambda: torch.jit.trace(nn.Sequential(layer()), X), calls=1, **SCRIPTED),
    "traced inside": Case(lambda: Parent(torch.jit.trace(layer(), X)), **SCRIPTED),
    "compiled inside": Case(lambda: Parent(torch.compile(layer()))),
    "compiled in place": Case(compiled_in_place),
    "compiled function": Case(compiled_function, calls=1),
    "fx": Case(lambda: torch.fx.symbolic_trace(nn.Sequential(layer(), nn.ReLU())), calls=3),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("name", "device"), [(name, device) for name, case in CASES.items() for device in case.devices]
)
def test_model(name: str, device: str, mode: str) -> None:
    check(CASES[name], device, mode)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_an_exported_program_inside(device: str, mode: str) -> None:
    inner = exported()
    guards = hasattr(inner, "_guards_fn")  # newer torch checks the inputs in a module of its own
    check(Case(lambda: Parent(inner), calls=2 + guards), device, mode)


def test_a_scripted_module_has_a_row_of_its_own_call() -> None:
    rows = {row.path: row for row in check(CASES["scripted inside"], "cpu", "eval").layers}
    assert (rows["child"].call, rows["child"].macs, rows["child"].output_shapes) == (1, MACS, (2, 5))
    assert rows["child.0"].call == 0


def test_a_module_that_is_reused_is_counted_once() -> None:
    rows = check(CASES["reused"], "auto", "eval").layers
    assert [(row.path, row.call, row.counted_params, row.reused) for row in rows[1:]] == [
        ("l", 1, PARAMS, False),
        ("l", 2, 0, True),
    ]


def test_params_of_shared_and_tied_modules_row_by_row() -> None:
    rows = {row.path: row for row in check(CASES["tied"], "auto", "eval").layers}
    assert {path: row.params for path, row in rows.items()} == {"": 24, "0": 20, "1": 20, "1.0": 20}
    rows = {row.path: row for row in check(CASES["shared by two parents"], "auto", "eval").layers}
    assert {row.params for row in rows.values()} == {PARAMS}


def test_bytes_of_a_sparse_weight_are_those_that_it_stores() -> None:
    """Four values of 4 bytes, and two indices of 8 bytes each."""
    assert check(CASES["sparse weight"], "cpu", "eval").totals.param_bytes == 4 * (4 + 2 * 8)


def test_a_quantised_module_keeps_its_weights_packed() -> None:
    assert check(CASES["quantised"], "auto", "eval").totals.packed_params == PARAMS


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_model_that_cannot_run_on_the_cpu_says_so(device: str) -> None:
    if device == "cpu":
        with pytest.raises(modelsum.UsageError, match="on the meta device and cannot run on cpu"):
            modelsum.summarize(on_two_devices(), X, device="cpu")
    else:
        assert modelsum.summarize(on_two_devices(), X).device == "meta"


def test_modules_nested_as_deep_as_python_lets_them_run() -> None:
    """Copying and hooks need more of Python's stack than the model alone: it is there."""
    depth = (sys.getrecursionlimit() - 300) // 3  # a call of a module takes three frames
    before = sys.getrecursionlimit()
    model = nested(depth)
    model(X)
    summary = modelsum.summarize(model, X)
    assert (summary.totals.macs, summary.totals.module_calls) == (32, depth + 1)
    assert max(row.depth for row in summary.layers) == depth
    assert {row.macs for row in summary.layers} == {32}
    assert {row.params for row in summary.layers} == {20}
    assert sys.getrecursionlimit() == before


def test_a_thousand_nested_modules() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        summary = modelsum.summarize(nested(1000), X)
    finally:
        sys.setrecursionlimit(before)
    assert (summary.totals.macs, len(summary.layers)) == (32, 1001)
    assert {row.params for row in summary.layers} == {20}


def test_a_thousand_layers_in_a_row() -> None:
    summary = modelsum.summarize(nn.Sequential(*(nn.Linear(4, 4) for _ in range(1000))), X)
    assert (summary.totals.params, summary.totals.macs, len(summary.layers)) == (20_000, 32_000, 1001)
