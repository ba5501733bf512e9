"""Inputs, outputs and forwards of every kind, through `summarize`, on meta and on the CPU."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import types
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from awkward import MACS, Case, Net, X, check, layer
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

import modelsum

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclasses.dataclass(frozen=True)
class Pair:
    first: Any
    second: Any = None


class Holder:
    """An object of no known kind, with a tensor in it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


Named = collections.namedtuple("Named", "first second")


def net(function: Any, **modules: Any) -> Any:
    return lambda: Net(function, l=layer(), **modules)


def catches(self: Any, x: Tensor) -> Tensor:
    with contextlib.suppress(ValueError):
        self.fails(x)
    return self.l(x)


def fails(self: Any, x: Tensor) -> Tensor:
    raise ValueError("not today")


def with_hook_of_its_own(self: Any, x: Tensor) -> Tensor:
    handle = self.l.register_forward_hook(lambda module, args, out: out.relu())
    try:
        return self.l(x)
    finally:
        handle.remove()


def fills_zeros(device: str | None) -> Any:
    def forward(self: Any, x: Tensor) -> Tensor:
        copy = torch.zeros(2, 4, device=device)
        copy[0] = x[0]
        copy[1:] = x[1:]
        return self.l(copy[:, torch.arange(4)]) + torch.ones(5)

    return forward


def checkpointed(reentrant: bool, grad: bool) -> Any:
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(grad):
            return checkpoint(self.l, x.requires_grad_(grad), use_reentrant=reentrant)

    return forward


def writes_unknown_to_cpu(self: Any, x: Tensor) -> Tensor:
    count = torch.zeros(1, device="cpu")
    count[0] = self.l(x).sum() > 0
    return self.l(x) if count.item() in (0, 1) else x


def gives_gradient(self: Any, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.requires_grad_()
        return torch.autograd.grad(self.l(x).sum(), x)[0]


def to_numpy_and_back(self: Any, x: Tensor) -> Tensor:
    return torch.from_numpy(np.tanh(self.l(x).cpu().numpy()))


ITEM = "Tensor.item() cannot be called on meta tensors"
lstm, gru = nn.LSTM(4, 5), nn.GRU(4, 5)
LSTM = {"params": 4 * 5 * (4 + 5 + 2), "macs": 5 * 4 * 5 * (4 + 5)}
GRU = {"params": 3 * 5 * (4 + 5 + 2), "macs": 5 * 3 * 5 * (4 + 5)}
PACKED = {"data": (5, 5), "batch_sizes": (3,)}

CASES: dict[str, Case] = {
    # ---- inputs
    "nested": Case(
        net(lambda self, d: self.l(d["x"][0][1].first) + self.l(d["n"].second)),
        ({"x": [(1, Pair(X))], "n": Named("text", X)},),
        macs=2 * MACS,
        calls=3,
    ),
    "mappings": Case(
        net(lambda self, d, e, f: self.l(d["x"]) + self.l(e["x"]) + self.l(f.x)),
        (
            collections.OrderedDict(x=X),
            types.MappingProxyType({"x": X}),
            types.SimpleNamespace(x=X),
        ),
        macs=3 * MACS,
        calls=4,
    ),
    "object": Case(net(lambda self, o: self.l(o.tensor)), (Holder(X),)),
    "keywords only": Case(net(lambda self, *, a, flag: self.l(a) if flag else a), (), {"a": X, "flag": True}),
    "0-d and bool": Case(
        net(lambda self, n, b: self.l(n.expand(4)) * b),
        (torch.tensor(2.0), torch.tensor(True)),
        macs=MACS // 2,
        out=(5,),
    ),
    "0-d decides": Case(net(lambda self, x, n: self.l(x) if n > 1 else x), (X, torch.tensor(2))),
    "unbatched": Case(net(lambda self, x: self.l(x)), (X[0],), macs=MACS // 2, out=(5,)),
    "complex": Case(net(lambda self, z: self.l(z.real)), (X + 1j,)),
    "mask of bools": Case(net(lambda self, x, m: self.l(x[m])), (X, torch.tensor([True, True]))),
    "one tensor twice": Case(net(lambda self, a, b: self.l(a) if a is b else a), (X, X)),
    "needs grad": Case(net(gives_gradient), macs=2 * MACS, out=(2, 4)),
    "packed sequence": Case(
        lambda: Net(lambda self, p: self.l(p)[0], l=nn.LSTM(4, 5)),
        (pack_sequence([torch.ones(3, 4), torch.ones(2, 4)]),),
        out=PACKED,
        **LSTM,
    ),
    "packs inside": Case(
        lambda: Net(
            lambda self, x, n: self.l(pack_padded_sequence(x, n, True, enforce_sorted=False))[0],
            l=nn.GRU(4, 5),
        ),
        (torch.ones(2, 3, 4), torch.tensor([2, 3])),
        out=PACKED,
        **GRU,
    ),
    "packs and pads": Case(
        lambda: Net(
            lambda self, x: pad_packed_sequence(
                self.l(pack_padded_sequence(x, torch.tensor([3, 2]), True))[0]
            )[0],
            l=nn.LSTM(4, 5),
        ),
        (torch.ones(2, 3, 4),),
        out=(3, 2, 5),
        **LSTM,
    ),
    "nested tensor": Case(
        layer,
        (torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(5, 4)]),),
        macs=8 * 20,
        calls=1,
        out=(2, "*", 5),
        cpu="an input is a nested tensor",
    ),
    "jagged tensor": Case(
        layer,
        (torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(5, 4)], layout=torch.jagged),),
        macs=8 * 20,
        calls=1,
        out=(2, "*", 5),
    ),
    "sparse input": Case(
        net(lambda self, s: torch.sparse.mm(s, self.l.weight)),
        (torch.eye(3, 5).to_sparse(),),
        macs=3 * 4,
        calls=1,
        out=(3, 4),
        cpu="'SparseMeta' backend",
    ),
    # ---- outputs
    "no output": Case(net(lambda self, x: (self.l(x), None)[1]), out=None),
    "text": Case(net(lambda self, x: (self.l(x), "done")[1]), out="done"),
    "dataclass": Case(net(lambda self, x: Pair(self.l(x), "b")), out={"first": (2, 5), "second": "b"}),
    "named tuple": Case(net(lambda self, x: Named(self.l(x), [x])), out=[(2, 5), [(2, 4)]]),
    "distribution": Case(net(lambda self, x: torch.distributions.Normal(self.l(x), 1.0)), out="<Normal>"),
    "categorical": Case(
        net(lambda self, x: torch.distributions.Categorical(logits=self.l(x)).sample()), out=(2,)
    ),
    "generator": Case(
        net(lambda self, x: (self.l(x) for _ in range(3))),
        macs=0,
        calls=1,
        out="<generator>",
        notice="the output is a generator",
    ),
    # ---- what the forward does
    "loop": Case(net(lambda self, x: [self.l(x) for _ in range(1000)][-1]), macs=1000 * MACS, calls=1001),
    "calls forward": Case(net(lambda self, x: self.l.forward(x)), calls=1),
    "functional": Case(net(lambda self, x: F.linear(x, self.l.weight)), calls=1),
    "functional call": Case(
        net(lambda self, x: torch.func.functional_call(self.l, {"weight": torch.ones(5, 4)}, (x,)))
    ),
    "catches": Case(net(catches, fails=Net(fails)), calls=3),
    "hooks inside": Case(net(with_hook_of_its_own)),
    "zeros without device": Case(net(fills_zeros(None))),
    "zeros on the CPU": Case(net(fills_zeros("cpu"))),
    "goes to the CPU": Case(
        net(lambda self, x: self.l(self.l(x)[:, :4].cpu() * 2).to("cpu")), macs=2 * MACS, calls=3
    ),
    "checkpoint": Case(net(checkpointed(False, True))),
    "checkpoint, reentrant": Case(net(checkpointed(True, True))),
    "checkpoint, no grad": Case(net(checkpointed(True, False))),
    "checkpoint, sequential": Case(
        lambda: Net(
            lambda self, x: checkpoint_sequential(self.l, 2, x, use_reentrant=False),
            l=nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5)),
        ),
        params=20 + 25,
        macs=2 * 16 + MACS,
        calls=3,
    ),
    "autocast of the device": Case(
        net(lambda self, x: torch.autocast(x.device.type, torch.bfloat16)(self.l)(x)),
    ),
    "cond": Case(net(lambda self, x: torch.cond(x.shape[0] > 1, lambda y: self.l(y), lambda y: y, (x,)))),
    # ---- values: known ones stay on meta, others stop it
    "item of an input": Case(net(lambda self, x: self.l(x) * x.sum().item())),
    "numpy of an input": Case(net(lambda self, x: self.l(torch.from_numpy(x.numpy() * 2)))),
    "numpy constants": Case(net(lambda self, x: self.l(x * torch.from_numpy(np.ones(4, np.float32))))),
    "item": Case(net(lambda self, x: self.l(x) * self.l(x).sum().item()), macs=2 * MACS, calls=3, cpu=ITEM),
    "if": Case(
        net(lambda self, x: self.l(x) if self.l(x).sum() > -1e9 else x), macs=2 * MACS, calls=3, cpu=ITEM
    ),
    "numpy": Case(net(to_numpy_and_back), cpu="can't convert meta device type tensor to numpy"),
    "nonzero": Case(
        net(lambda self, x: self.l(x)[(self.l(x)[:, 0] > -1e9).nonzero()[:, 0]]),
        macs=2 * MACS,
        calls=3,
        cpu="nonzero",
    ),
    "mask": Case(
        net(lambda self, x: self.l(x)[self.l(x) > -1e9]), macs=2 * MACS, calls=3, out=(10,), cpu="nonzero"
    ),
    "value written to the CPU": Case(net(writes_unknown_to_cpu), macs=2 * MACS, calls=3, cpu="meta tensor"),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("name", CASES)
def test_call(name: str, device: str, mode: str) -> None:
    check(CASES[name], device, mode)


def test_model_output_of_transformers() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    case = Case(
        net(lambda self, o: outputs.BaseModelOutput(last_hidden_state=self.l(o.last_hidden_state))),
        (outputs.BaseModelOutput(last_hidden_state=X),),
        out={"last_hidden_state": (2, 5)},
    )
    for device in ("auto", "cpu"):
        check(case, device, "eval")


def test_a_model_that_prints() -> None:
    """What it prints is its own business, and its tensors on meta can be printed."""
    shown: list[str] = []
    case = Case(
        net(lambda self, x: (shown.append(f"{self.l(x)} {x.shape}"), self.l(x))[1]), macs=2 * MACS, calls=3
    )
    check(case, "auto", "eval")
    assert "meta" in shown[0]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_an_input_that_the_forward_writes_to_is_not_changed(device: str) -> None:
    x, held = X.clone(), Holder(X.clone())

    def forward(self: Any, x: Tensor, held: Holder) -> Tensor:
        held.tensor.zero_()
        held.tensor = None  # type: ignore[assignment]
        return self.l(F.relu_(x.neg_()))

    modelsum.summarize(Net(forward, l=layer()), x, held, device=device)
    assert torch.equal(x, X)
    assert torch.equal(held.tensor, X)


def test_an_input_without_data_cannot_go_to_the_cpu() -> None:
    with pytest.raises(modelsum.InputError, match="on the meta device and cannot go to cpu"):
        modelsum.summarize(layer(), X.to("meta"), device="cpu")
    assert modelsum.summarize(layer(), X.to("meta")).totals.macs == MACS


def test_a_forward_that_fails_names_the_innermost_module() -> None:
    with pytest.raises(modelsum.ForwardError) as caught:
        modelsum.summarize(Net(lambda self, x: self.l(self.bad(x)), l=layer(), bad=Net(fails)), X)
    failed = [row.path for row in caught.value.summary.layers if row.failed]
    assert failed == ["bad"]
    assert caught.value.summary.totals.params == 25
