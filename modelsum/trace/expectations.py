"""What a failing layer wanted, beside what it was given: the second half of a useful error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from modelsum.trace.torch_private import BatchNorm, Conv

_SPATIAL = "DHW"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The input that a layer takes.

    Attributes:
        text: in words, like "[N, 3, H, W]".
        place: the dimension whose size is fixed, 1 or -1; None where none is.
        size: that size.
        rank: how many dimensions it takes with the batch; None for any number.
    """

    text: str
    place: int | None = None
    size: int = 0
    rank: int | None = None


def wanted(module: nn.Module) -> Wanted | None:
    """The input that a layer takes, or None where its class does not tell."""
    if isinstance(module, Conv):
        sizes = _SPATIAL[3 - len(module.kernel_size) :]
        text = f"[N, {module.in_channels}, {', '.join(sizes)}]"
        return Wanted(text, 1, module.in_channels, 2 + len(sizes))
    if isinstance(module, nn.Linear):
        return Wanted(f"[..., {module.in_features}]", -1, module.in_features)
    if isinstance(module, nn.LayerNorm):
        ends = module.normalized_shape
        return Wanted(f"[..., {', '.join(map(str, ends))}]", -1, ends[-1])
    if isinstance(module, (BatchNorm, nn.GroupNorm)):
        channels = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        return Wanted(f"[N, {channels}, ...]", 1, channels, _rank_of(module))
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return Wanted(f"integer ids below {module.num_embeddings}")
    if isinstance(module, nn.RNNBase):
        return Wanted(f"[..., {module.input_size}]", -1, module.input_size, 3)
    if isinstance(module, nn.RNNCellBase):
        return Wanted(f"[..., {module.input_size}]", -1, module.input_size, 2)
    if isinstance(module, nn.MultiheadAttention):
        return Wanted(f"[..., {module.embed_dim}]", -1, module.embed_dim, 3)
    return None


def _rank_of(norm: nn.Module) -> int | None:
    if isinstance(norm, nn.BatchNorm2d):
        return 4
    return 5 if isinstance(norm, nn.BatchNorm3d) else None


def explain(module: nn.Module, path: str, input_shapes: Any, error: str) -> str:
    """What the layer takes and what it got; what to change where the error is a common one."""
    takes = wanted(module)
    name = path or "the model"
    lines = [
        f"{name} takes {takes.text}, it was given {show(input_shapes)}."
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
