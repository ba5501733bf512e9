"""What a failing layer wanted, beside what it was given: the second half of a useful error."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_SPATIAL = "DHW"


def wanted(module: nn.Module) -> str | None:
    """The input that a layer takes, like "[N, 3, H, W]", or None where its class does not tell."""
    if isinstance(module, _ConvNd):
        sizes = ", ".join(_SPATIAL[3 - len(module.kernel_size) :])
        return f"[N, {module.in_channels}, {sizes}]"
    if isinstance(module, (nn.Linear, nn.LayerNorm)):
        ends = getattr(module, "normalized_shape", None) or (getattr(module, "in_features", "?"),)
        return f"[..., {', '.join(map(str, ends))}]"
    if isinstance(module, (_BatchNorm, nn.GroupNorm)):
        return f"[N, {getattr(module, 'num_features', None) or module.num_channels}, ...]"
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return f"integer ids below {module.num_embeddings}"
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return f"[..., {module.input_size}]"
    if isinstance(module, nn.MultiheadAttention):
        return f"[..., {module.embed_dim}]"
    return None


def explain(module: nn.Module, path: str, input_shapes: Any, error: str) -> str:
    """What the layer takes and what it got; what to change where the error is a common one."""
    takes = wanted(module)
    name = path or "the model"
    lines = [
        f"{name} takes {takes}, it was given {show(input_shapes)}."
        if takes
        else f"{name} was given {show(input_shapes)}."
    ]
    lowered = error.lower()
    if "more than 1 value per channel" in lowered:
        lines.append(
            "Batch statistics need more than one value a channel: --batch 2, a larger --input, or --eval."
        )
    elif any(words in lowered for words in _TOO_SMALL):
        lines.append("The input is too small for this network: try a larger --input.")
    return "\n".join(lines)


_TOO_SMALL = (
    "too small",
    "greater than actual input size",
    "should be greater than zero",
    "output size is too",
)


def show(tree: Any) -> str:
    """A shape tree in one line: [1, 3, 224, 224]; several inputs with commas; keywords as name=[...]."""
    if isinstance(tree, dict):
        if set(tree) == {"args", "kwargs"}:
            return f"{show(tree['args'])}, {show(tree['kwargs'])}"
        return ", ".join(f"{k}={_one(v)}" for k, v in tree.items()) or "nothing"
    return ", ".join(map(_one, tree)) or "nothing"


def _one(tree: Any) -> str:
    if isinstance(tree, tuple):
        return str(list(tree))
    if isinstance(tree, list):
        return f"({', '.join(map(_one, tree))})"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k}: {_one(v)}" for k, v in tree.items()) + "}"
    return str(tree)
