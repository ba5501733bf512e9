"""What a call of a layer in training and its derivative do, looked at on twins and in a log of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd import Function

from modelsum.memory.log import BACKWARD, FORWARD, Log
from modelsum.trace.leaves import Made, is_plain, made_of, new
from modelsum.trace.step.accounts import Account
from modelsum.trace.step.lifetimes import Lifetimes
from modelsum.trace.torch_private import (
    below_functions,
    buffers_of,
    is_view,
    number_of_node,
    parameters_of,
    run_backward,
    version_of,
    without_modes,
)

#: Of an argument: shape, strides, dtype, and whether its gradient is wanted.
Key: TypeAlias = tuple[torch.Size, tuple[int, ...], torch.dtype, bool]
Strides: TypeAlias = tuple[int, ...]


class Gradient(NamedTuple):
    """What a gradient is, its storage, and whether it is a view: then nothing is added to it in place."""

    made: Made
    storage: int
    is_view: bool


class Derivative(NamedTuple):
    """What a derivative does.

    Attributes:
        account: of its storages and its work.
        gradients: of the `inputs` of the call.
    """

    account: Account
    gradients: tuple[Gradient | None, ...]


class LayerCall(NamedTuple):
    """What a call does.

    Attributes:
        account: of its storages and its work.
        made: its result; None where that is the argument, written to.
        output: the storage of its result.
        inside: storages that autograd alone keeps, in the order in which they go, and their bytes.
        saves: what goes when the derivative is done, in order: "argument", "output", "inside".
        inputs: the argument (0) and the parameters that take gradients, in the order in which they get them.
        through: places in that list, in order, whose gradients pass through a node of their own.
        derivatives: by the strides of the gradient; None of what has no answer.
    """

    account: Account
    made: Made | None
    output: int
    inside: tuple[tuple[int, int], ...]
    saves: tuple[str, ...]
    inputs: tuple[int, ...]
    through: tuple[int, ...]
    derivatives: dict[Strides, Derivative | None]


#: A tensor that is there for its end.
EMPTY: Made = (torch.Size((0,)), (1,), torch.float32)


class _Head(Function):
    """Makes an argument, and notes its gradient."""

    @staticmethod
    def forward(node: Any, made: Made, seen: list[Tensor | None], anchor: Tensor) -> Tensor:
        node.seen = seen
        node.set_materialize_grads(False)
        return new(*made)

    @staticmethod
    def backward(node: Any, gradient: Tensor | None) -> tuple[None, None, None]:
        node.seen.append(gradient)
        return None, None, None


class _Tail(Function):
    """Makes the gradient of a result, and nobody else has that."""

    @staticmethod
    def forward(node: Any, made: Made, lifetimes: Lifetimes, output: Tensor) -> Tensor:
        node.made, node.lifetimes = made, lifetimes
        return new(*EMPTY)

    @staticmethod
    def backward(node: Any, _: Tensor) -> tuple[None, None, Tensor]:
        gradient = new(*node.made)
        node.lifetimes.watch([gradient])
        return None, None, gradient


def looked_at(
    lifetimes: Lifetimes, module: nn.Module, key: Key, strides: Strides | None = None
) -> LayerCall | None:
    """What a call does, and its derivative for a gradient of these strides, those of the result for None.

    None where one node cannot stand for it.
    """
    with below_functions(), without_modes(), torch.enable_grad():
        try:
            return _look(lifetimes.twin(), module, key, strides)
        except Exception:  # whatever it is, the call itself raises it again
            return None
        finally:
            lifetimes.note_imports()


def _look(lifetimes: Lifetimes, module: nn.Module, key: Key, strides: Strides | None) -> LayerCall | None:
    log, ledger = lifetimes.log, lifetimes.ledger
    of_x, is_wanted = key[:3], key[3]
    seen: list[Tensor | None] = []
    taken: dict[int, tuple[bool, int]] = {}
    anchor = new(*EMPTY).requires_grad_()
    x = _Head.apply(of_x, seen, anchor) if is_wanted else new(*of_x)
    head = x.grad_fn
    layer, held = _twin(module)
    lifetimes.watch([x, *held.values()])
    version, log.phase, mark = version_of(x), FORWARD, ledger.begin()
    with lifetimes, lifetimes.saving():
        output = layer.forward(x)
    account, first = ledger.since(mark), mark.storages
    kept = dict(lifetimes.kept())
    is_written = output is x
    if type(output) is not Tensor or not is_plain(output) or not account.is_its_own:
        return None
    made = None if is_written else made_of(output)
    number = lifetimes.number_of(output)
    if (made is None) != is_written or (version_of(x) != version) != is_written or number is None:
        return None
    inside = {n for n in range(first, len(log.sizes)) if log.sizes[n]} - {number}

    parameters = [parameter for parameter in held.values() if parameter.requires_grad]
    if not is_written and is_view(output):
        return None  # what is written to it goes into what it is a view of
    inputs, through = _ends(output.grad_fn, head, parameters)
    if is_written and inputs != (0,):
        return None
    gradient = output.shape, strides or output.stride(), output.dtype
    tail = _Tail.apply(gradient, lifetimes, output)
    del x, output
    log.phase, mark = BACKWARD, ledger.begin()
    arrival = mark.storages
    for place, parameter in enumerate(parameters, 1):
        parameter.register_hook(partial(_note, taken, place, log))
    with lifetimes:
        run_backward(tail, new(*EMPTY))
    split = _split(ledger.since(mark), taken_up=bool(parameters))
    if split is None:
        return None
    derivative, released = split
    if any(events != len(log.events) for _, events in taken.values()):
        return None  # something was done after a gradient was complete: what adds it to another comes before
    gradients: list[Gradient | None] = []
    for place in inputs:
        tensor = parameters[place - 1].grad if place else seen[0]
        storage = None if tensor is None else lifetimes.number_of(tensor)
        if tensor is None or storage is None:
            gradients.append(None)
            continue
        of_tensor = made_of(tensor)
        if of_tensor is None or not is_plain(tensor):
            return None
        viewed = taken[place][0] if place else is_view(tensor)
        gradients.append(Gradient(of_tensor, storage - arrival - 1, viewed))
    stays = [n - arrival - 1 for n in range(arrival, len(log.sizes)) if log.sizes[n]]
    if sorted(answer.storage for answer in gradients if answer is not None) != stays:
        return None

    order = [arrival + storage for storage in released]
    names = {0: "output" if is_written else "argument", number: "output"} | dict.fromkeys(inside, "inside")
    saves = tuple(name for name, _ in groupby(map(names.get, order)))
    if None in saves or len(set(saves)) != len(saves) or not inside.issubset(order):
        return None
    return LayerCall(
        account,
        made,
        number - first,
        tuple((n - first, kept[n]) for n in order if n in inside),
        tuple(filter(None, saves)),
        inputs,
        through,
        {gradient[1]: Derivative(derivative, tuple(gradients))},
    )


def _note(taken: dict[int, tuple[bool, int]], place: int, log: Log, gradient: Tensor) -> None:
    """Whether the gradient of a parameter is a view, and how much had happened when it was complete."""
    taken[place] = is_view(gradient), len(log.events)


def _ends(node: Any, head: Any, parameters: Sequence[Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`LayerCall.inputs` and `LayerCall.through` of the graph of a call.

    Raises ValueError where more than one node has several edges.
    """

    def place_of(node: Any) -> int | None:
        if node is head:
            return 0
        variable = getattr(node, "variable", None)
        return next((place for place, p in enumerate(parameters, 1) if p is variable), None)

    def edges_of(node: Any) -> list[Any]:
        return [inner for inner, _ in node.next_functions if inner is not None]

    while len(edges := edges_of(node)) == 1 and place_of(edges[0]) is None:
        (node,) = edges
    ends: list[int] = []
    numbers: dict[int, int] = {}
    for inner in edges:
        place = place_of(inner)
        if place is None:
            numbers[len(ends)] = number_of_node(inner)
            (last,) = edges_of(inner)
            place = place_of(last)
        if place is None:
            raise ValueError("a graph of more than a node")
        ends.append(place)
    return tuple(ends), tuple(sorted(numbers, key=lambda end: numbers[end]))


def _split(account: Account, *, taken_up: bool) -> tuple[Account, list[int]] | None:
    """What is done between the arrival of a gradient and its end, and which storages go right after that.

    None where more is done, or something else in between. A gradient that is `taken_up` is detached.
    """
    (arrival, _, _), *events = account.events
    gone = [i for i, (storage, nbytes, _) in enumerate(events) if storage == 0 and nbytes < 0]
    if arrival != 0 or len(gone) != 1:
        return None
    during, (_, _, op), after = events[: gone[0]], events[gone[0]], events[gone[0] + 1 :]
    if any(storage <= 0 for storage, _, _ in during):
        return None
    if any(storage >= 0 or nbytes > 0 or last != op for storage, nbytes, last in after):
        return None
    if account.op != ("aten.detach" if taken_up else op):
        return None
    own = ((storage - 1, nbytes, name) for storage, nbytes, name in during)
    return Account.of(own, op, account.work), [storage for storage, _, _ in after]


def _twin(module: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """A layer of the same settings, and the parameters and buffers that it holds, which are its own."""
    twin = object.__new__(type(module))
    vars(twin).update(vars(module))
    held: dict[str, Tensor] = {}
    for name, parameter in parameters_of(module).items():
        if parameter is not None:
            own = new(parameter.shape, parameter.stride(), parameter.dtype)
            held[name] = nn.Parameter(own, parameter.requires_grad)
    parameters = {name: held.get(name) for name in parameters_of(module)}
    buffers = {}
    for name, buffer in buffers_of(module).items():
        buffers[name] = None if buffer is None else new(buffer.shape, buffer.stride(), buffer.dtype)
    vars(twin).update(_parameters=parameters, _buffers=buffers)
    held |= {name: buffer for name, buffer in buffers.items() if buffer is not None}
    return twin, held
