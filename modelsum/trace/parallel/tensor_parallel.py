"""Tensor parallelism by a plan: which modules hold a part of their weights, and how.

The plan is that of the model, as transformers has it: `_tp_plan`, patterns of module paths and one of the
words below. It is carried out by torch's own styles (torch.distributed.tensor.parallel).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modelsum.errors import UsageError, did_you_mean

#: Words of a plan -> a style, and what it is given.
_STYLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "colwise": ("ColwiseParallel", {}),
    "rowwise": ("RowwiseParallel", {}),
    "colwise_rep": ("ColwiseParallel", {"output_layouts": "whole"}),
    "colwise_gather_output": ("ColwiseParallel", {"output_layouts": "whole"}),
    "rowwise_rep": ("RowwiseParallel", {"input_layouts": "whole"}),
    "rowwise_split_input": ("RowwiseParallel", {"input_layouts": "whole"}),
    "embedding_rowwise": ("RowwiseParallel", {"input_layouts": "whole"}),
}
_NOTHING = ("replicated_with_grad_allreduce", "replicate", "replicated")


def parallelized(model: nn.Module, mesh: Any, *, is_whole: bool = True) -> None:
    """Put the model's plan into effect, on meta: its weights become parts.

    Args:
        mesh: of one dimension.
        is_whole: as of `styles_of`.

    Raises as `styles_of` does.
    """
    from torch.distributed.tensor.parallel import parallelize_module

    parallelize_module(model, mesh, styles_of(model, mesh.size(), is_whole=is_whole))


def styles_of(model: nn.Module, size: int, *, is_whole: bool = True) -> dict[str, Any]:
    """Torch's styles of what the model's plan names, by path.

    Args:
        size: of the mesh.
        is_whole: every pattern of the plan has to name something; it need not in a pipeline stage.

    Raises UsageError where there is no plan, or it does not fit the model or the mesh.
    """
    from torch.distributed.tensor import Replicate, parallel

    plan = plan_of(model) or plan_of_pairs(model)
    _check_heads(model, size)
    if not plan and is_whole:
        raise UsageError(
            f"{type(model).__name__} has no plan for tensor parallelism, and no pair of linear layers",
            "Give its class a _tp_plan, {'layers.*.up': 'colwise', 'layers.*.down': 'rowwise'}, or your own "
            "function: --parallelize file.py:function.",
        )
    paths = [path for path, _ in model.named_modules() if path]
    styles: dict[str, Any] = {}
    for pattern, word in plan.items():
        matching = [path for path in paths if fnmatchcase(path, pattern)]
        if not matching and is_whole and not _names_parameter(model, pattern):
            raise UsageError(
                f"the tensor parallel plan's {pattern!r} names no module", did_you_mean(pattern, paths)
            )
        if word in _NOTHING:
            continue
        if word not in _STYLES:
            raise UsageError(
                f"the tensor parallel plan says {word!r} of {pattern}, which is not known here",
                f"Known are {', '.join((*_STYLES, *_NOTHING))}; or give your own function with parallelize.",
            )
        name, layouts = _STYLES[word]
        for path in matching:
            _check(model, path, name, size)
            styles[path] = getattr(parallel, name)(**dict.fromkeys(layouts, Replicate()))
    return styles


def plan_of(model: nn.Module) -> dict[str, str]:
    """The plan that a model or its parts carry, by patterns of paths; empty where there is none."""
    plan: dict[str, str] = {}
    for path, module in model.named_modules():
        own = getattr(module, "_tp_plan", None)
        for pattern, word in (own or {}).items() if isinstance(own, Mapping) else ():
            whole = f"{path}.{pattern}" if path else pattern
            plan.setdefault(whole, word)
    return plan


def plan_of_pairs(model: nn.Module) -> dict[str, str]:
    """Of each pair of linear layers with nothing but element by element between them: columns, then rows.

    So are the feed-forward parts of nn.TransformerEncoderLayer, of torchvision's and of timm's blocks.
    Attention whose queries, keys and values are one weight stays whole on every rank.
    """
    plan: dict[str, str] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        parts = dict(module.named_children())
        for first, second in _PAIRS:
            if all(isinstance(parts.get(name), nn.Linear) for name in (first, second)) and _is_plain(parts):
                plan |= {prefix + first: "colwise", prefix + second: "rowwise"}
        linear = [name for name, part in parts.items() if isinstance(part, nn.Linear)]
        if isinstance(module, nn.Sequential) and len(linear) == 2 and _is_plain(parts):
            plan |= {prefix + linear[0]: "colwise", prefix + linear[1]: "rowwise"}
    return plan


#: Names of a pair of linear layers, one after the other: in torch, timm and torchvision.
_PAIRS = (("linear1", "linear2"), ("fc1", "fc2"))
#: What may stand beside them: what works element by element, or is not between them.
_BESIDE = ("Dropout", "Identity", "ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "Hardswish", "LeakyReLU", "ELU")


def _is_plain(parts: Mapping[str, nn.Module]) -> bool:
    return all(
        isinstance(part, nn.Linear)
        or type(part).__name__.startswith(_BESIDE)
        or name in ("norm1", "norm2", "self_attn")  # of nn.TransformerEncoderLayer
        for name, part in parts.items()
    )


def _names_parameter(model: nn.Module, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name, _ in model.named_parameters())


def _check_heads(model: nn.Module, size: int) -> None:
    """Refuse a mesh that does not divide the heads of attention, of keys and values too."""
    found = heads_of(model)
    for name, heads in found.items():
        if heads % size:
            raise UsageError(
                f"tp={size} does not divide the {heads} of {name}", _sizes(math.gcd(*found.values()))
            )


def heads_of(model: nn.Module) -> dict[str, int]:
    """How many heads its attention has, by the names of its configuration; empty where that says none."""
    config = getattr(model, "config", None)
    found = {name: getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads")}
    return {name: heads for name, heads in found.items() if isinstance(heads, int)}


def _sizes(number: int) -> str:
    fitting = [str(n) for n in range(2, 65) if number % n == 0]
    return f"Sizes that do: {', '.join(fitting) or 'none up to 64'}."


def _check(model: nn.Module, path: str, style: str, size: int) -> None:
    """Refuse what the mesh does not divide: heads or features of a layer."""
    module = model.get_submodule(path)
    weight = getattr(module, "weight", None)
    if weight is None:
        raise UsageError(f"the tensor parallel plan's {path} has no weight", "Give your own function.")
    rows = (
        weight.shape[0] if style == "ColwiseParallel" or isinstance(module, nn.Embedding) else weight.shape[1]
    )
    if rows % size:
        what = "rows of the vocabulary" if isinstance(module, nn.Embedding) else "features"
        raise UsageError(
            f"tp={size} does not divide the {rows:,} {what} of {path}",
            _sizes(rows),
        )
