"""Values carried beside meta tensors: the CPU's where they follow from known ones, unknown elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modelsum.trace.values import contents
from modelsum.trace.values.known_values import carried, on_meta, value_of

META = torch.device("meta")


def ids() -> Tensor:
    return torch.tensor([[3, 1, 0, 2], [5, 0, 0, 1]])


def unknown(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def compute(function: Callable[..., Any], *args: Tensor) -> Any:
    """The function on the twins of some CPU tensors."""
    with carried(), torch.no_grad():
        return function(*(on_meta(a) if a.device.type == "cpu" else a for a in args))


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for v in value for leaf in leaves(v)]
    return [value]


def same(known: Any, real: Any) -> bool:
    """Whether a result computed on meta is known, and what the CPU makes of it."""
    known, real = leaves(known), leaves(real)
    assert len(known) == len(real)
    for a, b in zip(known, real, strict=True):
        if not isinstance(b, Tensor):
            assert a == b
            continue
        value = value_of(a)
        if value is None:
            return False
        assert (value.dtype, value.shape, value.stride()) == (b.dtype, b.shape, b.stride())
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(value, b)
    return True


# ---- what is known


def fill_through_views(x: Tensor) -> Any:
    whole = torch.zeros(2, 4, dtype=torch.int64)
    row, flat = whole[0], whole.view(-1)
    row += x[0]
    flat[5:7] = 9
    whole.t()[3].mul_(2).add_(1)
    return whole, row, flat, whole.sum()


def write_then_read_alias(x: Tensor) -> Any:
    alias, detached = x.view(-1), x.detach()
    x.add_(1)
    alias[0] = 7
    detached.sub_(1)
    return x, alias, detached


def out_variants(x: Tensor) -> Any:
    out = torch.empty(2, 4, dtype=torch.int64)
    torch.add(x, 1, out=out)
    values, places = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    torch.max(x, dim=1, out=(values, places))
    out.mul_(2)
    return out, values, places


def unfilled_then_filled(x: Tensor) -> Any:
    made = torch.empty(2, 4, dtype=torch.int64)
    made.fill_(3)
    again = torch.empty_like(made)
    again.copy_(x)
    empty = x.new_empty(2)
    empty.zero_()
    return made, again, empty


def overwritten(x: Tensor) -> Any:
    random = torch.rand(2, 4)
    random.zero_()
    random[0] = 1
    return random


def rotated_window(x: Tensor) -> Any:
    """As vision transformers index their relative positions."""
    coords = torch.stack(torch.meshgrid([torch.arange(3), torch.arange(3)], indexing="ij")).flatten(1)
    relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0).contiguous()
    relative[:, :, 0] += 2
    relative[:, :, 1] += 2
    relative[:, :, 0] *= 5
    return relative.sum(-1)


def causal_mask(x: Tensor) -> Any:
    mask = torch.full((4, 4), float("-inf"))
    mask = torch.triu(mask, diagonal=1)
    mask *= torch.arange(4) > torch.arange(4).reshape(-1, 1) - 1
    return mask.nan_to_num(0), torch.where(x[:, None, :] > 0, mask, 0.0).isinf()


def inside_inference_mode(x: Tensor) -> Any:
    with torch.inference_mode():
        mask = x > 0
        count = mask.sum(-1)
        count += 1
        view = count[1:]
        view.zero_()
        return mask, count, view, count.tolist()


def literal(x: Tensor) -> Any:
    made = torch.tensor([[1, 2], [3, 4]])
    return made, torch.as_tensor(made) is made, torch.tensor([x[0, 0], x[1, 0]]), torch.tensor(2.5) * made


KNOWN: dict[str, Callable[[Tensor], Any]] = {
    "arithmetic": lambda x: (x + 1, x * 2.5, -x, x // 2, x > 1, (x > 1) & (x < 4), x.float().exp()),
    "reductions": lambda x: (x.sum(), x.cumsum(1), x.max(1), x.argmax(), x.any(), x.float().mean(0)),
    "several outputs": lambda x: (x.split(2, 1), x.unbind(), x.sort(1), x.topk(2), x.aminmax()),
    "made anew": lambda x: (torch.arange(5), torch.ones(2, 3), torch.full((2,), 7), torch.eye(3).bool()),
    "like another": lambda x: (
        torch.ones_like(x),
        x.new_zeros(3),
        torch.full_like(x, 2),
        x.new_full((2,), 1),
    ),
    "views": lambda x: (x[0], x[:, 1:3], x.t(), x.view(-1), x[:, None].expand(2, 3, 4), x.reshape(4, 2).T),
    "copies": lambda x: (x.clone(), x.to(torch.int32), x.contiguous(), x.float().long(), x.repeat(2, 1)),
    "index": lambda x: (x[x > 0], x[:, [0, 2]], x[torch.tensor([1, 0])], x[x[:, 0] > 3, 1:], x[..., None, 0]),
    "foreach": lambda x: (torch._foreach_add([x, x], 2), torch._foreach_mul([x, x[0]], 3)),
    "mask": lambda x: (x.masked_select(x > 1), x.masked_fill(x == 0, -1), torch.where(x > 0)),
    "shapes of values": lambda x: (
        x.nonzero(),
        torch.unique(x),
        torch.unique_consecutive(x),
        torch.bincount(x[0]),
    ),
    "repeat_interleave": lambda x: (x.repeat_interleave(2), torch.arange(4).repeat_interleave(x[0])),
    "gather and scatter": lambda x: (
        x.gather(1, x[:, :1] % 4),
        torch.zeros(2, 4, dtype=torch.int64).scatter_(1, x % 4, 1),
        torch.zeros(6, dtype=torch.int64).index_add_(0, x[0], x[1]),
    ),
    "python": lambda x: (x.tolist(), x[0, 0].item(), int(x[1, 0]), bool(x.any()), len(x), [*x[0].tolist()]),
    "if": lambda x: x + 1 if (x > 2).any() and not x.equal(x + 1) else None,
    "slices by value": lambda x: x[: x[0, 3], x[0, 1] :],
    "numpy": lambda x: (np.asarray(x).tolist(), x.numpy().sum(), torch.from_numpy(x.numpy() + 1).tolist()),
    "setitem": lambda x: (x.__setitem__((0, slice(1, 3)), 8), x.__setitem__(x == 0, 5), x),
    "returns its input": lambda x: (x.to(torch.int64), x.contiguous().add_(1), x.long(), x),
    "literals": literal,
    "fill through views": fill_through_views,
    "write, then read an alias": write_then_read_alias,
    "out variants": out_variants,
    "unfilled, then filled": unfilled_then_filled,
    "overwritten": overwritten,
    "relative positions": rotated_window,
    "causal mask": causal_mask,
    "inference mode": inside_inference_mode,
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_follows_from_known_values_is_what_the_cpu_computes(name: str) -> None:
    function = KNOWN[name]
    assert same(compute(function, ids()), function(ids()))


def test_the_values_that_were_handed_in_are_not_changed() -> None:
    x = ids()
    compute(lambda y: y.zero_(), x)
    assert torch.equal(x, ids())


# ---- what is not


def is_unknown(function: Callable[..., Any], *args: Tensor) -> bool:
    return all(value_of(t) is None for t in leaves(compute(function, *args)))


def random_in_place(x: Tensor) -> Any:
    y, view = x.float(), None
    view = y[0]
    y.bernoulli_(0.5)
    return y, view


def unknown_written(x: Tensor, u: Tensor) -> Any:
    """Through a view, and through an alias that torch counts versions for apart."""
    y, z = x.float(), x.double()
    before, flat = y[1], z.view(-1)
    y[0] = u[0]
    z.data.add_(u.double())
    return y, before, y[1], z, flat


def unknown_in_inference_mode(x: Tensor, u: Tensor) -> Any:
    with torch.inference_mode():
        y = x.float()
        view = y.view(-1)
        y.add_(u)
        return y, view


def storage_taken_away(x: Tensor, u: Tensor) -> Any:
    y, z, w = x.float(), x.float(), x.float()
    y.set_(u)
    z.data = u
    w.resize_(4, 4)
    return y, z, w


def out_of_unknown(x: Tensor, u: Tensor) -> Any:
    out = torch.zeros(2, 4)
    view = out[0]
    torch.add(x, u, out=out)
    return out, view


UNKNOWN: dict[str, Callable[..., Any]] = {
    "computed from unknown": lambda x, u: (x + u, u.sum(), torch.cat([x.float(), u]), u[x[0] > 0]),
    "random": lambda x, u: (torch.rand(3), torch.randperm(4), x.float().bernoulli(), torch.randint(3, (2,))),
    "dropout": lambda x, u: nn.functional.dropout(x.float()),
    "sampled": lambda x, u: torch.multinomial(x.float() + 1, 2),
    "unfilled": lambda x, u: (torch.empty(3), torch.empty_like(x), x.new_empty(2)),
    "random in place": lambda x, u: random_in_place(x),
    "unknown written": unknown_written,
    "unknown written, inference mode": unknown_in_inference_mode,
    "storage taken away": storage_taken_away,
    "out of unknown": out_of_unknown,
    "too many": lambda x, u: torch.zeros(1 << 20 | 1),
    "goes to the CPU": lambda x, u: u.cpu(),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_does_not_follow_is_unknown(name: str) -> None:
    assert is_unknown(UNKNOWN[name], ids(), unknown(2, 4))


def test_reading_what_is_unknown_is_an_error() -> None:
    for read in (Tensor.item, Tensor.tolist, bool, Tensor.nonzero, Tensor.numpy):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            compute(lambda u, read=read: read(u.sum()), unknown(2, 4))


def test_a_mask_that_is_known_selects_from_what_is_not() -> None:
    """Three of eight elements; a row and a half."""

    def select(x: Tensor, u: Tensor) -> Any:
        return u[x == 0], u.masked_select(x == 0), u[x[:, 0] > 3, x[0] > 0], u[x[:, 0] > 3]

    shapes = [tuple(t.shape) for t in compute(select, ids(), unknown(2, 4))]
    assert shapes == [(3,), (3,), (3,), (1, 4)]


@pytest.mark.parametrize("kind", ["sum", "any", "item"])
def test_a_cpu_tensor_that_took_unknown_values_is_unknown(kind: str) -> None:
    """Its zeros are not what would be in it."""

    def forward(u: Tensor) -> Any:
        count = torch.zeros(2, 4, device="cpu")
        count[0] = u[0]
        return getattr(count, kind)() if kind != "item" else count[0, 0].item()

    if kind == "item":
        with pytest.raises((RuntimeError, NotImplementedError)):
            compute(forward, unknown(2, 4))
    else:
        assert is_unknown(forward, unknown(2, 4))


def test_a_cpu_tensor_takes_known_values() -> None:
    def forward(x: Tensor) -> Any:
        table = torch.zeros(2, 4, dtype=torch.int64, device="cpu")
        table[1] = x[0]
        return table.tolist()

    assert compute(forward, ids()) == [[0, 0, 0, 0], [3, 1, 0, 2]]


def test_statistics_of_an_unknown_batch_are_unknown() -> None:
    """A batch norm does not say in its schema that it writes to them; its counter is known."""
    norm = nn.BatchNorm1d(4)
    for name, buffer in list(norm._buffers.items()):
        norm._buffers[name] = on_meta(buffer)
    norm.weight, norm.bias = (nn.Parameter(p.to("meta")) for p in (norm.weight, norm.bias))
    compute(norm, unknown(2, 4))
    assert value_of(norm.running_mean) is None
    assert value_of(norm.running_var) is None
    assert norm.num_batches_tracked is not None
    assert value_of(norm.num_batches_tracked) == 1


def test_parameters_are_unknown() -> None:
    from modelsum.trace.copying import copy_to

    model = copy_to(nn.BatchNorm1d(2), META)
    assert [value_of(p) for p in model.parameters()] == [None, None]
    assert all(value_of(b) is not None for b in model.buffers())


def test_an_op_without_a_kernel_on_the_cpu_stops_nothing() -> None:
    attention = torch.ops.aten._scaled_dot_product_efficient_attention
    out = compute(lambda x: attention(x, x, x, None, False)[0], torch.ones(1, 2, 3, 4))
    assert value_of(out) is None
    assert out.shape == (1, 2, 3, 4)


def test_an_error_that_the_cpu_would_raise_is_raised() -> None:
    with pytest.raises(IndexError):
        compute(lambda x: x[torch.tensor([7])], ids())


def test_learning_wants_the_same_shape_and_dtype() -> None:
    tensor = unknown(2)
    contents.learn(tensor, torch.zeros(3))
    contents.learn(tensor, torch.zeros(2, dtype=torch.int64))
    assert value_of(tensor) is None
    contents.learn(tensor, torch.zeros(2))
    assert value_of(tensor) is not None


# ---- what models of transformers do


def test_a_tensor_filled_piece_by_piece_is_known_once_it_is_whole() -> None:
    def filled(x: Tensor) -> tuple[Tensor, bool]:
        shapes = torch.empty((2, 2), dtype=torch.long)
        shapes[0, 0], shapes[0, 1] = 2, 3
        half = value_of(shapes) is None
        shapes[1] = torch.tensor([4, 5])
        return shapes, half

    shapes, half = compute(filled, unknown(1))
    assert half
    assert value_of(shapes).tolist() == [[2, 3], [4, 5]]


def test_unfilled_memory_that_took_unknown_values_stays_unknown() -> None:
    def filled(x: Tensor) -> Tensor:
        shapes = torch.empty(2, dtype=torch.long)
        shapes[0] = x.long()[0]
        shapes[1] = 3
        return shapes

    assert value_of(compute(filled, unknown(1))) is None


def test_a_known_mask_expanded_over_a_wide_tensor_still_selects() -> None:
    mask = torch.zeros(1, 300, 1, dtype=torch.bool)
    mask[0, :7] = True
    assert compute(lambda m, x: x[m.expand_as(x)], mask, unknown(1, 300, 4096)).shape == (7 * 4096,)


def test_an_index_of_tuples_of_numbers_in_tensors() -> None:
    def cleared(pairs: Tensor) -> Tensor:
        keep = torch.full((1, 5), True)
        rows, columns = zip(*pairs, strict=True)
        keep[rows, columns] = False
        return keep

    keep = compute(cleared, torch.tensor([[0, 1], [0, 2]]))
    assert value_of(keep).tolist() == [[True, False, False, True, True]]


def test_values_are_laid_out_as_their_tensors() -> None:
    def viewed(x: Tensor) -> Tensor:
        zeros = torch.zeros_like(x.view(1, 4, 2, 4).transpose(1, 2))
        return zeros.reshape(1, 2, 4, 4).permute(0, 2, 1, 3).contiguous().view(1, 4, 8)

    assert compute(viewed, unknown(1, 4, 8)).shape == (1, 4, 8)


def test_a_copy_of_a_tensor_on_meta_keeps_its_value_and_shares_no_change() -> None:
    with carried():
        first = torch.tensor([1, 2])
        second = on_meta(first)
        second += 1
    assert value_of(first).tolist() == [1, 2]
    assert value_of(second).tolist() == [2, 3]


def test_known_ids_outside_a_table_are_refused_as_on_a_real_device() -> None:
    table = nn.Embedding(6, 4, device="meta")
    assert compute(table, ids()).shape == (2, 4, 4)
    with pytest.raises(IndexError, match="ids from 1 to 6, 6 rows"):
        compute(table, ids() + 1)


def test_numbers_are_read_in_inference_mode_too() -> None:
    def read(mask: Tensor) -> tuple[bool, int]:
        with torch.inference_mode():
            return bool((mask + 0).all()), (mask + 1).sum().item()

    assert compute(read, torch.tensor([1, 1])) == (True, 4)
