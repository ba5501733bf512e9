"""Values that go in and out of modules, as the shape trees of `modelsum.summary`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modelsum.summary import ShapeTree
from modelsum.trace.torch_private import nested_sizes


def shape_tree(value: Any) -> ShapeTree:
    """The shapes in `value`, nested as it is: tensor -> tuple, list -> list, dict or object -> dict."""
    if isinstance(value, Tensor):
        return tensor_shape(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): shape_tree(v) for k, v in value.items()}
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return {"data": shape_tree(value.data), "batch_sizes": shape_tree(value.batch_sizes)}
    if isinstance(value, (list, tuple)):
        return [shape_tree(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: shape_tree(getattr(value, f.name, None)) for f in dataclasses.fields(value)}
    return f"<{type(value).__name__}>"


def call_tree(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ShapeTree:
    """The shapes of a call's arguments: a list, a dict, or both under "args" and "kwargs"."""
    if not kwargs:
        return [shape_tree(arg) for arg in args]
    if not args:
        return shape_tree(kwargs)
    return {"args": shape_tree(args), "kwargs": shape_tree(kwargs)}


def tensor_shape(tensor: Tensor) -> tuple[Any, ...]:
    """The sizes of a tensor; a ragged size of a nested tensor is the text "*"."""
    if tensor.is_nested and tensor.layout is torch.strided:
        sizes = nested_sizes(tensor)  # one row of sizes for each component
        ragged = [int(c[0]) if bool((c == c[0]).all()) else "*" for c in sizes.t()]
        return (len(sizes), *ragged)
    shape = tuple(tensor.shape)
    plain = _PLAIN.issuperset(map(type, shape))
    return shape if plain else tuple(s if isinstance(s, int) else "*" for s in shape)


_PLAIN = frozenset((int,))
