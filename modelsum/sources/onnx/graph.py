"""A graph of ONNX as a module: a layer a node, called in their order with results of the inferred shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import onnx
import onnx.inliner
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from modelsum.errors import InputError
from modelsum.raised import brief
from modelsum.sources.onnx.nodes import BUFFERS, run

_DTYPES = {
    getattr(TensorProto, name): dtype
    for name, dtype in {
        "FLOAT": torch.float32, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16, "DOUBLE": torch.float64,
        "INT64": torch.int64, "INT32": torch.int32, "INT16": torch.int16, "INT8": torch.int8,
        "UINT8": torch.uint8, "UINT16": torch.uint16, "UINT32": torch.uint32, "UINT64": torch.uint64,
        "BOOL": torch.bool, "COMPLEX64": torch.complex64, "FLOAT8E4M3FN": torch.float8_e4m3fn,
        "FLOAT8E5M2": torch.float8_e5m2,
    }.items()
}  # fmt: skip
#: Of these two elements are in a byte.
_HALF_BYTES = ("INT4", "UINT4", "FLOAT4E2M1")


class Graph(nn.Module):
    """The nodes of a graph, those of its local functions too.

    Attributes:
        inputs: sizes by name, a word for a free one.
    """

    def __init__(self, proto: Any) -> None:
        super().__init__()
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        self._proto = proto
        weights = {each.name: each for each in proto.graph.initializer}
        self._tensors: dict[str, Tensor] = {}
        given = [each for each in proto.graph.input if each.name not in weights]
        self.inputs = {each.name: _dims(each) for each in given}
        self._dtypes = {each.name: _dtype(each.type.tensor_type.elem_type) for each in given}
        self._outputs = [each.name for each in proto.graph.output]
        self._order: list[tuple[str, Any]] = []
        last: dict[str, int] = {}
        for place, node in enumerate(proto.graph.node):
            layer = _layer(node)
            for slot, name in enumerate(node.input):
                last[name] = place
                if name in weights:
                    self._hold(layer, node, slot, weights[name])
            path = _unique(_path(node), self)
            self.add_module(path, layer)
            self._order.append((path, node))
        self._last = last

    def _hold(self, layer: nn.Module, node: Any, slot: int, weight: Any) -> None:
        """Give a layer a tensor of the graph; one that several layers have is one tensor."""
        if weight.name not in self._tensors:
            sizes, dtype = tuple(weight.dims), _dtype(weight.data_type)
            if TensorProto.DataType.Name(weight.data_type) in _HALF_BYTES:
                sizes = (-(-int(torch.Size(sizes).numel()) // 2),)
            tensor = torch.empty(sizes, dtype=dtype, device="meta")
            if sizes and dtype.is_floating_point and slot not in BUFFERS.get(node.op_type, ()):
                tensor = nn.Parameter(tensor, requires_grad=False)
            self._tensors[weight.name] = tensor
        tensor, name = self._tensors[weight.name], f"input{slot}"
        if isinstance(tensor, nn.Parameter):
            layer.register_parameter(name, tensor)
        else:
            layer.register_buffer(name, tensor)

    def example(self, name: str, sizes: tuple[int, ...]) -> Tensor:
        """An input on the meta device."""
        return torch.empty(sizes, dtype=self._dtypes[name], device="meta")

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """Call every node. Raises InputError for inputs that the graph has not, or takes in other sizes."""
        values = {**self._tensors, **self._given(args, kwargs)}
        shapes = self._inferred({name: tuple(values[name].shape) for name in self.inputs})
        for place, (path, node) in enumerate(self._order):
            wanted = [shapes.get(name) if name else None for name in node.output]
            for name, found in zip(node.output, wanted, strict=True):
                if name and found is None:
                    raise InputError(
                        f"ONNX infers no shape of {name!r}, a result of {path} ({node.op_type})", None
                    )
            given = [values.get(name) for name in node.input]
            made = self.get_submodule(path)(given, wanted)
            results = made if isinstance(made, list) else [made]
            values |= {name: value for name, value in zip(node.output, results, strict=True) if name}
            del given, made, results
            for name in node.input:
                if self._last[name] == place and name not in self._outputs and name not in self._tensors:
                    values.pop(name, None)
        results = [values[name] for name in self._outputs]
        return results[0] if len(results) == 1 else results

    def _given(self, args: Sequence[Tensor], kwargs: dict[str, Tensor]) -> dict[str, Tensor]:
        names = [name for name in self.inputs if name not in kwargs]
        unknown = [name for name in kwargs if name not in self.inputs]
        if unknown or len(args) != len(names):
            raise InputError(
                f"the graph has no input {unknown[0]!r}"
                if unknown
                else f"{len(args)} inputs are given by place",
                f"Its inputs are {', '.join(f'{n}={_shown(dims)}' for n, dims in self.inputs.items())}.",
            )
        return {**dict(zip(names, args, strict=True)), **kwargs}

    def _inferred(self, sizes: dict[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shapes and dtypes of all values for inputs of these sizes."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        for each in proto.graph.input:
            if each.name in sizes:
                free = each.type.tensor_type.shape.dim
                if len(free) != len(sizes[each.name]):
                    wanted = _shown(self.inputs[each.name])
                    raise InputError(
                        f"input {each.name!r} has {len(sizes[each.name])} sizes, not {wanted}", None
                    )
                for dim, size in zip(free, sizes[each.name], strict=True):
                    dim.dim_value = size
        for each in proto.graph.output:  # sizes that were written down for another input
            each.type.tensor_type.ClearField("shape")
        del proto.graph.value_info[:]
        try:
            made = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError as error:
            raise InputError(f"the graph takes no input of these sizes: {brief(error)}", None) from error
        found = {}
        for each in (*made.graph.value_info, *made.graph.output):
            dims = _dims(each)
            if each.type.tensor_type.HasField("shape") and all(isinstance(dim, int) for dim in dims):
                found[each.name] = (tuple(int(dim) for dim in dims), _dtype(each.type.tensor_type.elem_type))
        return found


class Node(nn.Module):
    """A node. Its class is called as its op is."""

    def __init__(self, op: str, attributes: dict[str, Any]) -> None:
        super().__init__()
        self.op, self.attributes = op, attributes

    def forward(self, given: list[Tensor | None], wanted: list[Any]) -> Any:
        """Results of the shapes and dtypes that are wanted, made of what is given; one alone as it is."""
        made = run(self.op, self.attributes, given, wanted)
        return made[0] if len(made) == 1 else made


def _layer(node: Any) -> Node:
    attributes = {each.name: _attribute(each) for each in node.attribute}
    kind = type(node.op_type, (Node,), {"__module__": __name__})
    layer: Node = kind(node.op_type, attributes)
    return layer


def _attribute(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value).shape
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _dims(value: Any) -> list[int | str]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


def _shown(dims: Sequence[int | str]) -> str:
    return "x".join(map(str, dims)) or "scalar"


def _dtype(number: int) -> torch.dtype:
    return _DTYPES.get(number, torch.uint8)


def _path(node: Any) -> str:
    return re.sub(r"[^\w]+", "_", node.name).strip("_") or node.op_type


def _unique(name: str, module: nn.Module) -> str:
    taken = dict(module.named_children())
    names = (name, *(f"{name}_{number}" for number in range(1, len(taken) + 2)))
    return next(each for each in names if each not in taken and not hasattr(module, each))
