"""What a collective sends and receives, of the ops that torch.distributed runs.

The volumes are those of a ring, which NCCL takes for large messages: of a tensor of n bytes among p ranks an
all-gather and a reduce-scatter send (p - 1) / p * n each, an all-reduce twice that (Thakur, Rabenseifner and
Gropp, Optimization of Collective Communication Operations in MPICH, 2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from modelsum.trace.ops import name_of
from modelsum.trace.torch_private import group_of, local_of

ALL_GATHER, REDUCE_SCATTER, ALL_REDUCE = "all_gather", "reduce_scatter", "all_reduce"
BROADCAST, ALL_TO_ALL, SEND, RECEIVE = "broadcast", "all_to_all", "send", "receive"

_NAMES = {
    "c10d::_allgather_base_": ALL_GATHER,
    "c10d::allgather_": ALL_GATHER,
    "c10d::allgather_into_tensor_coalesced_": ALL_GATHER,
    "_c10d_functional::all_gather_into_tensor": ALL_GATHER,
    "_c10d_functional::all_gather_into_tensor_out": ALL_GATHER,
    "c10d::_reduce_scatter_base_": REDUCE_SCATTER,
    "c10d::reduce_scatter_": REDUCE_SCATTER,
    "_c10d_functional::reduce_scatter_tensor": REDUCE_SCATTER,
    "_c10d_functional::reduce_scatter_tensor_out": REDUCE_SCATTER,
    "c10d::allreduce_": ALL_REDUCE,
    "c10d::allreduce_coalesced_": ALL_REDUCE,
    "_c10d_functional::all_reduce": ALL_REDUCE,
    "_c10d_functional::all_reduce_": ALL_REDUCE,
    "c10d::broadcast_": BROADCAST,
    "_c10d_functional::broadcast": BROADCAST,
    "c10d::alltoall_base_": ALL_TO_ALL,
    "_c10d_functional::all_to_all_single": ALL_TO_ALL,
    "_dtensor::shard_dim_alltoall": ALL_TO_ALL,
    "c10d::send": SEND,
    "c10d::recv_": RECEIVE,
}


def is_collective(func: Any) -> bool:
    """Whether an op is one that is counted."""
    return _plain(func) in _NAMES


def traffic_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> tuple[str, int, int]:
    """The collective, and the bytes that this rank sends and receives."""
    name = _NAMES[_plain(func)]
    arguments = (*args, *kwargs.values())
    among = _size_of_group(arguments)
    whole = max(sum(t.nbytes for t in _tensors(each)) for each in (*arguments, out))
    if name in (SEND, RECEIVE):
        return name, whole if name == SEND else 0, whole if name == RECEIVE else 0
    part = whole - whole // among
    if name == ALL_REDUCE:
        part *= 2
    return name, part, part


def _plain(func: Any) -> str:
    return name_of(func).partition(".")[0]


def _size_of_group(arguments: Iterable[Any]) -> int:
    for each in arguments:
        group = each if isinstance(each, str) else None
        if group is None and type(each).__name__ == "ScriptObject" and "ProcessGroup" in str(each):
            group = each
        if group is not None:
            try:
                return int(group_of(group).size())
            except (RuntimeError, ValueError):
                continue  # the name of a reduction: "sum"
    return 1


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield local_of(value)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
